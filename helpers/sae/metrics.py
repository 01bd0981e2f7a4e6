"""How well an SAE reconstructs, and how sparse it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.caching.activations import Activations
from helpers.sae.base import SAEError
from helpers.sae.batches import Rows
from helpers.sae.chunks import encoded_chunks


@dataclass(frozen=True)
class Metrics:
    """Metrics of an SAE on a set of tokens.

    Attributes:
        fvu: Σ‖x − x̂‖² / Σ‖x − mean‖², with the mean over the whole set; 0 is perfect, 1 as bad as the mean.
        l0: latents above 0 per token.
        dead_fraction: share of latents that never fire in the set.
        shrinkage: 1 − Σ‖x̂ − mean‖ / Σ‖x − mean‖. Above 0, reconstructions are too short, as with an L1 penalty.
        cosine: between x̂ − mean and x − mean, averaged over tokens.
        density: share of tokens on which each latent fires.
        tokens: number of tokens measured.
        sinks_left_out: number of tokens excluded as attention sinks.
    """

    fvu: float
    l0: float
    dead_fraction: float
    shrinkage: float
    cosine: float
    density: Float[Tensor, " d_sae"]
    tokens: int
    sinks_left_out: int

    def __str__(self) -> str:
        return (
            f"FVU {self.fvu:.3f}  L0 {self.l0:.1f}  dead {self.dead_fraction:.1%}  "
            f"({self.tokens} tokens, {self.sinks_left_out} sinks left out)"
        )

    def figures(self) -> dict[str, float]:
        """Return all metrics but the per-latent density, as plain numbers."""
        return {name: value for name, value in asdict(self).items() if name != "density"}


@torch.no_grad()
def evaluate(module, activations: Activations | Float[Tensor, "n d_in"], keep_sinks: bool = False) -> Metrics:
    """Return the metrics of any module with ``encode`` and ``decode``, sinks excluded unless ``keep_sinks``.

    Raises:
        SAEError: there are no rows, they hold NaN or infinity, or they don't vary, so that FVU is undefined.
    """
    if keep_sinks and isinstance(activations, Activations):
        activations = activations.values
    x = Rows(activations)
    device = next(module.parameters()).device
    mean = x.mean.to(device)
    error = spread = length = length_hat = cosine = 0.0
    fired = torch.zeros(0, dtype=torch.long)
    for rows, latents in encoded_chunks(module, x):
        rows_hat = module.decode(latents)
        error += (rows - rows_hat).pow(2).sum().item()
        centred, centred_hat = rows - mean, rows_hat - mean
        spread += centred.pow(2).sum().item()
        length += centred.norm(dim=-1).sum().item()
        length_hat += centred_hat.norm(dim=-1).sum().item()
        cosine += torch.cosine_similarity(centred, centred_hat, dim=-1).sum().item()
        active = (latents > 0).sum(0)
        fired = fired + active if len(fired) else active
    if not spread:
        raise SAEError("The activations don't vary, so FVU is undefined: use more than one kind of token.")
    return Metrics(
        fvu=error / spread,
        l0=fired.sum().item() / len(x),
        dead_fraction=(fired == 0).float().mean().item(),
        shrinkage=1 - length_hat / length,
        cosine=cosine / len(x),
        density=(fired / len(x)).cpu(),
        tokens=len(x),
        sinks_left_out=len(x.values) - len(x),
    )
