"""Products with few active latents per token, and their gradients, without the dense latents.

With n tokens, m active latents over all of them and width d, the dense products cost n·d_sae·d; these cost m·d.
Active latents are listed token by token: token i has ``chosen[starts[i]:starts[i + 1]]``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def decode_sparse(
    chosen: Int[Tensor, "m"], starts: Int[Tensor, "n"], z: Float[Tensor, "m"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, "n d_in"]:
    """Per token Σ_j z[j] · W_dec[chosen[j]], differentiable in ``z`` and ``W_dec``."""
    return F.embedding_bag(chosen, W_dec, starts, per_sample_weights=z, mode="sum")


def encode_at(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    b_dec: Float[Tensor, "d_in"],
    chosen: Int[Tensor, "m"],
    starts: Int[Tensor, "n"],
) -> Float[Tensor, "m"]:
    """Pre-activations (x − b_dec) W_enc + b_enc of the chosen latents only, differentiable in the weights."""
    return _Gathered.apply(x, W_enc, b_enc, b_dec, chosen, starts)


class _Gathered(torch.autograd.Function):
    """(x − b_dec) · W_enc[:, chosen] + b_enc[chosen]; ``x`` is data and gets no gradient."""

    @staticmethod
    def forward(ctx, x, W_enc, b_enc, b_dec, chosen, starts):
        centred = x - b_dec
        ctx.save_for_backward(centred, W_enc, chosen, starts)
        return _dots(centred, W_enc.T.contiguous(), chosen, starts) + b_enc[chosen]

    @staticmethod
    def backward(ctx, grad):
        centred, W_enc, chosen, starts = ctx.saved_tensors
        d_sae = W_enc.shape[1]
        # dL/dW_enc[:, j] = Σ over tokens that chose j of grad · (x − b_dec): the decoder's gradient with other names.
        rows = W_enc.T.detach().requires_grad_()  # its values don't matter, only its shape
        with torch.enable_grad():
            spread = decode_sparse(chosen, starts, grad.contiguous(), rows)
        (grad_rows,) = torch.autograd.grad(spread, rows, centred)
        per_latent = grad.new_zeros(d_sae).index_add_(0, chosen, grad)
        return None, grad_rows.T, per_latent, -(W_enc @ per_latent), None, None


def _dots(
    x: Float[Tensor, "n d"], rows: Float[Tensor, "d_sae d"], chosen: Int[Tensor, "m"], starts: Int[Tensor, "n"]
) -> Float[Tensor, "m"]:
    """Each token's product with its chosen rows. It is what embedding_bag computes as its weights' gradient, so let it."""
    ones = torch.ones(chosen.shape, dtype=x.dtype, device=x.device).requires_grad_()
    with torch.enable_grad():
        bag = decode_sparse(chosen, starts, ones, rows.detach())
    return torch.autograd.grad(bag, ones, x)[0]
