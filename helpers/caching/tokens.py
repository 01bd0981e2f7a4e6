"""Tokenisation: from lines of text to rows of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from helpers.caching.activations import HarvestError
from helpers.data.texts import is_blank


@dataclass(frozen=True)
class Tokens:
    """Lines as rows of tokens that start with BOS; a split line has several rows."""

    rows: list[Int[Tensor, " pos"]]
    lines: list[int]  # line number of each row
    cut: int = 0  # lines that were cut or split
    blank: int = 0  # lines that were skipped

    def columns(self) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Return line, position and token id of every token but BOS."""
        lengths = torch.tensor([len(ids) - 1 for ids in self.rows])
        return (
            torch.repeat_interleave(torch.tensor(self.lines), lengths),
            torch.cat([torch.arange(1, n + 1) for n in lengths.tolist()]),
            torch.cat([ids[1:] for ids in self.rows]).cpu(),
        )


def tokenise(
    model,
    texts: Sequence[str],
    context: int,
    too_long: str = "error",
    max_tokens: int | None = None,
    blank: str = "error",
    first: int = 0,
) -> Tokens:
    """Return the tokens of each line, BOS included. Arguments and errors are those of :func:`harvest`.

    Lines are numbered from ``first`` on.
    """
    if isinstance(texts, str) or not len(texts):
        raise HarvestError(f"texts={texts!r}: give a list with at least one line of text.")
    for name, value, choices in (
        ("too_long", too_long, ("error", "cut", "split")),
        ("blank", blank, ("error", "skip")),
    ):
        if value not in choices:
            raise HarvestError(f"{name}={value!r}: choose {' or '.join(map(repr, choices))}.")
    special = set(model.tokenizer.all_special_ids)
    rows: list[Tensor] = []
    lines: list[int] = []
    cut = skipped = tokens = 0
    for i, text in enumerate(texts, first):
        ids = _ids(model, text, i)
        if ids is None or set(ids[1:].tolist()) <= special:
            if blank == "error":
                raise HarvestError(f"Line {i} is {text!r}: every line must contain text, or pass blank='skip'.")
            skipped += 1
            continue
        parts = _parts(ids, context, too_long, i)
        cut += len(ids) > context
        rows += parts
        lines += [i] * len(parts)
        tokens += sum(len(part) - 1 for part in parts)
        if max_tokens is not None and tokens >= max_tokens:
            break
    return Tokens(rows, lines, cut, skipped)


def _ids(model, text, i: int) -> Int[Tensor, " pos"] | None:
    """Return the line's tokens, BOS first; None for a blank line."""
    if not isinstance(text, str):
        raise HarvestError(f"Line {i} is {text!r:.80}: every line must be text.")
    if is_blank(text):
        return None
    try:
        return model.to_tokens(text, truncate=False)[0]
    except (UnicodeError, TypeError) as error:  # half a character, from a file that isn't UTF-8
        raise HarvestError(
            f"Line {i} isn't valid text ({error}): read its file as UTF-8, with errors='replace'."
        ) from error


def _parts(ids: Int[Tensor, " pos"], context: int, too_long: str, i: int) -> list[Int[Tensor, " pos"]]:
    if len(ids) <= context:
        return [ids]
    if too_long == "error":
        raise HarvestError(
            f"Line {i} has {len(ids)} tokens, more than the context of {context}: "
            f"pass too_long='split', or 'cut' to keep its first {context} tokens."
        )
    if too_long == "cut":
        return [ids[:context]]
    return [torch.cat([ids[:1], part]) for part in ids[1:].split(context - 1)]
