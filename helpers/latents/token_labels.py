"""Rule labels of harvested tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from helpers.caching.activations import Activations


@dataclass(frozen=True)
class TokenLabels:
    """Rule labels of tokens, one row per name of ``data.labels.LABELS``."""

    names: tuple[str, ...]
    values: Bool[Tensor, "n_labels n"]

    def frequent(self, at_least: int) -> tuple[list[str], Bool[Tensor, "kept n"]]:
        """Return the labels of at least ``at_least`` tokens; on fewer, an F1 is mostly chance."""
        kept = (self.values.sum(1) >= at_least).nonzero()[:, 0].tolist()
        return [self.names[i] for i in kept], self.values[kept]


def token_labels(model, activations: Activations) -> TokenLabels:
    """Return the rule labels of every harvested token, in the order of the rows."""
    from helpers.data.labels import LABELS, label_texts

    pieces = [model.tokenizer.decode([int(i)]) for i in activations.token_ids]
    lines: list[list[str]] = []
    previous = None
    for piece, line in zip(pieces, activations.text_ids.tolist(), strict=True):
        if line != previous:
            lines.append([])
        lines[-1].append(piece)
        previous = line
    return TokenLabels(tuple(LABELS), torch.from_numpy(label_texts(lines)))
