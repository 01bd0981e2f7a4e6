"""The judge's linear probe: sentiment read off smollm2's residual stream.

A logistic regression (the usual linear probe, Alain and Bengio 2016) on the sentences of the written
corpus's reviews; a sentence has its review's tone. It sees the residual stream before block 20, once as
the mean over the text (first prompt), once where the answer is due (second prompt). Layer, features and
regularisation were chosen on film-review sentences; no such sentence is trained on. To train it again:

    python -m helpers.sentiment.probe
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from helpers.sentiment.few_shot import Readings

LAYER = 20
ANSWER_WEIGHT = 0.5  # of each prompt's answer, beside the probe's 1; all in units of their spread
WEIGHTS = Path(__file__).parents[1] / "data" / "sentiment_probe.safetensors"


@dataclass(frozen=True)
class Probe:
    """Weights of the score; everything is divided by its spread over the training sentences."""

    direction: Float[Tensor, " features"]
    bias: Float[Tensor, ""]
    zeros: Float[Tensor, " prompts"]  # the median answer to each prompt, in nats
    spreads: Float[Tensor, " prompts"]

    def score(self, readings: Readings) -> Float[Tensor, " n"]:
        """Above 0 positive; 1 is one standard deviation of the written reviews' sentences."""
        probed = features(readings) @ self.direction + self.bias
        answered = (readings.answers - self.zeros[:, None]) / self.spreads[:, None]
        return (probed + ANSWER_WEIGHT * answered.sum(0)) / (1 + ANSWER_WEIGHT * len(answered))


def features(readings: Readings) -> Float[Tensor, "n features"]:
    return torch.cat([readings.mean[0], readings.last[1]], dim=1)


def split_sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.strip())


@lru_cache(maxsize=1)
def load() -> Probe:
    return Probe(**load_file(WEIGHTS))
