"""How well an SAE reconstructs, how sparse it is, and whether its latents mean what a rule says."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from helpers.caching import Activations
from helpers.sae.base import SAEError

CHUNK = 4096  # rows at a time: latents of all tokens at once wouldn't fit


@dataclass(frozen=True)
class Marks:
    """Figures of an SAE on a set of tokens.

    ``fvu``: Σ‖x − x̂‖² / Σ‖x − mean‖², the mean over the whole set; 0 perfect, 1 as bad as the mean.
    ``l0``: latents above 0 per token. ``dead_fraction``: latents that never fire in the set.
    ``density``: per latent, the share of tokens on which it fires. ``tokens``, ``sinks_left_out``: counts.
    """

    fvu: float
    l0: float
    dead_fraction: float
    density: Float[Tensor, "d_sae"]
    tokens: int
    sinks_left_out: int

    def __str__(self) -> str:
        return (
            f"FVU {self.fvu:.3f}  L0 {self.l0:.1f}  dead {self.dead_fraction:.1%}  "
            f"({self.tokens} tokens, {self.sinks_left_out} sinks left out)"
        )

    def figures(self) -> dict[str, float]:
        """All but the per-latent density, as plain numbers."""
        return {name: value for name, value in asdict(self).items() if name != "density"}


@torch.no_grad()
def evaluate(module, activations: Activations | Float[Tensor, "n d_in"], keep_sinks: bool = False) -> Marks:
    """Measure any module with ``encode`` and ``decode`` on activations, sinks left out unless asked for.

    Raises:
        SAEError: no rows, or rows that don't vary, for which FVU has no meaning.
    """
    x, sinks = _rows(activations, keep_sinks)
    device = next(module.parameters()).device
    mean = x.mean(0)
    error = spread = l0 = 0.0
    fired = 0
    for rows in x.split(CHUNK):
        rows = rows.to(device, torch.float32)
        latents = module.encode(rows)
        error += (rows - module.decode(latents)).pow(2).sum().item()
        spread += (rows - mean.to(device)).pow(2).sum().item()
        active = latents > 0
        l0 += active.sum().item()
        fired = fired + active.sum(0)
    if not spread:
        raise SAEError("The activations don't vary, so FVU has no meaning: take more than one kind of token.")
    density = (fired / len(x)).cpu()
    return Marks(error / spread, l0 / len(x), (density == 0).float().mean().item(), density, len(x), sinks)


def _rows(activations, keep_sinks: bool) -> tuple[Float[Tensor, "n d_in"], int]:
    sinks = 0
    if isinstance(activations, Activations):
        if not keep_sinks:
            sinks = int(activations.is_sink.sum())
            activations = activations.without_sinks()
        activations = activations.values
    if activations.ndim != 2 or not len(activations):
        raise SAEError(f"The activations have shape {list(activations.shape)}: give at least one row, [n d_in].")
    return activations, sinks


@torch.no_grad()
def best_f1(
    encode,
    values: Float[Tensor, "n d_in"],
    labels: Bool[Tensor, "n_labels n"],
    both_signs: bool = False,
    thresholds: int = 8,
) -> tuple[Float[Tensor, "n_labels"], Float[Tensor, "n_labels"]]:
    """For each label the best single feature's F1, and which feature it is.

    A feature says "yes" where it is above a threshold; tried are 0 and quantiles of its values, the
    same number for every feature, so that latents and raw neurons have the same chances.

    Args:
        encode: maps rows ``[n d_in]`` to features ``[n d_features]``; ``lambda x: x`` for raw neurons.
        both_signs: also try each feature's negative, since a raw neuron has no preferred sign.

    Returns:
        F1 per label, and the index of the feature that reached it (for ``both_signs`` the index counts
        the negatives after all the positives).
    """
    features = torch.cat([encode(rows).half() for rows in values.split(CHUNK)])
    best, which = torch.zeros(len(labels)), torch.zeros(len(labels), dtype=torch.long)
    truth = labels.float()
    signs = (1, -1) if both_signs else (1,)
    for s, sign in enumerate(signs):
        for first in range(0, features.shape[1], 512):
            part = (sign * features[:, first : first + 512]).float()
            for threshold in _thresholds(part, thresholds):
                f1 = _f1((part > threshold).float(), truth)
                value, index = f1.max(1)
                better = value > best
                best[better] = value[better]
                which[better] = index[better] + first + s * features.shape[1]
    return best, which


def _thresholds(part: Float[Tensor, "n f"], count: int) -> list[Float[Tensor, "f"]]:
    """0, then quantiles from the 80th percent to the 99.9th, spaced evenly in the logarithm of what is left."""
    tails = torch.logspace(-0.7, -3, count - 1)
    ranked = part.sort(0).values
    places = ((1 - tails) * (len(part) - 1)).round().long()
    return [torch.zeros(part.shape[1]), *ranked[places]]


def _f1(said: Float[Tensor, "n f"], truth: Float[Tensor, "n_labels n"]) -> Float[Tensor, "n_labels f"]:
    hits = truth @ said
    return 2 * hits / (said.sum(0) + truth.sum(1, keepdim=True)).clamp_min(1)
