"""Measure what steering does: how often, how fluently, against which controls.

Everything here takes the functions of the notebook (``make_hooks``: from vectors, a coefficient and
layers to hooks) and never builds a steering hook of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from helpers import sentiment
from helpers.bootstrap import Interval, mean_interval
from helpers.hooks import Completion, Hook, generate_many

MakeHooks = Callable[..., list[Hook]]  # (vectors [n_layers d_model], coefficient, layers=None) -> hooks


class SteeringError(ValueError):
    """A setting that can't be steered with; the message says why."""


@dataclass(frozen=True)
class Point:
    """One coefficient of a dose-response curve, over all prompts.

    Shares are of the completions (the new text alone). ``perplexity`` is that of the new tokens under
    the unsteered model: exp of the mean negative log-probability over all tokens of all prompts.
    ``judge`` is the mean score in nats; a score needs texts that the judge model can read.
    """

    coefficient: float
    positive: float  # share with VADER above 0.05
    negative: float  # share with VADER below -0.05
    vader: float  # mean compound score
    judge: float | None  # mean judge score
    judge_positive: float | None  # share that the judge calls positive
    perplexity: float
    completions: tuple[Completion, ...]
    tones: tuple[float, ...] = ()  # VADER's score of each completion

    @property
    def is_positive(self) -> tuple[bool, ...]:
        return tuple(tone > sentiment.VADER_NEUTRAL for tone in self.tones)

    @property
    def positive_interval(self) -> Interval:
        """95% bootstrap interval of ``positive``, over prompts."""
        return mean_interval(self.is_positive)

    def figures(self) -> dict[str, float | Interval]:
        """All but the texts and their single scores."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("completions", "tones")}
        return figures | {"positive_interval": self.positive_interval}


@dataclass(frozen=True)
class Curve:
    """A dose-response curve: one :class:`Point` per coefficient, in rising order."""

    points: tuple[Point, ...]
    layers: tuple[int, ...] | None = None

    def at(self, coefficient: float) -> Point:
        """The point measured at ``coefficient``.

        Raises:
            SteeringError: that coefficient wasn't measured.
        """
        for point in self.points:
            if math.isclose(point.coefficient, coefficient, abs_tol=1e-9):
                return point
        known = ", ".join(f"{point.coefficient:+g}" for point in self.points)
        raise SteeringError(f"The curve has no coefficient {coefficient:+g}; it has {known}.")

    def shift(self, coefficient: float) -> float:
        """Share of positive completions at +c minus that at −c; between −1 and 1."""
        return self.at(coefficient).positive - self.at(-coefficient).positive

    def shift_interval(self, coefficient: float) -> Interval:
        """95% bootstrap interval of :meth:`shift`, over prompts: each brings its own difference."""
        up, down = self.at(coefficient).is_positive, self.at(-coefficient).is_positive
        return mean_interval([int(more) - int(less) for more, less in zip(up, down, strict=True)])

    def wrong_way(self, coefficient: float) -> float:
        """Share of prompts whose text is less positive at +c than at −c, by VADER; NaN for none."""
        pairs = list(zip(self.at(coefficient).tones, self.at(-coefficient).tones, strict=True))
        return sum(up < down for up, down in pairs) / len(pairs) if pairs else math.nan

    def fluency(self, coefficient: float) -> float:
        """Perplexity at ±c (the worse one) over the unsteered text's; 1 is as fluent as unsteered."""
        worse = max(self.at(coefficient).perplexity, self.at(-coefficient).perplexity)
        return worse / self.at(0).perplexity


