"""Resampling of dead latents, for SAEs whose loss has no term that revives them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

ENCODER_SHARE = 0.2  # of the living encoders' mean norm: a revived latent starts quietly
BIASES = ("b_enc", "b_gate", "b_mag", "r_mag", "log_threshold")


def can_resample(module: nn.Module) -> bool:
    """Whether the module has an encoder and a decoder with the usual names, and no AuxK of its own."""
    return hasattr(module, "W_enc") and hasattr(module, "W_dec") and not hasattr(module, "aux_coefficient")


@torch.no_grad()
def resample(
    module: nn.Module,
    optimizer: torch.optim.Adam,
    dead: Bool[Tensor, " d_sae"],
    x: Float[Tensor, "n d_in"],
    generator: torch.Generator,
) -> int:
    """Point dead latents at what the SAE explains worst (Bricken et al. 2023, "Neuron Resampling").

    Tokens are drawn with a chance that grows with the square of their loss. A latent's decoder row becomes
    its token's activation, less ``b_dec`` and at norm 1, so that it fires there; its encoder is the same,
    shorter. Its bias becomes 0 (a threshold the living ones' mean) and Adam forgets what it knew of it.

    Returns:
        How many latents were resampled.
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


def _forget(optimizer: torch.optim.Adam, module: nn.Module, latents) -> None:
    for name in ("W_dec", "W_enc", *BIASES):
        state = optimizer.state.get(getattr(module, name, None), {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                (state[moment].T if name == "W_enc" else state[moment])[latents] = 0
