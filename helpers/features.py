"""What a latent responds to: its contexts and its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.caching import Activations


@dataclass(frozen=True)
class Context:
    """A token on which a latent fired, with its neighbours and how strongly the latent fired on each."""

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
    """The tokens around row ``row`` of the activations, all of the same line."""
    rows = around(activations.text_ids, row, left, right)
    tokens = tuple(model.tokenizer.decode([int(activations.token_ids[i])]) for i in rows)
    return Context(tokens, tuple(latent[rows].tolist()), rows.index(row), int(activations.text_ids[row]))


def around(text_ids: Sequence[int], row: int, left: int = 8, right: int = 5) -> list[int]:
    """The rows next to ``row`` that are of the same line, itself included."""
    first, last = max(0, row - left), min(len(text_ids), row + right + 1)
    return [i for i in range(first, last) if text_ids[i] == text_ids[row]]


@torch.no_grad()
def latent_values(module, activations: Activations, latents: Sequence[int], chunk: int = 4096) -> Float[Tensor, "n l"]:
    """Activations of some latents on every token, sinks included, so that rows match the table's."""
    wanted = torch.as_tensor(list(latents))
    device = next(module.parameters()).device
    parts = (module.encode(rows.to(device, torch.float32))[:, wanted].cpu() for rows in activations.values.split(chunk))
    return torch.cat(list(parts))


@dataclass(frozen=True)
class LatentStats:
    """Per latent: share of tokens on which it fires, its largest activation, lines on which it fires."""

    density: Float[Tensor, " d_sae"]
    largest: Float[Tensor, " d_sae"]
    lines: Int[Tensor, " d_sae"]


@torch.no_grad()
def latent_stats(module, activations: Activations, chunk: int = 4096) -> LatentStats:
    """Statistics of every latent; sinks don't count."""
    kept = activations.without_sinks()
    device = next(module.parameters()).device
    fired, largest, lines, last = 0, None, 0, None
    for start in range(0, len(kept), chunk):
        rows = slice(start, start + chunk)
        latents = module.encode(kept.values[rows].to(device, torch.float32)).cpu()
        active = latents > 0
        fired = fired + active.sum(0)
        largest = latents.max(0).values if largest is None else torch.maximum(largest, latents.max(0).values)
        by_line = _any_per_line(active, kept.text_ids[rows])
        lines = lines + by_line.sum(0)
        if last is not None and last[0] == int(kept.text_ids[start]):
            lines = lines - (by_line[0] & last[1]).long()  # the line goes on from the chunk before: count it once
        last = (int(kept.text_ids[rows][-1]), by_line[-1])
    return LatentStats(fired / len(kept), largest, lines)


def _any_per_line(active: Bool[Tensor, "n d_sae"], text_ids: Int[Tensor, " n"]) -> Bool[Tensor, "lines d_sae"]:
    """Whether a latent fires anywhere on each line of a chunk."""
    _, line = torch.unique_consecutive(text_ids, return_inverse=True)
    counts = torch.zeros(int(line[-1]) + 1, active.shape[1]).index_add_(0, line, active.float())
    return counts > 0


@torch.no_grad()
def promoted_tokens(
    model, direction: Float[Tensor, " d_model"], k: int = 8
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Tokens that a direction of the residual stream raises and lowers most through the unembedding.

    It reads the direction as if no later layer touched it, so it says more the later the layer.
    """
    return next(promoted_by_each(model, direction[None], k))


@torch.no_grad()
def promoted_by_each(model, directions: Float[Tensor, "some d_model"], k: int = 8, together: int = 256):
    """Yield for each direction what :func:`promoted_tokens` gives, many products at a time."""

    def named(values, indices):
        return [(model.tokenizer.decode([i]), v) for i, v in zip(indices.tolist(), values.tolist(), strict=True)]

    for part in directions.split(together):
        logits = (part.to(model.W_U.device, model.W_U.dtype) @ model.W_U).float()
        logits = logits - logits.mean(-1, keepdim=True)
        highest, lowest = (logits.topk(k, largest=largest) for largest in (True, False))
        for row in range(len(part)):
            yield tuple(named(top.values[row], top.indices[row]) for top in (highest, lowest))


@dataclass(frozen=True)
class TokenLabels:
    """Which tokens carry which rule label: one row per name of ``data.labels.LABELS``."""

    names: tuple[str, ...]
    values: Bool[Tensor, "n_labels n"]

    def frequent(self, at_least: int) -> tuple[list[str], Bool[Tensor, "kept n"]]:
        """Labels that at least so many tokens carry: an F1 on fewer would be chance."""
        kept = (self.values.sum(1) >= at_least).nonzero()[:, 0].tolist()
        return [self.names[i] for i in kept], self.values[kept]


def token_labels(model, activations: Activations) -> TokenLabels:
    """Rule labels of every harvested token, in the order of its rows."""
    from helpers.data.labels import LABELS, label_texts

    pieces = [model.tokenizer.decode([int(i)]) for i in activations.token_ids]
    lines: list[list[str]] = []
    for piece, line in zip(pieces, activations.text_ids.tolist(), strict=True):
        if not lines or line != previous:
            lines.append([])
        lines[-1].append(piece)
        previous = line
    return TokenLabels(tuple(LABELS), torch.from_numpy(label_texts(lines)))
