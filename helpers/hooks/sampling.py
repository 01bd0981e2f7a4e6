"""How the next token is chosen: the likeliest, or drawn with temperature, top-k and top-p."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper


class SamplingError(ValueError):
    """A setting that nothing can be drawn with; the message says what can be."""


@dataclass(frozen=True)
class Sampling:
    """Draw each token instead of taking the likeliest.

    One seed and one prompt always see the same random numbers, whatever else is in the batch and
    whichever hooks are on. So completions of one prompt under several coefficients differ by the
    coefficient alone (common random numbers), and a batch equals its rows drawn one by one.

    Args:
        temperature: logits are divided by it; below 1 the likely becomes likelier.
        top_k: only so many of the likeliest tokens may be drawn; ``None`` for all.
        top_p: only the likeliest tokens that together reach this probability (nucleus sampling,
            Holtzman et al. 2020); ``None`` for all.
        seed: another seed, other texts.

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
                f"temperature={self.temperature}: it must be above 0; for the likeliest token leave sampling out."
            )
        if self.top_k is not None and self.top_k < 1:
            raise SamplingError(f"top_k={self.top_k}: at least one token must be left to draw, or None for all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SamplingError(
                f"top_p={self.top_p}: it is a probability above 0 and at most 1, or None for all tokens."
            )


def greedy(logits: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
    """The likeliest token of each row."""
    return logits.argmax(-1)


class Sampler:
    """Draws the next token of each row.

    Args:
        sampling: one for all rows, or one per row.
        prompts: each row's prompt, which with the seed decides the row's random numbers.
    """

    def __init__(self, sampling: Sampling | Sequence[Sampling], prompts: Sequence[str]):
        each = [sampling] * len(prompts) if isinstance(sampling, Sampling) else sampling
        seeds = (zlib.crc32(f"{one.seed}:{prompt}".encode()) for one, prompt in zip(each, prompts, strict=True))
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        rows_of = defaultdict(list)
        for row, one in enumerate(each):
            rows_of[replace(one, seed=0)].append(row)
        self.warps = [(_warp(one), rows) for one, rows in rows_of.items()]

    def __call__(self, logits: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, " rows"]:
        """Invert the distribution function, so that the same number drawn means the same quantile in every row."""
        drawn = torch.tensor([torch.rand((), generator=g, dtype=torch.float64) for g in self.generators])
        chosen = torch.empty(len(logits), dtype=torch.long, device=logits.device)
        for warp, rows in self.warps:
            reached = warp(None, logits[rows]).double().softmax(-1).cumsum(-1)
            wanted = drawn[rows].to(reached)[:, None] * reached[:, -1:]
            chosen[rows] = torch.searchsorted(reached, wanted, right=True)[:, 0].clamp_max(logits.shape[-1] - 1)
        return chosen


def _warp(sampling: Sampling) -> LogitsProcessorList:
    warp = LogitsProcessorList([TemperatureLogitsWarper(float(sampling.temperature))])
    if sampling.top_k is not None:
        warp.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None:
        warp.append(TopPLogitsWarper(float(sampling.top_p)))
    return warp
