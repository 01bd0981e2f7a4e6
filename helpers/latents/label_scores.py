"""How well latents match rule labels: the best latent per label, and sparse probes.

``encode`` maps rows ``[n d_in]`` to features, both on the CPU. Use ``latents.encoder(module)`` for latents and
``lambda x: x`` for raw neurons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csc_array
from torch import Tensor

from helpers.sae.base import SAEError
from helpers.sae.chunks import chunks

Encode = Callable[[Float[Tensor, "n d_in"]], Float[Tensor, "n d_features"]]


@torch.no_grad()
def _features(encode: Encode, values: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_features"]:
    return torch.cat([_compact(encode(rows)) for rows in chunks(values)])


def _compact(features: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
    """Return the features in fp16, which halves their memory, unless one is too large for it."""
    return features.half() if features.abs().max() < torch.finfo(torch.float16).max else features.float()


@torch.no_grad()
def best_f1(
    encode: Encode,
    values: Float[Tensor, "n d_in"],
    labels: Bool[Tensor, "n_labels n"],
    both_signs: bool = False,
    thresholds: int = 8,
) -> tuple[Float[Tensor, " n_labels"], Float[Tensor, " n_labels"]]:
    """Return the best single feature's F1 for each label, and the index of that feature.

    A feature predicts the label where it is above a threshold. The thresholds are 0 and quantiles of the feature,
    the same number for every feature, so that latents and raw neurons are compared fairly.

    Args:
        both_signs: also try each feature's negative, since a raw neuron has no preferred sign.
        thresholds: number of thresholds per feature.

    Returns:
        F1 and feature index per label. With ``both_signs``, the negative of feature i has index n_features + i.
    """
    features = _features(encode, values)
    best, which = torch.zeros(len(labels)), torch.zeros(len(labels), dtype=torch.long)
    truth = labels.float()
    signs = (1, -1) if both_signs else (1,)
    for s, sign in enumerate(signs):
        for first in range(0, features.shape[1], 512):
            part = (sign * features[:, first : first + 512]).float()
            for threshold in _thresholds(part, thresholds):
                f1 = _f1((part > threshold).float(), truth)
                value, index = f1.max(1)
                better = value > best
                best[better] = value[better]
                which[better] = index[better] + first + s * features.shape[1]
    return best, which


def _thresholds(part: Float[Tensor, "n f"], count: int) -> list[Float[Tensor, " f"]]:
    """Return 0, then quantiles from 80% to 99.9% whose tails are evenly spaced in the logarithm."""
    tails = torch.logspace(-0.7, -3, count - 1)
    ranked = part.sort(0).values
    places = ((1 - tails) * (len(part) - 1)).round().long()
    return [torch.zeros(part.shape[1]), *ranked[places]]


def _f1(predicted: Float[Tensor, "n f"], truth: Float[Tensor, "n_labels n"]) -> Float[Tensor, "n_labels f"]:
    hits = truth @ predicted
    return 2 * hits / (predicted.sum(0) + truth.sum(1, keepdim=True)).clamp_min(1)


def best_label(table: csc_array, labels: Bool[np.ndarray, "n_labels n"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the label that each latent's firing predicts best, and the F1.

    :func:`best_f1` finds the best latent for each label; this finds the best label for each latent.

    Args:
        table: latents ``[n d_sae]``, as :func:`helpers.latents.encode_sparse` returns them.
    """
    fires = table.astype(bool).astype(np.float64)
    hits = (fires.T @ labels.T.astype(np.float64)).T
    f1 = 2 * hits / np.maximum(fires.sum(0) + labels.sum(1)[:, None], 1)
    return f1.argmax(0), f1.max(0)


@torch.no_grad()
def auroc(
    encode: Encode, values: Float[Tensor, "n d_in"], labels: Bool[Tensor, "n_labels n"], which: Tensor
) -> Float[Tensor, " n_labels"]:
    """Return the area under the ROC curve of one feature per label.

    Args:
        which: feature index per label, as :func:`best_f1` returns it without ``both_signs``.
    """
    from sklearn.metrics import roc_auc_score  # imported here, since it takes half a second

    wanted = torch.cat([encode(rows)[:, which] for rows in chunks(values)]).float().cpu()
    return torch.tensor([roc_auc_score(truth, wanted[:, i]) for i, truth in enumerate(labels)])


@dataclass(frozen=True)
class ProbeScores:
    """F1 and AUROC per label on test tokens, and the features that each probe reads."""

    f1: Float[Tensor, " n_labels"]
    auroc: Float[Tensor, " n_labels"]
    chosen: tuple[tuple[int, ...], ...]


def sparse_probe(
    encode: Encode,
    train: tuple[Float[Tensor, "n d_in"], Bool[Tensor, "n_labels n"]],
    test: tuple[Float[Tensor, "m d_in"], Bool[Tensor, "n_labels m"]],
    k: int | None = 1,
) -> ProbeScores:
    """Return the scores of a logistic regression on the ``k`` best features per label.

    Features, weights and threshold come from ``train``, scores from ``test``. The best features are those whose mean
    with the label differs most from the mean without it, in standard deviations (Gurnee et al. 2023, "Finding
    Neurons in a Haystack"). ``k=None`` takes all features, for a dense probe.

    Raises:
        SAEError: there are no labels, a label is on none or all tokens of a part, or ``k`` is out of range.
    """
    for name, (_, labels) in (("train", train), ("test", test)):
        if not len(labels):
            raise SAEError("There are no labels: keep at least one (TokenLabels.frequent).")
        counts = labels.sum(1)
        if (counts == 0).any() or (counts == labels.shape[1]).any():
            raise SAEError(
                f"A label is on none or all of the {name} tokens: keep the frequent ones (TokenLabels.frequent)."
            )
    features, unseen = _features(encode, train[0]).float(), _features(encode, test[0]).float()
    if k is not None and not 1 <= k <= features.shape[1]:
        raise SAEError(f"k={k}: choose from 1 to {features.shape[1]} features.")
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    features, unseen = (features - mean) / deviation, (unseen - mean) / deviation
    scores, chosen = [], []
    for truth, truth_unseen in zip(train[1], test[1], strict=True):
        columns = _most_different(features, truth, k)
        scores.append(_fit_and_score(features[:, columns], truth, unseen[:, columns], truth_unseen))
        chosen.append(tuple(columns.tolist()))
    f1, area = torch.tensor(scores).T
    return ProbeScores(f1, area, tuple(chosen))


def _most_different(features, truth, k: int | None) -> Tensor:
    if k is None:
        return torch.arange(features.shape[1])
    difference = features[truth].mean(0) - features[~truth].mean(0)
    return difference.abs().topk(k).indices


def _fit_and_score(features, truth, unseen, truth_unseen) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import precision_recall_curve, roc_auc_score

    probe = LogisticRegression(max_iter=200).fit(features.numpy(), truth.numpy())
    precision, recall, thresholds = precision_recall_curve(truth.numpy(), probe.decision_function(features.numpy()))
    best = np.argmax(2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12))
    logits = probe.decision_function(unseen.numpy())
    hits = int(((logits >= thresholds[best]) & truth_unseen.numpy()).sum())
    f1 = 2 * hits / (int((logits >= thresholds[best]).sum()) + int(truth_unseen.sum()))
    return f1, float(roc_auc_score(truth_unseen.numpy(), logits))
