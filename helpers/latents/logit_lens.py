"""Which tokens a direction of the residual stream promotes, read through the unembedding."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def promoted_tokens(
    model, direction: Float[Tensor, " d_model"], k: int = 8
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Tokens that a direction of the residual stream raises and lowers most through the unembedding.

    It reads the direction as if no later layer touched it, so it says more the later the layer.
    """
    return next(promoted_by_each(model, direction[None], k))


@torch.no_grad()
def promoted_by_each(model, directions: Float[Tensor, "some d_model"], k: int = 8, together: int = 256):
    """Yield for each direction what :func:`promoted_tokens` gives, many products at a time."""

    def named(values, indices):
        return [(model.tokenizer.decode([i]), v) for i, v in zip(indices.tolist(), values.tolist(), strict=True)]

    for part in directions.split(together):
        logits = (part.to(model.W_U.device, model.W_U.dtype) @ model.W_U).float()
        logits = logits - logits.mean(-1, keepdim=True)
        highest, lowest = (logits.topk(k, largest=largest) for largest in (True, False))
        for row in range(len(part)):
            yield tuple(named(top.values[row], top.indices[row]) for top in (highest, lowest))
