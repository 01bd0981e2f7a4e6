"""Measurements per coefficient: sentiment shares, perplexity, diversity, and their intervals."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise

from helpers import sentiment
from helpers.hooks import Completion
from helpers.steering.bootstrap import Interval, mean_interval


class SteeringError(ValueError):
    """An invalid steering setting or file; the message says why."""


@dataclass(frozen=True)
class Point:
    """The results at one coefficient, over all prompts.

    Shares count completions; VADER reads only the new text. ``perplexity`` is that of the new tokens under
    the unsteered model: exp of the mean negative log-probability over all tokens of all prompts.
    ``judge`` is the mean score of :func:`helpers.sentiment.judge`, in its units; above 0 is positive.
    """

    coefficient: float
    positive: float  # share with VADER above 0.05
    negative: float  # share with VADER below -0.05
    vader: float  # mean compound score
    judge: float | None  # mean judge score
    judge_positive: float | None  # share with a judge score above 0
    perplexity: float
    completions: tuple[Completion, ...]
    tones: tuple[float, ...] = ()  # VADER's compound score of each completion

    @property
    def is_positive(self) -> tuple[bool, ...]:
        return tuple(tone > sentiment.VADER_NEUTRAL for tone in self.tones)

    @property
    def positive_interval(self) -> Interval:
        """95% bootstrap interval of ``positive``, over prompts."""
        return mean_interval(self.is_positive)

    @property
    def diversity(self) -> float:
        """Distinct-2 (Li et al. 2016): the share of distinct word bigrams; low if texts repeat each other."""
        words = [completion.text.lower().split() for completion in self.completions]
        pairs = [pair for text in words for pair in pairwise(text)]
        return len(set(pairs)) / len(pairs) if pairs else math.nan

    def figures(self) -> dict[str, float | Interval]:
        """Return all fields except the completions and their individual scores."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("completions", "tones")}
        return figures | {"positive_interval": self.positive_interval, "diversity": self.diversity}


@dataclass(frozen=True)
class Curve:
    """One :class:`Point` per coefficient, in ascending order."""

    points: tuple[Point, ...]
    layers: tuple[int, ...] | None = None
    asked: bool = False  # words in front of the prompt asked for the sentiment, so there is no coefficient

    def at(self, coefficient: float) -> Point:
        """Return the point measured at ``coefficient``.

        Raises:
            SteeringError: this coefficient wasn't measured.
        """
        for point in self.points:
            if math.isclose(point.coefficient, coefficient, abs_tol=1e-9):
                return point
        known = ", ".join(f"{point.coefficient:+g}" for point in self.points)
        raise SteeringError(f"The curve has no coefficient {coefficient:+g}. Choose one of {known}.")

    def shift(self, coefficient: float) -> float:
        """Return the share of positive completions at +c minus that at −c; between −1 and 1."""
        return self.at(coefficient).positive - self.at(-coefficient).positive

    def shift_interval(self, coefficient: float) -> Interval:
        """Return the 95% bootstrap interval of :meth:`shift`, from each prompt's difference."""
        return mean_interval(self.shifts(coefficient))

    def shifts(self, coefficient: float) -> list[int]:
        """Return for each prompt whether its text is positive at +c (1 or 0), minus whether it is at −c."""
        up, down = self.at(coefficient).is_positive, self.at(-coefficient).is_positive
        return [int(more) - int(less) for more, less in zip(up, down, strict=True)]

    def wrong_way(self, coefficient: float) -> float:
        """Return the share of prompts whose text is less positive at +c than at −c, by VADER; NaN without prompts."""
        pairs = list(zip(self.at(coefficient).tones, self.at(-coefficient).tones, strict=True))
        return sum(up < down for up, down in pairs) / len(pairs) if pairs else math.nan

    def perplexity_ratio(self, coefficient: float) -> float:
        """Return the perplexity ratio: the higher perplexity of +c and −c, divided by that of the unsteered text."""
        worse = max(self.at(coefficient).perplexity, self.at(-coefficient).perplexity)
        return worse / self.at(0).perplexity


def figures(curve: Curve, coefficient: float) -> dict:
    """Return the reported figures at ±``coefficient``: shift with interval, perplexity ratio, wrong-way share."""
    return {
        "coefficient": coefficient,
        "layers": None if curve.layers is None else list(curve.layers),
        "shift": curve.shift(coefficient),
        "shift, 95% interval": curve.shift_interval(coefficient),
        "perplexity ratio": curve.perplexity_ratio(coefficient),
        "wrong way": curve.wrong_way(coefficient),
        "diversity": min(curve.at(sign * coefficient).diversity for sign in (-1, 1)),
        "prompts": len(curve.at(coefficient).completions),
    }


def table(settings: dict[str, tuple[Curve, float]]) -> str:
    """Format the figures of each (curve, coefficient) as a plain-text table, one line per setting."""
    width = max(map(len, settings))
    lines = [f"{'':{width}}       c   shift  (95% interval)   perplexity ratio   wrong way   diversity"]
    for name, (curve, c) in settings.items():
        row = figures(curve, c)
        low, high = row["shift, 95% interval"]
        coefficient = "" if curve.asked else f"±{c:.3g}"
        lines.append(
            f"{name:{width}} {coefficient:<8} {row['shift']:+.2f}  ({low:+.2f} to {high:+.2f})   "
            f"× {row['perplexity ratio']:<14.2f}   {row['wrong way']:<9.0%}   {row['diversity']:.2f}"
        )
    return "\n".join(lines)
