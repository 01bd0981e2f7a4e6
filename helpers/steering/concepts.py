"""Steer eight concepts, and predict how well it works.

Each concept has five sentence pairs to compute vectors from, and 25 items: a prompt with two continuations, of which
the first shows the concept's positive pole. The *preference* of an item is the log-probability of the first minus that
of the second, in nats. Forward passes are enough to measure it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.data.tables import read_table
from helpers.hooks import Hook, everywhere
from helpers.kernels.fused import fused
from helpers.steering.bootstrap import Interval, mean_interval
from helpers.steering.directions import project, sentence_means
from helpers.steering.sweeps import MakeHooks, matched_coefficient
from helpers.steering.vectors import Average

BATCH = 64  # texts


@dataclass(frozen=True)
class Item:
    """A prompt and two continuations, each with a space in front."""

    prompt: str
    positive: str
    negative: str


@dataclass(frozen=True)
class Concept:
    """A concept with two poles, such as formal and informal."""

    name: str
    positive: str
    negative: str
    contrast_positive: tuple[str, ...]
    contrast_negative: tuple[str, ...]
    items: tuple[Item, ...]


@lru_cache
def concepts() -> tuple[Concept, ...]:
    """Return the eight concepts of ``helpers/data/concepts.toml``."""
    return tuple(
        Concept(
            entry["name"], entry["positive"], entry["negative"], tuple(entry["contrast_positive"]),
            tuple(entry["contrast_negative"]), tuple(Item(**item) for item in entry["items"]),
        )
        for entry in read_table("concepts")["concept"]
    )  # fmt: skip


@torch.no_grad()
def preferences(model, items: Sequence[Item], fwd_hooks: Sequence[Hook] = ()) -> Float[Tensor, " n"]:
    """Return each item's preference in nats, with hooks that act at every position but BOS.

    Args:
        fwd_hooks: hooks for the last position, as the student's ``make_steering_hooks`` returns them.
    """
    hooks = everywhere(list(fwd_hooks))
    # Both texts begin with the prompt, so its own log-probability cancels in the difference.
    texts = [item.prompt + continuation for item in items for continuation in (item.positive, item.negative)]
    values = torch.cat([_log_probabilities(model, texts[i : i + BATCH], hooks) for i in range(0, len(texts), BATCH)])
    return values[::2] - values[1::2]


def _log_probabilities(model, texts: Sequence[str], hooks: list[Hook]) -> Float[Tensor, " n"]:
    """Return the log-probability of each text. Padding on the right changes nothing."""
    rows = [model.to_tokens(text)[0] for text in texts]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with model.hooks(fwd_hooks=hooks), fused(model):
        logits = model.original_model(batch[:, :-1], use_cache=False).logits.float()
    values = logits.log_softmax(-1).gather(-1, batch[:, 1:, None])[..., 0]
    return torch.stack([row_values[: len(row) - 1].sum() for row_values, row in zip(values, rows, strict=True)]).cpu()


@dataclass(frozen=True)
class Effect:
    """How well a concept can be steered, and what predicts it.

    Attributes:
        shifts: each item's preference at +c minus that at −c, in nats.
        unsteered: share of items whose first continuation is preferred without steering.
        agreement: mean cosine between each pair's difference and the mean difference, over pairs and layers (Braun et
            al. 2025, 2505.22637).
        separation: distance between the two sides' means along the direction, in pooled standard deviations, averaged
            over layers.
    """

    shifts: tuple[float, ...]
    unsteered: float
    agreement: float
    separation: float

    @property
    def shift(self) -> float:
        return sum(self.shifts) / len(self.shifts)

    @property
    def shift_interval(self) -> Interval:
        """95% bootstrap interval of ``shift``, over items."""
        return mean_interval(self.shifts)

    @property
    def wrong_way(self) -> float:
        """Share of items that move away from the pole they are pushed to (Tan et al. 2024, 2407.12404)."""
        return sum(shift < 0 for shift in self.shifts) / len(self.shifts)


def measure_concept(
    model,
    average: Average,
    make_hooks: MakeHooks,
    concept: Concept,
    norms: Float[Tensor, " n_layers"],
    size: float,
    layers: Sequence[int] | None = None,
) -> Effect:
    """Compute a concept's vectors from its sentence pairs, and steer its items both ways with a push of equal size.

    Args:
        average: the student's function of task 1.1.
        make_hooks: the student's function of task 1.2.
        norms: median residual norm per layer.
        size: ‖c·v‖ over ``norms``, summed over the steered layers, so that concepts are compared at equal size.
        layers: layers to steer; ``None`` for all.

    Raises:
        SteeringError: the vectors are zero.
    """
    sides = [sentence_means(average, model, s) for s in (concept.contrast_positive, concept.contrast_negative)]
    differences = sides[0] - sides[1]
    vectors = differences.mean(0)
    chosen = list(range(len(vectors)) if layers is None else layers)
    c = matched_coefficient(vectors, norms, chosen, size)
    up, down = (preferences(model, concept.items, make_hooks(vectors, sign * c, chosen)) for sign in (1, -1))
    return Effect(
        shifts=tuple((up - down).tolist()),
        unsteered=(preferences(model, concept.items) > 0).float().mean().item(),
        agreement=torch.cosine_similarity(differences, vectors[None], dim=-1)[:, chosen].mean().item(),
        separation=_separation(*(project(side, vectors) for side in sides))[chosen].mean().item(),
    )


def _separation(positive: Float[Tensor, "n n_layers"], negative: Float[Tensor, "n n_layers"]) -> Tensor:
    """Return the distance between the means in pooled standard deviations, per layer."""
    pooled = torch.stack([positive.var(0), negative.var(0)]).mean(0).sqrt()
    return (positive.mean(0) - negative.mean(0)) / pooled.clamp_min(1e-12)
