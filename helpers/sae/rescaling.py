"""Change of unit: an SAE of x becomes one of x / s and back, and computes the same."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.sae.base import Architecture, scale_biases
from helpers.sae.equivalence import evaluation_mode

# What a student's module may hold in the unit of the activations.
NAMES = ("b_enc", "b_gate", "b_mag", "b_dec", "threshold")
TOLERANCE = 1e-3  # of the reconstructions' norm


def is_trained(module: nn.Module) -> bool:
    """Return whether training continues from the module's weights: it was trained or loaded, or a bias isn't 0."""
    biases = [getattr(module, name) for name in NAMES if name.startswith("b_") and hasattr(module, name)]
    return getattr(module, "trained", False) or any(bool(bias.any()) for bias in biases)


@torch.no_grad()
def can_rescale(module, x: Float[Tensor, "n d_in"], scale: float) -> bool:
    """Return whether rescaling the module's biases by ``scale`` turns an SAE of x / scale into one of x.

    The architectures of this package promise it. For any other module it is measured on the rows ``x``: a sigmoid,
    or a threshold under a name that isn't known here, doesn't scale with the biases.
    """
    if isinstance(module, Architecture):
        return True
    if not (hasattr(module, "b_enc") and hasattr(module, "b_dec")):
        return False
    kept = {name: getattr(module, name).clone() for name in _names(module)}
    try:
        with evaluation_mode(module):
            x_hat = module.decode(module.encode(x))
            rescale(module, 1 / scale)
            x_hat_scaled = scale * module.decode(module.encode(x / scale))
    finally:  # also after an error in a student's encode
        for name, value in kept.items():
            getattr(module, name).copy_(value)
    return bool((x_hat_scaled - x_hat).norm() <= TOLERANCE * x_hat.norm())


def rescale(module: nn.Module, factor: float) -> None:
    """Multiply all that is in the unit of the activations by ``factor``."""
    if isinstance(module, Architecture):
        module.scale_(factor)
    else:
        scale_biases(module, _names(module), factor)


def _names(module: nn.Module) -> list[str]:
    stored = dict(module.named_parameters()) | dict(module.named_buffers())
    return [name for name in NAMES if name in stored]
