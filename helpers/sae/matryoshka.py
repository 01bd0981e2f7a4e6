"""Matryoshka SAE (Bussmann et al. 2025): the first latents must reconstruct without the later ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.kernels.sparse_latents import Active, decode_sparse
from helpers.sae.base import SAEError
from helpers.sae.batch_topk import BatchTopK

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


class Matryoshka(BatchTopK):
    """BatchTopK SAE whose loss averages the squared error over nested dictionaries: the first m latents, for several m.

    This keeps early latents general ("a month") instead of specialised ("a month before a day").

    Args:
        sizes: the sizes m, in rising order, the last one ``d_sae``. ``None`` takes a sixteenth, an eighth, a
            quarter, a half and all of ``d_sae``.

    Raises:
        SAEError: as for :class:`TopK`, or the sizes don't rise to ``d_sae``.
    """

    architecture = "matryoshka_batchtopk"

    def __init__(self, d_in: int, d_sae: int, k: int = 32, sizes: Sequence[int] | None = None):
        super().__init__(d_in, d_sae, k)
        self.sizes = tuple(sizes or sorted({max(1, round(share * d_sae)) for share in SHARES}))
        if list(self.sizes) != sorted(set(self.sizes)) or self.sizes[-1] != d_sae or self.sizes[0] < 1:
            raise SAEError(f"sizes={list(self.sizes)}: give rising sizes, the last one d_sae={d_sae}.")

    def _error(self, x, active: Active, z) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_in"]]:
        x_hat: Tensor = self.b_dec
        losses, first = [], 0
        for size in self.sizes:
            inside = (active.latents >= first) & (active.latents < size)
            x_hat = x_hat + _decode_part(active, z, inside, self.W_dec)
            losses.append((x - x_hat).pow(2).sum(-1).mean())
            first = size
        return torch.stack(losses).mean(), x_hat


def _decode_part(active: Active, z, inside, W_dec) -> Float[Tensor, "n d_in"]:
    """Return what the latents marked by ``inside`` add to each token's reconstruction."""
    before = torch.cat([inside.new_zeros(1, dtype=torch.long), inside.cumsum(0)])
    return decode_sparse(Active(active.latents[inside], before[active.starts], active.d_sae), z[inside], W_dec)
