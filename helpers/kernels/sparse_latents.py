"""Products with few active latents per token, and their gradients, without the dense latents.

With n tokens, m active latents over all of them and width d, the dense products cost n·d_sae·d; these cost m·d. All of them
are sums of a few weighted rows, which ``embedding_bag`` takes; its own gradient takes three times as long as one more such sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Active:
    """The active latents of n tokens, m in all: token i has ``latents[starts[i]:starts[i + 1]]``, each at most once."""

    latents: Int[Tensor, " m"]
    starts: Int[Tensor, " n"]
    d_sae: int

    @cached_property
    def tokens(self) -> Int[Tensor, " m"]:
        """Whose each one is."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.latents)])])
        return torch.repeat_interleave(ends - self.starts)

    @cached_property
    def by_latent(self) -> tuple[Int[Tensor, " m"], Int[Tensor, " d_sae"]]:
        """The same list latent by latent: its order, and where in it each latent's begin. Both gradients need it."""
        counts = torch.bincount(self.latents, minlength=self.d_sae)
        return _stable_order(self.latents, self.d_sae), counts.cumsum(0) - counts


def decode_sparse(
    active: Active, z: Float[Tensor, " m"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, "n d_in"]:
    """Per token Σ_j z[j] · W_dec[j] over its latents j, differentiable in ``z`` and ``W_dec``."""
    return _Summed.apply(z, W_dec, active)


def encode_at(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
    b_dec: Float[Tensor, " d_in"],
    active: Active,
) -> Float[Tensor, " m"]:
    """Pre-activations (x − b_dec) W_enc + b_enc of the active latents only, differentiable in the weights."""
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
    """For each latent the sum of weight · row over the tokens on which it is active."""
    order, starts = active.by_latent
    return F.embedding_bag(active.tokens[order], rows, starts, per_sample_weights=weights[order], mode="sum")


def _dots(x: Float[Tensor, "n d"], rows: Float[Tensor, "d_sae d"], active: Active) -> Float[Tensor, " m"]:
    """Each token's products with the rows of its latents, which is what embedding_bag computes as its weights' gradient."""
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        x, rows, active.latents, active.starts, active.tokens, 0
    )


def _stable_order(latents: Int[Tensor, " m"], d_sae: int) -> Int[Tensor, " m"]:
    """What sorts them, equals in their order. NumPy sorts numbers of 16 bits in a tenth of PyTorch's time."""
    if latents.device.type != "cpu" or d_sae > 2**16:
        return torch.sort(latents, stable=True).indices
    return torch.from_numpy(np.argsort(latents.numpy().astype(np.uint16), kind="stable"))
