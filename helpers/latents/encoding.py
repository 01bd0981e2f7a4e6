"""Latents of many tokens: values of a few latents, statistics of all, or a sparse table of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array
from torch import Tensor

from helpers.caching import Activations
from helpers.sae.chunks import encoded_chunks


def encoder(module) -> Callable[[Float[Tensor, "n d_in"]], Float[Tensor, "n d_sae"]]:
    """Return ``module.encode`` with inputs and outputs on the CPU, as the label scores expect it."""
    device = next(module.parameters()).device
    return lambda rows: module.encode(rows.to(device, torch.float32)).cpu()


@torch.no_grad()
def latent_values(module, activations: Activations, latents: Sequence[int]) -> Float[Tensor, "n l"]:
    """Return the activations of some latents on every token, sinks included, so that rows match ``activations``."""
    wanted = torch.as_tensor(list(latents))
    return torch.cat([encoded[:, wanted].cpu() for _, encoded in encoded_chunks(module, activations.values)])


@dataclass(frozen=True)
class LatentStats:
    """Statistics of each latent.

    Attributes:
        density: share of tokens on which it fires.
        largest: its largest activation.
        lines: number of lines on which it fires.
    """

    density: Float[Tensor, " d_sae"]
    largest: Float[Tensor, " d_sae"]
    lines: Int[Tensor, " d_sae"]


@torch.no_grad()
def latent_stats(module, activations: Activations) -> LatentStats:
    """Return the statistics of every latent, sinks excluded."""
    kept = activations.without_sinks()
    fired = largest = lines = torch.zeros(0)
    last, start = None, 0
    for _, latents in encoded_chunks(module, kept.values):
        latents = latents.cpu()
        text_ids = kept.text_ids[start : start + len(latents)]
        active = latents > 0
        by_line = _any_per_line(active, text_ids)
        if not start:
            fired = lines = torch.zeros(latents.shape[1], dtype=torch.long)
            largest = torch.full((latents.shape[1],), -torch.inf)
        fired = fired + active.sum(0)
        largest = torch.maximum(largest, latents.max(0).values)
        lines = lines + by_line.sum(0)
        if last is not None and last[0] == int(text_ids[0]):
            lines = lines - (by_line[0] & last[1]).long()  # the line began in the previous chunk: count it once
        last = (int(text_ids[-1]), by_line[-1])
        start += len(latents)
    return LatentStats(fired / len(kept), largest, lines)


def _any_per_line(active: Bool[Tensor, "n d_sae"], text_ids: Int[Tensor, " n"]) -> Bool[Tensor, "lines d_sae"]:
    """Return whether each latent fires anywhere on each line of a chunk."""
    _, line = torch.unique_consecutive(text_ids, return_inverse=True)
    counts = torch.zeros(int(line[-1]) + 1, active.shape[1]).index_add_(0, line, active.float())
    return counts > 0


@torch.no_grad()
def encode_sparse(module, activations: Activations) -> csc_array:
    """Return all latents on all tokens, ``[n d_sae]``, as a sparse table; sinks' rows are empty."""
    parts, first = [], 0
    for _, latents in encoded_chunks(module, activations.values):
        latents = latents.relu().cpu()
        latents[activations.is_sink[first : first + len(latents)]] = 0
        row, column = latents.nonzero(as_tuple=True)
        parts.append((row + first, column, latents[row, column]))
        first += len(latents)
    rows, columns, values = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return csc_array((values, (rows, columns)), shape=(len(activations), latents.shape[1]))
