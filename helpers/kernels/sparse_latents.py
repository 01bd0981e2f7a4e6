"""Products with few active latents per token, and their gradients, without the dense latents.

For n tokens with m active latents in all and width d, the dense products cost n·d_sae·d; these cost m·d. Each is a sum
of a few weighted rows, which ``embedding_bag`` computes. The gradients are written as such sums, too:
``embedding_bag``'s own gradient takes three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Active:
    """The active latents of n tokens, m in all. Token i has ``latents[starts[i]:starts[i + 1]]``, each at most once."""

    latents: Int[Tensor, " m"]
    starts: Int[Tensor, " n"]
    d_sae: int

    @cached_property
    def tokens(self) -> Int[Tensor, " m"]:
        """The token of each active latent."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.latents)])])
        return torch.repeat_interleave(ends - self.starts)

    @cached_property
    def by_latent(self) -> tuple[Int[Tensor, " m"], Int[Tensor, " d_sae"]]:
        """The order that groups the list by latent, and the start of each latent's group. Both gradients need them."""
        counts = torch.bincount(self.latents, minlength=self.d_sae)
        return _stable_order(self.latents, self.d_sae), counts.cumsum(0) - counts


def decode_sparse(
    active: Active, z: Float[Tensor, " m"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, "n d_in"]:
    """Return Σ_j z[j] · W_dec[j] over each token's latents j, differentiable in ``z`` and ``W_dec``."""
    return _Summed.apply(z, W_dec, active)


def encode_at(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    b_dec: Float[Tensor, " d_in"],
    active: Active,
) -> Float[Tensor, " m"]:
    """Return (x − b_dec) W_enc + b_enc for the active latents only, differentiable in the weights."""
    return _Gathered.apply(x, W_enc, b_enc, b_dec, active)


class _Summed(torch.autograd.Function):
    """Σ z[j] · W_dec[j]."""

    @staticmethod
    def forward(ctx, z, W_dec, active):
        ctx.save_for_backward(z, W_dec)
        ctx.active = active
        return F.embedding_bag(active.latents, W_dec, active.starts, per_sample_weights=z, mode="sum")

    @staticmethod
    def backward(ctx, grad):
        z, W_dec = ctx.saved_tensors
        grad = grad.contiguous()
        return _dots(grad, W_dec, ctx.active), _per_latent(z, grad, ctx.active), None


class _Gathered(torch.autograd.Function):
    """(x − b_dec) · W_enc[:, j] + b_enc[j]; ``x`` is data and gets no gradient."""

    @staticmethod
    def forward(ctx, x, W_enc, b_enc, b_dec, active):
        centred = x - b_dec
        ctx.save_for_backward(centred, W_enc)
        ctx.active = active
        return _dots(centred, W_enc.T.contiguous(), active) + b_enc[active.latents]

    @staticmethod
    def backward(ctx, grad):
        centred, W_enc = ctx.saved_tensors
        per_latent = torch.bincount(ctx.active.latents, grad, minlength=ctx.active.d_sae).to(grad.dtype)
        return None, _per_latent(grad, centred, ctx.active).T, per_latent, -(W_enc @ per_latent), None


def _per_latent(weights: Float[Tensor, " m"], rows: Float[Tensor, "n d"], active: Active) -> Float[Tensor, "d_sae d"]:
    """Return for each latent the sum of weight · row over the tokens on which it is active."""
    order, starts = active.by_latent
    return F.embedding_bag(active.tokens[order], rows, starts, per_sample_weights=weights[order], mode="sum")


def _dots(x: Float[Tensor, "n d"], rows: Float[Tensor, "d_sae d"], active: Active) -> Float[Tensor, " m"]:
    """Return each token's products with the rows of its latents.

    ``embedding_bag`` computes the same as its weights' gradient, without gathering the rows first.
    """
    if not embedding_bag_is_known():
        return (x[active.tokens] * rows[active.latents]).sum(-1)
    return _bag_gradient(x, rows, active)


def _bag_gradient(x: Float[Tensor, "n d"], rows: Float[Tensor, "d_sae d"], active: Active) -> Float[Tensor, " m"]:
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        x, rows, active.latents, active.starts, active.tokens, 0
    )


@lru_cache
def embedding_bag_is_known() -> bool:
    """Return whether PyTorch's private gradient of ``embedding_bag`` exists and gives the products."""
    active = Active(torch.tensor([1, 0, 2]), torch.tensor([0, 2]), 3)
    # No random numbers: drawing some would change what a seed gives afterwards.
    x, rows = torch.eye(2, 4) + 0.5, torch.eye(3, 4) - 0.25
    try:
        return torch.allclose(_bag_gradient(x, rows, active), (x[active.tokens] * rows[active.latents]).sum(-1))
    except (AttributeError, RuntimeError, TypeError):
        return False


def _stable_order(latents: Int[Tensor, " m"], d_sae: int) -> Int[Tensor, " m"]:
    """Return the indices of a stable sort. NumPy sorts 16-bit numbers in a tenth of PyTorch's time."""
    if latents.device.type != "cpu" or d_sae > 2**16:
        return torch.sort(latents, stable=True).indices
    return torch.from_numpy(np.argsort(latents.numpy().astype(np.uint16), kind="stable"))
