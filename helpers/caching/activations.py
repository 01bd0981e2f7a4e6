"""Activations: a table with one row per token."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SINK_FACTOR = 5.0  # a token whose norm is above so many medians is an attention sink


class HarvestError(ValueError):
    """Lines that can't be harvested; the message says why."""


@dataclass(frozen=True)
class Activations:
    """Activations of ``n`` tokens at one hook point, BOS left out, in the order of the text.

    ``is_sink`` marks tokens whose norm is above 5 times the median norm. They are few, can hold most
    of the variance, and say nothing about the text: train and measure without them.
    """

    values: Float[Tensor, "n d_model"]  # or, from disk, what behaves like it: helpers.caching.memory_map.Sharded
    text_ids: Int[Tensor, " n"]  # which line
    positions: Int[Tensor, " n"]  # which token of the line; 0 is BOS, so these begin at 1
    token_ids: Int[Tensor, " n"]
    is_sink: Bool[Tensor, " n"]
    hook_name: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows) -> Activations:
        """Some of the tokens: a slice, a mask or indices."""
        fields = ("values", "text_ids", "positions", "token_ids", "is_sink")
        return replace(self, **{name: getattr(self, name)[rows] for name in fields})

    def without_sinks(self) -> Activations:
        return self[~self.is_sink]

    def split(self, held_out: float = 0.1) -> tuple[Activations, Activations]:
        """Train and held-out part: every tenth line (for 0.1) is held out whole.

        No line is in both, but lines of one document can be, as with lines drawn at random.

        Raises:
            HarvestError: when one of the parts would be empty.
        """
        every = round(1 / held_out) if 0 < held_out <= 0.5 else 0
        is_test = self.text_ids % every == every - 1 if every else torch.zeros(len(self), dtype=torch.bool)
        if not is_test.any() or is_test.all():
            lines = int(self.text_ids.max()) + 1
            raise HarvestError(
                f"{lines} lines can't be split with held_out={held_out}: use a share of at most 0.5 and more lines than 1 / share."
            )
        return self[~is_test], self[is_test]


def mark_sinks(values: Float[Tensor, "n d_model"]) -> Bool[Tensor, " n"]:
    """Tokens whose L2 norm is above 5 times the median norm (attention sinks, BOS-like)."""
    norms = values.float().norm(dim=-1)
    return norms > SINK_FACTOR * norms.median()
