"""Table of activations, one row per token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SINK_FACTOR = 5.0  # a token is an attention sink if its norm is above this many medians


class HarvestError(ValueError):
    """Lines or settings that can't be harvested; the message says why."""


@dataclass(frozen=True)
class Activations:
    """Activations of ``n`` tokens at one hook point, BOS excluded, in the order of the text.

    ``is_sink`` marks tokens with a norm above 5 times the median norm. They are few, can hold most of the
    variance, and say nothing about the text, so train and measure without them.
    """

    values: Any  # Float[Tensor, "n d_model"]; on disk, a helpers.caching.memory_map.Sharded
    text_ids: Int[Tensor, " n"]  # line of each token
    positions: Int[Tensor, " n"]  # position in the line; starts at 1, since 0 is BOS
    token_ids: Int[Tensor, " n"]
    is_sink: Bool[Tensor, " n"]
    hook_name: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows) -> Activations:
        """Return the tokens that a slice, a mask or indices select."""
        fields = ("values", "text_ids", "positions", "token_ids", "is_sink")
        return replace(self, **{name: getattr(self, name)[rows] for name in fields})

    def without_sinks(self) -> Activations:
        """Return all tokens but the attention sinks."""
        return self[~self.is_sink]

    def split(self, held_out: float = 0.1) -> tuple[Activations, Activations]:
        """Return the training and the held-out tokens; with 0.1, every tenth line is held out.

        A line that occurs several times goes where its first occurrence goes, so no line is in both parts. But two
        lines of one document can be in different parts.

        Raises:
            HarvestError: one of the parts would be empty.
        """
        every = round(1 / held_out) if 0 < held_out <= 0.5 else 0
        is_test = self._first_occurrences() % every == every - 1 if every else torch.zeros(len(self), dtype=torch.bool)
        if not is_test.any() or is_test.all():
            lines = int(self.text_ids.max()) + 1
            raise HarvestError(
                f"{lines} lines can't be split with held_out={held_out}: "
                "use a share of at most 0.5, and more lines than 1 / held_out."
            )
        return self[~is_test], self[is_test]

    def _first_occurrences(self) -> Int[Tensor, " n"]:
        """Return for each token the first line that has the same tokens as its own line."""
        lines, lengths = torch.unique_consecutive(self.text_ids, return_counts=True)
        first: dict[tuple, int] = {}
        tokens = self.token_ids.split(lengths.tolist())
        owners = [first.setdefault(tuple(ids.tolist()), line) for ids, line in zip(tokens, lines.tolist(), strict=True)]
        return torch.repeat_interleave(torch.tensor(owners), lengths)


def mark_sinks(values: Float[Tensor, "n d_model"]) -> Bool[Tensor, " n"]:
    """Return which tokens are attention sinks: L2 norm above 5 times the median norm."""
    norms = values.float().norm(dim=-1)
    return norms > SINK_FACTOR * norms.median()
