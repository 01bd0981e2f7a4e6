"""Activations a few thousand rows at a time, since the latents of all tokens wouldn't fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 4096  # rows


def chunks(values) -> Iterator[Float[Tensor, "some d_in"]]:
    """Yield the rows of a tensor, of a table on disk or of :class:`~helpers.sae.batches.Rows`, chunk by chunk."""
    for first in range(0, len(values), CHUNK):
        yield values[first : first + CHUNK]


def encoded_chunks(module, values) -> Iterator[tuple[Float[Tensor, "some d_in"], Float[Tensor, "some d_sae"]]]:
    """Yield the rows in fp32 and their latents, both on the module's device."""
    device = next(module.parameters()).device
    for rows in chunks(values):
        rows = rows.to(device, torch.float32)
        yield rows, module.encode(rows)
