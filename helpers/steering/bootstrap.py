"""How far a mean over prompts can be trusted: the bootstrap (Efron 1979)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

Interval = tuple[float, float]
RESAMPLES = 2000


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean: values are drawn again with replacement, 2,000 times.

    Args:
        values: one number per prompt; for a difference of two settings the prompt's own difference, so
            that what makes prompts differ cancels.

    Returns:
        Lower and upper end; NaN for no values.
    """
    if not len(values):
        return math.nan, math.nan
    found = stats.bootstrap(
        (np.asarray(values, dtype=float),), np.mean, n_resamples=RESAMPLES, confidence_level=confidence,
        method="percentile", vectorized=True, rng=seed,
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
