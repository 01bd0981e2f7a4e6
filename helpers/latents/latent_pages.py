"""Pages that summarise the latents of an SAE, one page per latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import csc_array
from torch import Tensor
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from helpers.caching.activations import Activations
from helpers.latents.contexts import Context, LatentError, around
from helpers.latents.encoding import encode_sparse
from helpers.latents.label_scores import best_label
from helpers.latents.logit_lens import promoted_by_each
from helpers.latents.token_labels import TokenLabels

INTERVALS = 5


@dataclass(frozen=True)
class Interval:
    """Random examples with activations from ``low`` to ``high``, which show the latent away from its peaks."""

    low: float
    high: float
    count: int
    contexts: tuple[Context, ...]


@dataclass(frozen=True)
class Page:
    """Summary of one latent. A dead latent has density 0, no contexts and no histogram.

    Attributes:
        density: share of tokens on which it fires.
        largest: its largest activation.
        top: its strongest tokens, at most one per line, strongest first.
        intervals: five of equal width from 0 to the largest activation, highest first.
        histogram: number of tokens in each tenth of the range from 0 to ``largest``.
        promoted: tokens whose logits its decoder row raises most through the unembedding.
        suppressed: tokens whose logits it lowers most.
        nearest: latents with the most similar decoder rows, and the cosines.
        label: the rule label that it predicts best, and the F1.
    """

    latent: int
    density: float
    largest: float
    top: tuple[Context, ...]
    intervals: tuple[Interval, ...]
    histogram: tuple[int, ...]
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]
    nearest: tuple[tuple[int, float], ...]
    label: tuple[str, float] | None

    @property
    def is_dead(self) -> bool:
        return not self.density


def pages(
    model,
    module,
    activations: Activations,
    latents: Sequence[int] | None = None,
    labels: TokenLabels | None = None,
    top: int = 8,
    examples: int = 2,
    seed: int = 0,
    progress: str | None = "latents",
) -> list[Page]:
    """Return a :class:`Page` for each of ``latents``; ``None`` means all of them.

    Args:
        activations: tokens to use, in the order of the text, preferably held-out lines.
        labels: rule labels of the same tokens, from which each page names the best.
        top: number of strongest tokens per page.
        examples: number of random examples per interval.

    Raises:
        LatentError: the SAE doesn't have a latent, or the labels are of other tokens.
    """
    table = encode_sparse(module, activations)
    n, d_sae = table.shape
    latents = range(d_sae) if latents is None else latents
    if any(not 0 <= latent < d_sae for latent in latents):
        raise LatentError(f"There is no latent {max(latents, key=abs)}: choose latents 0 to {d_sae - 1}.")
    if labels is not None and labels.values.shape[1] != n:
        raise LatentError(f"Labels of {labels.values.shape[1]} tokens for {n} activations: label the same tokens.")
    tokens = _Tokens(model, activations)
    directions = normalize(module.W_dec.detach().float().cpu(), dim=-1)
    best = [None] * d_sae if labels is None else _named(labels, table)
    draw = np.random.default_rng(seed)
    latents = [int(latent) for latent in latents]
    words = promoted_by_each(model, module.W_dec.detach()[latents], k=6)
    made = []
    for latent, (promoted, suppressed) in zip(
        tqdm(latents, desc=progress, disable=progress is None), words, strict=True
    ):
        values = table[:, [latent]].toarray()[:, 0]
        largest = float(values.max(initial=0.0))
        made.append(
            Page(
                latent=latent,
                density=float((values > 0).mean()),
                largest=largest,
                top=tuple(tokens.context(values, row) for row in tokens.strongest(values, top)),
                intervals=tuple(_intervals(tokens, values, largest, examples, draw)),
                histogram=_histogram(values, largest),
                promoted=tuple(token for token, _ in promoted),
                suppressed=tuple(token for token, _ in suppressed),
                nearest=_nearest(directions, latent),
                label=best[latent] if largest else None,
            )
        )
    return made


def _named(labels: TokenLabels, table: csc_array) -> list[tuple[str, float] | None]:
    """Return for each latent the label that it predicts best, and the F1."""
    indices, scores = best_label(table, labels.values.numpy())
    return [(labels.names[i], float(f1)) for i, f1 in zip(indices, scores, strict=True)]


def _histogram(values: np.ndarray, largest: float) -> tuple[int, ...]:
    return tuple(np.histogram(values[values > 0], bins=10, range=(0, largest))[0].tolist()) if largest else ()


class _Tokens:
    """Text of the tokens, their lines, and which of them are special."""

    def __init__(self, model, activations: Activations):
        ids = activations.token_ids.tolist()
        pieces = {i: model.tokenizer.decode([i]) for i in set(ids)}
        self.text = [pieces[i] for i in ids]
        self.lines = activations.text_ids.numpy()
        self.special = np.isin(activations.token_ids.numpy(), list(model.tokenizer.all_special_ids))

    def context(self, values: np.ndarray, row: int) -> Context:
        rows = around(self.lines, row)
        tokens = tuple(self.text[i] for i in rows)
        return Context(tokens, tuple(float(values[i]) for i in rows), rows.index(row), int(self.lines[row]))

    def strongest(self, values: np.ndarray, k: int) -> list[int]:
        """Return the rows of the k largest values above 0, at most one per line, special tokens excluded."""
        rows: list[int] = []
        lines: set[int] = set()
        firing = np.flatnonzero(values > 0)
        for row in firing[np.argsort(-values[firing], kind="stable")]:
            if len(rows) == k:
                break
            if not self.special[row] and self.lines[row] not in lines:
                lines.add(self.lines[row])
                rows.append(int(row))
        return rows


def _intervals(tokens: _Tokens, values: np.ndarray, largest: float, examples: int, draw: np.random.Generator):
    if not largest:
        return
    edges = np.linspace(0, largest, INTERVALS + 1)
    for low, high in zip(edges[-2::-1], edges[:0:-1], strict=True):
        inside = np.flatnonzero((values > low) & (values <= high) & ~tokens.special)
        rows = draw.choice(inside, min(examples, len(inside)), replace=False)
        yield Interval(float(low), float(high), len(inside), tuple(tokens.context(values, int(row)) for row in rows))


def _nearest(directions: Float[Tensor, "d_sae d_in"], latent: int, k: int = 5) -> tuple[tuple[int, float], ...]:
    cosines = directions @ directions[latent]
    cosines[latent] = -1
    best = cosines.topk(min(k, len(cosines) - 1))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


SORTS = {
    "density": lambda page: -page.density,
    "F1 of the best label": lambda page: -(page.label[1] if page.label else 0.0),
    "largest activation": lambda page: -page.largest,
    "number": lambda page: page.latent,
}


def find(all_pages: Sequence[Page], text: str = "", sort: str = "density") -> list[Page]:
    """Return the pages whose label, promoted tokens or peak tokens contain ``text``, dead latents last.

    A ``text`` of digits finds the latent of that number.

    Raises:
        LatentError: ``sort`` isn't a key of ``SORTS``.
    """
    if sort not in SORTS:
        raise LatentError(f"sort={sort!r}: choose one of {', '.join(SORTS)}.")
    wanted = text.strip().lower()

    def matches(page: Page) -> bool:
        if wanted.isdigit():
            return page.latent == int(wanted)
        words = [
            *page.promoted,
            *(context.tokens[context.peak] for context in page.top),
            page.label[0] if page.label else "",
        ]
        return any(wanted in word.lower() for word in words)

    kept = [page for page in all_pages if not wanted or matches(page)]
    return sorted(kept, key=lambda page: (page.is_dead, SORTS[sort](page)))
