"""Bootstrap confidence intervals for a mean over prompts (Efron 1979)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

Interval = tuple[float, float]
RESAMPLES, CONFIDENCE = 2000, 0.95


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of the mean, from 2,000 resamples with replacement.

    Args:
        values: one number per prompt. To compare two settings, pass each prompt's difference, so that
            variation between prompts cancels.

    Returns:
        Lower and upper end; both NaN if there are no values.
    """
    if not len(values):
        return math.nan, math.nan
    result = stats.bootstrap(
        (np.asarray(values, dtype=float),), np.mean, n_resamples=RESAMPLES, confidence_level=confidence,
        method="percentile", vectorized=True, rng=seed,
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
