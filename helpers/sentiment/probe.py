"""The judge's linear probe: sentiment from smollm2's residual stream.

The probe is a logistic regression (Alain and Bengio 2016), trained on sentences of the reviews in the ``written``
corpus. A sentence's label is its review's tone. The features are residuals before block 20: the mean over
the text (first prompt), and the token that predicts the answer (second prompt). Layer, features and
regularisation were chosen on film-review sentences that aren't in the training set. To train it again:

    python -m helpers.sentiment.train_probe
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
ANSWER_WEIGHT = 0.5  # weight of each prompt's answer, where the probe has 1; all in standard deviations
WEIGHTS = Path(__file__).parents[1] / "data" / "sentiment_probe.safetensors"


@dataclass(frozen=True)
class Probe:
    """Weights of the score. Each term is scaled to unit standard deviation over the training sentences."""

    direction: Float[Tensor, " features"]
    bias: Float[Tensor, ""]
    zeros: Float[Tensor, " prompts"]  # the median answer to each prompt, in nats
    spreads: Float[Tensor, " prompts"]

    def score(self, readings: Readings) -> Float[Tensor, " n"]:
        """Return the scores: above 0 positive; the unit is one standard deviation over the training sentences."""
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
