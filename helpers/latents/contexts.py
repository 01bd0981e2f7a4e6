"""Contexts in which a latent fires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from helpers.caching.activations import Activations


@dataclass(frozen=True)
class Context:
    """A token on which a latent fires, its neighbours, and the latent's activation on each of them."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int  # index of the token within ``tokens``
    text_id: int

    def __str__(self) -> str:
        left, right = "".join(self.tokens[: self.peak]), "".join(self.tokens[self.peak + 1 :])
        return f"{left}[{self.tokens[self.peak]}]{right}".replace("\n", "↵")


def context(
    model, activations: Activations, latent: Float[Tensor, " n"], row: int, left: int = 8, right: int = 5
) -> Context:
    """Return the context of row ``row`` of the activations, within its line."""
    rows = around(activations.text_ids, row, left, right)
    tokens = tuple(model.tokenizer.decode([int(activations.token_ids[i])]) for i in rows)
    return Context(tokens, tuple(latent[rows].tolist()), rows.index(row), int(activations.text_ids[row]))


def around(
    text_ids: Sequence[int] | Int[Tensor, " n"] | Int[np.ndarray, " n"], row: int, left: int = 8, right: int = 5
) -> list[int]:
    """Return ``row`` and the rows next to it on the same line."""
    first, last = max(0, row - left), min(len(text_ids), row + right + 1)
    return [i for i in range(first, last) if text_ids[i] == text_ids[row]]


class LatentError(ValueError):
    """Latents or settings that can't be shown; the message says why."""