def dose_response(
    model,
    make_hooks: MakeHooks,
    vectors: Float[Tensor, "n_layers d_model"],
    prompts: Sequence[str],
    coefficients: Sequence[float],
    layers: Sequence[int] | None = None,
    max_new_tokens: int = 20,
    judge_model=None,
    with_judge: bool = True,
) -> Curve:
    """Steer every prompt with every coefficient and score the completions.

    Args:
        make_hooks: the student's function; called as ``make_hooks(vectors, coefficient, layers)``.
        coefficients: 0 is added when it is missing, since everything is compared with it.
        layers: which to steer; ``None`` for all.
        judge_model: the model that judges; ``None`` takes smollm2.
        with_judge: ``False`` scores with VADER alone, which is much faster.

    Raises:
        SteeringError: coefficients that aren't finite numbers, vectors with NaN or of the wrong shape,
            a layer out of range; before anything runs.
    """
    check_vectors(model, vectors, layers)
    doses = sorted({0.0, *(_number(c) for c in coefficients)})
    chosen = None if layers is None else list(layers)
    hook_sets = [make_hooks(vectors, c, chosen) if c else [] for c in doses]
    rows = generate_many(model, list(prompts), hook_sets, max_new_tokens, progress="steer")
    points = score(rows, doses, judge_model, with_judge)
    return Curve(points, None if layers is None else tuple(layers))


def score(
    rows: Sequence[Sequence[Completion]], coefficients: Sequence[float], judge_model=None, with_judge: bool = True
) -> tuple[Point, ...]:
    """One :class:`Point` per list of completions."""
    texts = [completion.text or " " for row in rows for completion in row]
    tones = sentiment.vader(texts).reshape(len(rows), -1)
    judged = None
    if with_judge:
        judged = sentiment.judge([c.full_text for row in rows for c in row], judge_model, progress=True).reshape(len(rows), -1)
    return tuple(
        _point(c, row, tones[i], None if judged is None else judged[i])
        for i, (c, row) in enumerate(zip(coefficients, rows, strict=True))
    )


def _point(coefficient: float, row: Sequence[Completion], vader: Tensor, judged: Tensor | None) -> Point:
    positive, negative = sentiment.shares(vader, sentiment.VADER_NEUTRAL)
    return Point(
        coefficient=coefficient,
        positive=positive,
        negative=negative,
        vader=vader.mean().item(),
        judge=None if judged is None else judged.mean().item(),
        judge_positive=None if judged is None else sentiment.shares(judged)[0],
        perplexity=perplexity(row),
        completions=tuple(row),
        tones=tuple(vader.tolist()),
    )


def perplexity(completions: Sequence[Completion]) -> float:
    """exp of the mean negative log-probability of all new tokens under the unsteered model; NaN for none."""
    logprobs = [value for completion in completions for value in completion.logprobs]
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else math.nan


def random_like(vectors: Float[Tensor, "n_layers d_model"], seed: int = 0) -> Float[Tensor, "n_layers d_model"]:
    """A control: per layer a random direction with the norm of that layer's vector."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(vectors.shape, generator=generator).to(vectors.device)
    return noise / noise.norm(dim=-1, keepdim=True) * vectors.float().norm(dim=-1, keepdim=True)


def relative_norms(
    vectors: Float[Tensor, "n_layers d_model"], norms: Float[Tensor, "n_layers"], coefficient: float
) -> Float[Tensor, "n_layers"]:
    """‖c·v‖ over the median norm of the residual stream, per layer."""
    return abs(_number(coefficient)) * vectors.float().norm(dim=-1).cpu() / norms


def check_vectors(model, vectors, layers=None) -> None:
    """Raise :class:`SteeringError` unless ``vectors`` are finite, ``[n_layers d_model]``, and ``layers`` exist."""
    expected = [model.cfg.n_layers, model.cfg.d_model]
    if not isinstance(vectors, Tensor) or list(vectors.shape) != expected:
        found = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise SteeringError(f"The steering vectors are {found}: one tensor {expected} is needed (torch.stack a list).")
    if not torch.isfinite(vectors).all():
        raise SteeringError("The steering vectors hold NaN or infinity: look at the averages that they were made from.")
    for layer in layers if layers is not None else ():
        if layer not in range(model.cfg.n_layers):
            raise SteeringError(f"Layer {layer!r} isn't there: the model has layers 0 to {model.cfg.n_layers - 1}.")


def _number(coefficient) -> float:
    if isinstance(coefficient, bool) or not isinstance(coefficient, (int, float)) or not math.isfinite(coefficient):
        raise SteeringError(f"The coefficient {coefficient!r} isn't a finite number: use one such as 0.2 or -0.2.")
    return float(coefficient)
