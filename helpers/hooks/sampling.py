"""Choose the next token: the likeliest, or one drawn with temperature, top-k and top-p."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper


class SamplingError(ValueError):
    """A sampling setting out of range; the message says what is allowed."""


@dataclass(frozen=True)
class Sampling:
    """Settings for drawing each token instead of taking the likeliest.

    The random numbers depend only on seed and prompt, not on the rest of the batch or the hooks. So completions
    of one prompt under several coefficients differ by the coefficient alone (common random numbers). A batch
    equals its rows drawn one at a time.

    Args:
        temperature: divides the logits; below 1, likely tokens become likelier.
        top_k: draw only from this many of the likeliest tokens; ``None`` for all.
        top_p: draw only from the likeliest tokens that together reach this probability (nucleus sampling,
            Holtzman et al. 2020); ``None`` for all.
        seed: a different seed gives different texts.

    Raises:
        SamplingError: a temperature that isn't above 0, ``top_k`` below 1, ``top_p`` outside (0, 1].
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self):
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise SamplingError(
                f"temperature={self.temperature}: give a finite number above 0. "
                "To take the likeliest token, leave sampling out."
            )
        if self.top_k is not None and self.top_k < 1:
            raise SamplingError(f"top_k={self.top_k}: give at least 1, or None to allow all tokens.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SamplingError(
                f"top_p={self.top_p}: give a probability above 0 and at most 1, or None to allow all tokens."
            )


_NO_IDS: Any = None  # these processors read logits only


def greedy(logits: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
    """Return the likeliest token of each row."""
    return logits.argmax(-1)


class Sampler:
    """A function that draws the next token of each row.

    Args:
        sampling: one setting for all rows, or one per row.
        prompts: the prompt of each row; with the seed it decides the row's random numbers.
    """

    def __init__(self, sampling: Sampling | Sequence[Sampling], prompts: Sequence[str]):
        per_row = [sampling] * len(prompts) if isinstance(sampling, Sampling) else sampling
        seeds = (zlib.crc32(f"{one.seed}:{prompt}".encode()) for one, prompt in zip(per_row, prompts, strict=True))
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        rows_of = defaultdict(list)
        for row, one in enumerate(per_row):
            rows_of[replace(one, seed=0)].append(row)
        self.warps = [(_warp(one), rows) for one, rows in rows_of.items()]

    def __call__(self, logits: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
        """Draw by inverting the cumulative distribution: equal random numbers give equal quantiles in all rows."""
        drawn = torch.tensor([torch.rand((), generator=g, dtype=torch.float64) for g in self.generators])
        chosen = torch.empty(len(logits), dtype=torch.long, device=logits.device)
        for warp, rows in self.warps:
            cumulative = warp(_NO_IDS, logits[rows]).double().softmax(-1).cumsum(-1)
            quantiles = drawn[rows].to(cumulative)[:, None] * cumulative[:, -1:]
            chosen[rows] = torch.searchsorted(cumulative, quantiles, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
        return chosen


def _warp(sampling: Sampling) -> LogitsProcessorList:
    warp = LogitsProcessorList([TemperatureLogitsWarper(float(sampling.temperature))])
    if sampling.top_k is not None:
        warp.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None:
        warp.append(TopPLogitsWarper(float(sampling.top_p)))
    return warp
