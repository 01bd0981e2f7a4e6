"""Tensors that lie in files: mapped into memory, several as if they were one, rows read when they are asked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_KINDS = {
    "F32": (np.float32, torch.float32), "F16": (np.float16, torch.float16), "BF16": (np.uint16, torch.bfloat16),
    "I64": (np.int64, torch.int64),
}  # fmt: skip


def map_tensor(path: Path, name: str) -> Tensor:
    """A tensor of a safetensors file, mapped: pages are read when rows are, and may be dropped again by the system.

    The format: eight bytes with the header's length, the header as JSON, the numbers
    (https://huggingface.co/docs/safetensors). The library itself maps no single tensor.
    """
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        entry = json.loads(file.read(length))[name]
    kind, final = _KINDS[entry["dtype"]]
    if 0 in entry["shape"]:
        return torch.empty(entry["shape"], dtype=final)
    array = np.memmap(
        path, kind, "c", 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
    )  # copy on write: never written back
    return torch.from_numpy(array).view(final)


class Sharded:
    """Tensors ``[n_i d]`` as one ``[n d]``, without being put together.

    Indices and slices give a tensor; a mask gives rows of this as another :class:`Sharded`, of which nothing is read yet.
    """

    ndim = 2

    def __init__(self, parts: Sequence[Float[Tensor, "n_i d"]], rows: Int[Tensor, " n"] | None = None) -> None:
        self.parts = list(parts)
        self.starts = torch.tensor([0, *np.cumsum([len(part) for part in self.parts])])
        self.rows = rows  # which rows of all; None is all of them

    def __len__(self) -> int:
        return int(self.starts[-1]) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        return (len(self), self.parts[0].shape[1])

    @property
    def dtype(self) -> torch.dtype:
        return self.parts[0].dtype

    def rows_of(self, shard: int) -> Int[Tensor, " n_i"]:
        """Indices of a shard's rows, of all."""
        return torch.arange(int(self.starts[shard]), int(self.starts[shard + 1]))

    def __getitem__(self, index):
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            mine = torch.arange(len(self)) if self.rows is None else self.rows
            return Sharded(self.parts, mine[index])
        if isinstance(index, slice):
            index = torch.arange(*index.indices(len(self)))
        index = torch.as_tensor(index)
        wanted = index if self.rows is None else self.rows[index]
        return self._gather(wanted.reshape(-1)).reshape(*index.shape, self.shape[1])

    def _gather(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k d"]:
        found = torch.empty(len(rows), self.shape[1], dtype=self.dtype)
        shard = torch.searchsorted(self.starts, rows, right=True) - 1
        for number in shard.unique().tolist():
            here = shard == number
            found[here] = self.parts[number][rows[here] - self.starts[number]]
        return found
