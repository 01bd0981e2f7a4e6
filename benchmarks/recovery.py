"""How much of a known dictionary an SAE recovers, for data made from given directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from helpers.sae.base import SAEError

FOUND = 0.9  # cosine above which a direction counts as found


@dataclass(frozen=True)
class Recovery:
    """How well a decoder recovers the directions that the data was made from.

    ``mean_max_cosine``: the cosine of each true direction with its nearest latent, averaged (Sharkey et al. 2022).
    ``found``: the share of directions for which this cosine is above 0.9.
    ``matched``: the mean cosine if each latent is matched with at most one direction (Hungarian matching).
    ``uniqueness``: the number of distinct nearest latents per direction; 1 if no two directions share one.
    """

    mean_max_cosine: float
    found: float
    matched: float
    uniqueness: float


@torch.no_grad()
def recovery(W_dec: Float[Tensor, "d_sae d_in"], truth: Float[Tensor, "n_features d_in"]) -> Recovery:
    """Compare decoder rows with the true directions; signs matter, lengths don't.

    Raises:
        SAEError: different widths, or fewer latents than directions.
    """
    if W_dec.ndim != 2 or truth.ndim != 2 or W_dec.shape[1] != truth.shape[1]:
        raise SAEError(
            f"Decoder {list(W_dec.shape)} and directions {list(truth.shape)} differ in width: both need the same d_in."
        )
    if len(W_dec) < len(truth):
        raise SAEError(f"{len(W_dec)} latents can't be matched with {len(truth)} directions one to one.")
    cosines = normalize(truth.double(), dim=-1) @ normalize(W_dec.double().to(truth.device), dim=-1).T
    nearest = cosines.max(-1)
    return Recovery(
        mean_max_cosine=nearest.values.mean().item(),
        found=(nearest.values > FOUND).double().mean().item(),
        matched=_matched(cosines),
        uniqueness=len(nearest.indices.unique()) / len(truth),
    )


def _matched(cosines: Float[Tensor, "n_features d_sae"]) -> float:
    rows, columns = linear_sum_assignment(cosines.cpu().numpy(), maximize=True)
    return cosines[torch.from_numpy(rows), torch.from_numpy(columns)].mean().item()


def matched_correlation(
    latents: Float[Tensor, "n d_sae"], strengths: Float[Tensor, "n n_features"]
) -> tuple[float, Int[Tensor, " n_features"]]:
    """Match features with latents one to one; return the mean Pearson correlation and each feature's latent.

    A constant latent or feature has correlation 0.

    Raises:
        SAEError: different numbers of rows, or fewer latents than features.
    """
    if len(latents) != len(strengths) or latents.shape[1] < strengths.shape[1]:
        raise SAEError(
            f"Latents {list(latents.shape)}, strengths {list(strengths.shape)}: "
            "both need the same number of rows, and at least one latent per feature."
        )

    def standard(x):
        x = x.double() - x.double().mean(0)
        return x / x.norm(dim=0).clamp_min(1e-12)

    correlations = standard(strengths).T @ standard(latents)
    rows, columns = linear_sum_assignment(correlations.cpu().numpy(), maximize=True)
    return correlations[torch.from_numpy(rows), torch.from_numpy(columns)].mean().item(), torch.from_numpy(columns)
