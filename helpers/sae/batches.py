"""Training rows of an SAE: checked, measured and shuffled, in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.caching.activations import Activations
from helpers.sae.base import SAEError

CHUNK = 65_536  # rows read at a time, so that a file on disk needn't fit into memory


class Rows:
    """Rows ``[n d_in]``, sinks excluded, with their mean, mean norm and variance.

    A memory-mapped tensor stays on disk; only the rows of a batch are read.

    Raises:
        SAEError: there are no rows, or they hold NaN or infinity.
    """

    def __init__(self, activations: Activations | Float[Tensor, "n d_in"]):
        values: Any = activations
        self.kept = None  # indices of the rows; None means all
        if isinstance(activations, Activations):
            if activations.is_sink.any():
                self.kept = (~activations.is_sink).nonzero()[:, 0]
            values = activations.values
        self.values = values
        if self.values.ndim != 2 or not len(self):
            raise SAEError(f"The activations have shape {list(self.values.shape)}: give at least one row, [n d_in].")
        self._measure()

    def __len__(self) -> int:
        return len(self.values) if self.kept is None else len(self.kept)

    @property
    def width(self) -> int:
        return self.values.shape[1]

    def __getitem__(self, rows: Tensor | slice) -> Float[Tensor, "some d_in"]:
        return self.values[rows if self.kept is None else self.kept[rows]]

    def chunks(self) -> Iterator[Float[Tensor, "some d_in"]]:
        for first in range(0, len(self), CHUNK):
            yield self[first : first + CHUNK]

    def _measure(self) -> None:
        total, norms = torch.zeros(self.width, dtype=torch.float64), 0.0
        for part in self.chunks():
            if not torch.isfinite(part).all():
                raise SAEError("The activations hold NaN or infinity: harvest them again in fp32 or bf16.")
            total += part.sum(0, dtype=torch.float64).cpu()
            norms += part.float().norm(dim=-1).sum(dtype=torch.float64).item()
        self.mean = (total / len(self)).float()
        self.mean_norm = norms / len(self)
        self.variance = sum((part.float().cpu() - self.mean).pow(2).sum().item() for part in self.chunks()) / len(self)


class Shuffled:
    """Endless batches, one shuffled pass over the rows after another; its state can be saved and restored."""

    def __init__(self, rows: Rows, batch_size: int, generator: torch.Generator):
        self.rows, self.generator = rows, generator
        self.size = min(batch_size, len(rows))
        self.order, self.cursor = torch.empty(0, dtype=torch.long), 0

    def next(self) -> Float[Tensor, "batch d_in"]:
        if self.cursor + self.size > len(self.order):
            self.order, self.cursor = torch.randperm(len(self.rows), generator=self.generator), 0
        batch = self.rows[self.order[self.cursor : self.cursor + self.size]]
        self.cursor += self.size
        return batch

    def state_dict(self) -> dict:
        return {"order": self.order, "cursor": self.cursor, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self.order, self.cursor = state["order"], state["cursor"]
        self.generator.set_state(state["generator"])
