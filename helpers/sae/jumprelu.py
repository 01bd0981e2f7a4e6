"""JumpReLU SAE (Rajamanoharan et al. 2024, "Jumping Ahead")."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from helpers.sae.base import Architecture, SAEError, Step, dense_step


class JumpReLU(Architecture):
    """SAE with z = π · H(π − θ), a threshold θ per latent, and the loss ‖x − x̂‖² + ``sparsity`` · L0.

    H has no gradient, so θ learns by straight-through estimators with a rectangular kernel of width
    ``bandwidth`` (the paper's equations 10 to 12). ``bandwidth`` and the first θ are in units of activations scaled
    to a mean norm of √d_in, as during training. Afterwards θ is in the unit of the activations.

    A threshold moves only while pre-activations are near it. The paper starts with a small threshold and a narrow
    kernel, and trains for long. Here both start larger, so that a run of a few hundred steps is enough. (smollm2's
    middle layer, 120 steps: L0 34 and 17 at a sparsity of 0.5 and 4; with a tenth of both, 546 and 551.)

    Args:
        sparsity: weight λ of the number of active latents per token.
        threshold: θ at the start.
        bandwidth: ε, the width around θ within which a pre-activation moves θ.

    Raises:
        SAEError: a size is below 1, or the threshold or bandwidth isn't above 0.
    """

    architecture = "jumprelu"

    def __init__(self, d_in: int, d_sae: int, sparsity: float = 0.2, threshold: float = 1.0, bandwidth: float = 1.0):
        super().__init__(d_in, d_sae)
        if not (threshold > 0 and bandwidth > 0):
            raise SAEError(f"JumpReLU(threshold={threshold}, bandwidth={bandwidth}): both must be above 0.")
        self.sparsity, self.bandwidth = sparsity, bandwidth
        self.log_threshold = nn.Parameter(torch.full((d_sae,), math.log(threshold)))

    @property
    def threshold(self) -> Float[Tensor, " d_sae"]:
        return self.log_threshold.exp()

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Return the pre-activations above their latent's threshold and above 0, the others exactly 0."""
        pre = self.pre_activations(x).relu()
        return _Jump.apply(pre, self.threshold, self.bandwidth)

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, " d_sae"], pressure: float = 1.0) -> Step:
        pre, threshold = self.pre_activations(x).relu(), self.threshold
        z = _Jump.apply(pre, threshold, self.bandwidth)
        x_hat = self.decode(z)
        l0 = _Heaviside.apply(pre, threshold, self.bandwidth).sum(-1).mean()
        return dense_step((x - x_hat).pow(2).sum(-1).mean() + pressure * self.sparsity * l0, x_hat, z)

    @torch.no_grad()
    def scale_(self, factor: float) -> None:
        super().scale_(factor)
        self.log_threshold.add_(math.log(factor))


def _kernel(pre, threshold, bandwidth: float) -> Float[Tensor, "n d_sae"]:
    """Return K((π − θ) / ε) / ε, with K the rectangle of height 1 between −½ and ½."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype) / bandwidth


class _Jump(torch.autograd.Function):
    """π · H(π − θ), with the paper's estimator as the gradient of θ."""

    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        to_threshold = -(threshold * _kernel(pre, threshold, ctx.bandwidth) * grad).flatten(0, -2).sum(0)
        return grad * (pre > threshold), to_threshold, None


class _Heaviside(torch.autograd.Function):
    """H(π − θ); its gradient reaches θ only, as in the paper."""

    @staticmethod
    def forward(ctx, pre, threshold, bandwidth):
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx, grad):
        pre, threshold = ctx.saved_tensors
        return None, -(_kernel(pre, threshold, ctx.bandwidth) * grad).flatten(0, -2).sum(0), None
