"""What a direction carries: does it separate texts, and does the model need it?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.hooks import Hook
from helpers.steering.bootstrap import CONFIDENCE, RESAMPLES, Interval
from helpers.steering.curves import SteeringError
from helpers.steering.vectors import Average


def projections(
    average: Average, model, vectors: Float[Tensor, "n_layers d_model"], sentences: Sequence[str]
) -> Float[Tensor, "n n_layers"]:
    """Return each sentence's mean residual projected onto the layer's unit vector.

    Args:
        average: the student's function of task 1.1.
    """
    return project(sentence_means(average, model, sentences), vectors)


def sentence_means(average: Average, model, sentences: Sequence[str]) -> Float[Tensor, "n n_layers d_model"]:
    """Return the mean residual of each sentence, per layer."""
    return torch.stack([average(model, [sentence]) for sentence in sentences]).float()


def project(
    means: Float[Tensor, "n n_layers d_model"], vectors: Float[Tensor, "n_layers d_model"]
) -> Float[Tensor, "n n_layers"]:
    """Return the projection of each mean residual onto its layer's unit vector."""
    return (means * unit(vectors).to(means)).sum(-1).cpu()


def auroc(positive: Float[Tensor, " n"], negative: Float[Tensor, " m"], seed: int = 0) -> tuple[float, Interval]:
    """Return the probability that a positive text projects further than a negative one, and its 95% interval.

    Ties count half. The interval is a percentile bootstrap over the texts of both sides.
    """
    if not len(positive) or not len(negative):
        raise SteeringError("There are no texts on one side: give at least one positive and one negative text.")
    wins = (positive[:, None] > negative).double() + 0.5 * (positive[:, None] == negative)
    draw = torch.Generator().manual_seed(seed)
    resampled = torch.stack(
        [wins[_again(len(positive), draw)][:, _again(len(negative), draw)].mean() for _ in range(RESAMPLES)]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = resampled.quantile(torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return wins.mean().item(), (low, high)


def _again(n: int, draw: torch.Generator) -> Int[Tensor, " n"]:
    return torch.randint(n, (n,), generator=draw)


def unit(vectors: Float[Tensor, "n_layers d_model"]) -> Float[Tensor, "n_layers d_model"]:
    """Return the vectors with norm 1; raise :class:`SteeringError` if one is zero."""
    norms = vectors.float().norm(dim=-1, keepdim=True)
    if not (norms > 0).all():
        raise SteeringError(f"The vector of layer {int(norms[:, 0].argmin())} is zero: it has no direction.")
    return vectors.float() / norms


def ablate(
    model, vectors: Float[Tensor, "n_layers d_model"], where: Bool[Tensor, " d_vocab"] | None = None
) -> list[Hook]:
    """Return hooks that project the direction out of the residual stream before every block, at every position.

    Args:
        vectors: the direction of each layer, of any norm.
        where: which tokens to ablate at, by token id; ``None`` means all. The hooks then also read the token ids.
    """
    seen: dict[str, Int[Tensor, "batch pos"]] = {}

    def remember(ids, hook):
        seen["ids"] = ids
        return ids

    def ablator(direction):
        def remove(resid, hook):
            along = (resid.float() @ direction)[..., None] * direction
            if where is not None:
                along = along * where.to(resid.device)[seen["ids"]][..., None]
            return (resid.float() - along).to(resid.dtype)

        return remove

    rows = unit(vectors).to(model.W_U.device)
    hooks: list[Hook] = [(f"blocks.{layer}.hook_resid_pre", ablator(row)) for layer, row in enumerate(rows)]
    return hooks if where is None else [("embed.hook_in", remember), *hooks]


def punctuation(model) -> Bool[Tensor, " d_vocab"]:
    """Return which tokens of the vocabulary are punctuation: some character, but no letter or digit."""
    texts = [model.tokenizer.decode([i]).strip() for i in range(model.cfg.d_vocab)]
    special = set(model.tokenizer.all_special_ids)
    marks = [bool(text) and not any(map(str.isalnum, text)) and i not in special for i, text in enumerate(texts)]
    return torch.tensor(marks)
