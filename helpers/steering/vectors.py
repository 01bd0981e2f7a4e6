"""Other recipes for steering vectors, to compare with the mean difference, and control vectors.

``average`` is the student's function of task 1.1: it takes a model and sentences and returns the mean
residual per layer, BOS excluded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.steering.curves import SteeringError

Average = Callable[..., Float[Tensor, "n_layers d_model"]]  # (model, sentences)
Vectors = Float[Tensor, "n_layers d_model"]


def with_bos(average: Average, model, positive: Sequence[str], negative: Sequence[str]) -> Vectors:
    """Return the mean difference with BOS included in each sentence's mean."""
    bos = torch.stack([resid[0, 0] for resid in _residuals(model, model.to_tokens(positive[0])[:, :1])])

    def mean(sentence: str) -> Vectors:
        words = model.to_tokens(sentence).shape[1] - 1
        return (words * average(model, [sentence]).to(bos) + bos) / (words + 1)

    return torch.stack([*map(mean, positive)]).mean(0) - torch.stack([*map(mean, negative)]).mean(0)


def last_token(model, positive: Sequence[str], negative: Sequence[str]) -> Vectors:
    """Return the mean difference of the last token's residuals, as in CAA (Rimsky et al. 2023)."""

    def ends(sentences: Sequence[str]) -> Vectors:
        return torch.stack(
            [torch.stack([r[0, -1] for r in _residuals(model, model.to_tokens(s))]) for s in sentences]
        ).mean(0)

    return ends(positive) - ends(negative)


def principal(average: Average, model, positive: Sequence[str], negative: Sequence[str]) -> Vectors:
    """Return per layer the first principal direction of the pairs' uncentred differences (Zou et al. 2023).

    Sign and norm are those of the mean difference, so that coefficients are comparable.

    Raises:
        SteeringError: different numbers of positive and negative sentences.
    """
    if len(positive) != len(negative):
        raise SteeringError(
            f"{len(positive)} positive and {len(negative)} negative sentences make no pairs: give equally many of each."
        )
    pairs = zip(positive, negative, strict=True)
    differences = torch.stack([(average(model, [good]) - average(model, [bad])).float() for good, bad in pairs], dim=1)
    mean = differences.mean(1)
    first = torch.linalg.svd(differences, full_matrices=False).Vh[:, 0]
    signs = torch.where((first * mean).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return rescaled(signs * first, mean)


def shuffled_labels(
    average: Average, model, positive: Sequence[str], negative: Sequence[str], seed: int = 0
) -> Vectors:
    """Return a control: the mean difference after shuffling labels, rescaled to the norm of the true one.

    Half of each side changes its label, so that sentiment cancels. If a side has an odd number of sentences,
    one drawn at random is excluded.

    Raises:
        SteeringError: fewer than two sentences on a side.
    """
    draw = random.Random(seed)
    if min(len(positive), len(negative)) < 2:
        raise SteeringError("There are too few sentences to shuffle labels: give two sentences or more on each side.")
    good, bad = (draw.sample(list(side), len(side) // 2 * 2) for side in (positive, negative))
    first, second = ([*good[part::2], *bad[part::2]] for part in (0, 1))
    true = average(model, list(positive)) - average(model, list(negative))
    return rescaled(average(model, first) - average(model, second), true)


def random_like(vectors: Vectors, seed: int = 0) -> Vectors:
    """Return a control: per layer a random direction with the norm of that layer's vector."""
    generator = torch.Generator().manual_seed(seed)
    return rescaled(torch.randn(vectors.shape, generator=generator).to(vectors.device), vectors)


def rescaled(vectors: Vectors, like: Vectors) -> Vectors:
    """Return ``vectors`` rescaled to the norms of ``like``, per layer; zero vectors stay zero."""
    norms = vectors.float().norm(dim=-1, keepdim=True)
    return vectors / norms.clamp_min(torch.finfo(torch.float32).tiny) * like.float().norm(dim=-1, keepdim=True)


@torch.no_grad()
def _residuals(model, tokens) -> list[Float[Tensor, "1 T d_model"]]:
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
    _, cache = model.run_with_cache(tokens, names_filter=names)
    return [cache[name].float() for name in names]
