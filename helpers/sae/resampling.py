"""Resampling of dead latents, for SAEs without a loss term that revives them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

ENCODER_SHARE = 0.2  # of the living encoders' mean norm, so that a revived latent starts weakly
BIASES = ("b_enc", "b_gate", "b_mag", "r_mag", "log_threshold")


def can_resample(module) -> bool:
    """Return whether the module has ``W_enc`` and ``W_dec`` but no AuxK."""
    return hasattr(module, "W_enc") and hasattr(module, "W_dec") and not hasattr(module, "aux_coefficient")


@torch.no_grad()
def resample(
    module,
    optimizer: torch.optim.Adam,
    dead: Bool[Tensor, " d_sae"],
    x: Float[Tensor, "n d_in"],
    generator: torch.Generator,
) -> int:
    """Point dead latents at what the SAE explains worst (Bricken et al. 2023, "Neuron Resampling").

    Each dead latent draws a token, with a probability proportional to the square of the token's loss. The latent's
    decoder row becomes the token's activation minus ``b_dec``, scaled to norm 1, so that the latent fires there.
    Its encoder gets the same direction at a smaller norm. Its biases become 0, its threshold the living latents'
    mean, and its Adam moments 0.

    Returns:
        The number of resampled latents.
    """
    latents = dead.nonzero()[:, 0]
    if not len(latents) or dead.all():
        return 0
    chance = (x - module.decode(module.encode(x))).pow(2).sum(-1).pow(2).cpu()
    if not chance.sum() > 0:
        return 0
    drawn = torch.multinomial(chance, len(latents), replacement=True, generator=generator)
    centre = getattr(module, "b_dec", 0.0)
    directions = nn.functional.normalize(x[drawn.to(x.device)] - centre, dim=-1)
    living_norm = module.W_enc[:, ~dead].norm(dim=0).mean()
    module.W_dec[latents] = directions
    module.W_enc[:, latents] = ENCODER_SHARE * living_norm * directions.T
    for name in BIASES:
        if hasattr(module, name):
            bias = getattr(module, name)
            bias[latents] = bias[~dead].mean() if name == "log_threshold" else 0.0
    _forget(optimizer, module, latents)
    return len(latents)


def _forget(optimizer: torch.optim.Adam, module, latents) -> None:
    for name in ("W_dec", "W_enc", *BIASES):
        state = optimizer.state.get(getattr(module, name), {}) if hasattr(module, name) else {}
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                (state[moment].T if name == "W_enc" else state[moment])[latents] = 0
