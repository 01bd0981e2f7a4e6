"""Memory-mapped tensors: several files act as one tensor, and rows are read on access."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_KINDS = {
    "F32": (np.float32, torch.float32), "F16": (np.float16, torch.float16), "BF16": (np.uint16, torch.bfloat16),
    "I64": (np.int64, torch.int64),
}  # fmt: skip


def map_tensor(path: Path, name: str) -> Tensor:
    """Return a tensor of a safetensors file, memory-mapped: the system reads pages on access and may drop them.

    The file holds the header's length in eight bytes, the header as JSON, and the numbers
    (https://huggingface.co/docs/safetensors). The safetensors library can't map a single tensor.
    """
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        entry = json.loads(file.read(length))[name]
    kind, final = _KINDS[entry["dtype"]]
    if 0 in entry["shape"]:
        return torch.empty(entry["shape"], dtype=final)
    offset = 8 + length + entry["data_offsets"][0]
    array = np.memmap(path, kind, "c", offset, tuple(entry["shape"]))  # "c", copy on write: the file never changes
    return torch.from_numpy(array).view(final)


class Sharded:
    """Tensors ``[n_i d]`` that act as one ``[n d]`` without being copied together.

    It is indexed like a tensor, and ``values[:]`` reads all rows into memory. Indices and slices read rows and give a
    tensor. A mask gives another :class:`Sharded` and reads nothing.
    """

    ndim = 2

    def __init__(self, parts: Sequence[Float[Tensor, "n_i d"]], rows: Int[Tensor, " n"] | None = None) -> None:
        self.parts = list(parts)
        self.starts = torch.tensor([0, *np.cumsum([len(part) for part in self.parts])])
        self.rows = rows  # indices of the rows; None means all

    def __len__(self) -> int:
        return int(self.starts[-1]) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        return (len(self), self.parts[0].shape[1])

    @property
    def dtype(self) -> torch.dtype:
        return self.parts[0].dtype

    def rows_of(self, shard: int) -> Int[Tensor, " n_i"]:
        """Return the indices of a shard's rows among the rows of all shards."""
        return torch.arange(int(self.starts[shard]), int(self.starts[shard + 1]))

    def __getattr__(self, name: str):
        raise AttributeError(
            f"A table on disk has no {name!r}: read the rows that you need into memory first, such as values[:1000]."
        )

    def __getitem__(self, index):
        if isinstance(index, tuple):
            rows, *columns = index
            if rows is Ellipsis:
                return self[:][index]
            # One index per row and column picks single numbers, so rows and columns must be looked up together.
            return self[rows][(..., *columns)] if isinstance(rows, int | slice) else self[:][index]
        if isinstance(index, slice):
            index = torch.arange(*index.indices(len(self)))
        index = torch.as_tensor(index)
        if index.dtype == torch.bool:
            return self._masked(index)
        return self._gather(self._rows_at(index.reshape(-1))).reshape(*index.shape, self.shape[1])

    def _masked(self, mask: Bool[Tensor, " n"]) -> Sharded:
        if mask.shape != (len(self),):
            raise IndexError(f"A mask of shape {list(mask.shape)} for {len(self)} rows: give one value per row.")
        rows = torch.arange(len(self)) if self.rows is None else self.rows
        return Sharded(self.parts, rows[mask.to(rows.device)])

    def _rows_at(self, index: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        """Return the rows of all shards that an index means; negative ones count from the end."""
        index = index.long().cpu()
        outside = (index < -len(self)) | (index >= len(self))
        if outside.any():
            raise IndexError(f"Row {int(index[outside][0])} of a table with {len(self)} rows.")
        index = torch.where(index < 0, index + len(self), index)
        return index if self.rows is None else self.rows[index]

    def _gather(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k d"]:
        gathered = torch.empty(len(rows), self.shape[1], dtype=self.dtype)
        shard = torch.searchsorted(self.starts, rows, right=True) - 1
        for number in shard.unique().tolist():
            here = shard == number
            gathered[here] = self.parts[number][rows[here] - self.starts[number]]
        return gathered
