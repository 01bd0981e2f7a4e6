"""Logit lens: the tokens that a direction of the residual stream promotes through the unembedding."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def promoted_tokens(
    model, direction: Float[Tensor, " d_model"], k: int = 8
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the tokens whose logits a direction raises most and lowers most, with the changes in logit.

    This ignores the later layers, so it is more reliable for a direction of a late layer.
    """
    return next(promoted_by_each(model, direction[None], k))


@torch.no_grad()
def promoted_by_each(model, directions: Float[Tensor, "some d_model"], k: int = 8, together: int = 256):
    """Yield the result of :func:`promoted_tokens` for each direction, ``together`` of them per matrix product."""

    def with_tokens(values, indices):
        return [(model.tokenizer.decode([i]), v) for i, v in zip(indices.tolist(), values.tolist(), strict=True)]

    for part in directions.split(together):
        logits = (part.to(model.W_U.device, model.W_U.dtype) @ model.W_U).float()
        logits = logits - logits.mean(-1, keepdim=True)
        highest, lowest = (logits.topk(k, largest=largest) for largest in (True, False))
        for row in range(len(part)):
            yield tuple(with_tokens(top.values[row], top.indices[row]) for top in (highest, lowest))
