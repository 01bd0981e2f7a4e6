"""The judge's linear probe: sentiment read off smollm2's residual stream.

A logistic regression (the usual linear probe, Alain and Bengio 2016) on the sentences of the written
corpus's reviews; a sentence has its review's tone. It sees the residual stream before block 20, once as
the mean over the text (first prompt), once where the answer is due (second prompt). Layer, features and
regularisation were chosen on film-review sentences; no such sentence is trained on. To train it again:

    python -m helpers.probe
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from helpers.readings import Readings, read

LAYER = 20
REGULARISATION = 1e-4  # scikit-learn's C, for features of unit variance
ANSWER_WEIGHT = 0.5  # of each prompt's answer, beside the probe's 1; all in units of their spread
SHORTEST = 5  # words of a sentence that is trained on: shorter ones seldom say anything
WEIGHTS = Path(__file__).parent / "data" / "sentiment_probe.safetensors"


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


def sentences() -> tuple[list[str], list[bool]]:
    """Sentences of the written reviews, and whether their review is positive."""
    from helpers.data import documents

    reviews = [(part, d["tone"] == "positive") for d in documents() if d["tone"] for part in split_sentences(d["text"])]
    kept = [(part, positive) for part, positive in reviews if len(part.split()) >= SHORTEST]
    return [part for part, _ in kept], [positive for _, positive in kept]


def split_sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.strip())


def fit(readings: Readings, positive: list[bool]) -> Probe:
    """The probe of known readings; standardisation is folded into its weights."""
    from sklearn.linear_model import LogisticRegression

    seen = features(readings)
    centre, spread = seen.mean(0), seen.std(0)
    found = LogisticRegression(C=REGULARISATION, max_iter=1000).fit(((seen - centre) / spread).numpy(), positive)
    direction = torch.tensor(found.coef_[0], dtype=torch.float32) / spread
    scores = seen @ direction
    zero, unit = scores.median(), scores.std()
    return Probe(direction / unit, -zero / unit, readings.answers.median(1).values, readings.answers.std(1))


@lru_cache(maxsize=1)
def load() -> Probe:
    return Probe(**load_file(WEIGHTS))


def main() -> None:
    from helpers.sentiment import judge_model

    texts, positive = sentences()
    print(f"{len(texts)} sentences, {sum(positive)} of them from positive reviews")
    probe = fit(read(judge_model(), texts, LAYER, progress=True), positive)
    save_file({name: value.contiguous() for name, value in vars(probe).items()}, WEIGHTS)
    print(f"written: {WEIGHTS}")


if __name__ == "__main__":
    main()
