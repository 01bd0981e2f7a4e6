"""What was measured at each coefficient: shares, fluency, diversity, and how far they can be trusted."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from helpers import sentiment
from helpers.hooks import Completion
from helpers.steering.bootstrap import Interval, mean_interval


class SteeringError(ValueError):
    """A setting that can't be steered with; the message says why."""


@dataclass(frozen=True)
class Point:
    """One coefficient of a dose-response curve, over all prompts.

    Shares are of the completions (the new text alone). ``perplexity`` is that of the new tokens under
    the unsteered model: exp of the mean negative log-probability over all tokens of all prompts.
    ``judge`` is the mean score of :func:`helpers.sentiment.judge`, in spreads; above 0 positive.
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

    @property
    def diversity(self) -> float:
        """distinct-2 (Li et al. 2016): different pairs of neighbouring words over all pairs; low where texts repeat each other."""
        words = [completion.text.lower().split() for completion in self.completions]
        pairs = [pair for text in words for pair in zip(text, text[1:], strict=False)]
        return len(set(pairs)) / len(pairs) if pairs else math.nan

    def figures(self) -> dict[str, float | Interval]:
        """All but the texts and their single scores."""
        figures = {name: value for name, value in asdict(self).items() if name not in ("completions", "tones")}
        return figures | {"positive_interval": self.positive_interval, "diversity": self.diversity}


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


def figures(curve: Curve, coefficient: float) -> dict:
    """What a report says of ±``coefficient``: shift with its interval, perplexity ratio, wrong-way share."""
    return {
        "coefficient": coefficient,
        "layers": None if curve.layers is None else list(curve.layers),
        "shift": curve.shift(coefficient),
        "shift, 95% interval": curve.shift_interval(coefficient),
        "fluency ratio": curve.fluency(coefficient),
        "wrong way": curve.wrong_way(coefficient),
        "diversity": min(curve.at(sign * coefficient).diversity for sign in (-1, 1)),
        "prompts": len(curve.at(coefficient).completions),
    }


def table(settings: dict[str, tuple[Curve, float]]) -> str:
    """One line per setting: curve and coefficient as text to read."""
    width = max(map(len, settings))
    lines = [f"{'':{width}}       c   shift  (95% interval)   perplexity   wrong way   diversity"]
    for name, (curve, c) in settings.items():
        found = figures(curve, c)
        low, high = found["shift, 95% interval"]
        lines.append(
            f"{name:{width}} ±{c:<7.3g} {found['shift']:+.2f}  ({low:+.2f} to {high:+.2f})   × {found['fluency ratio']:<8.2f}"
            f"   {found['wrong way']:<9.0%}   {found['diversity']:.2f}"
        )
    return "\n".join(lines)
