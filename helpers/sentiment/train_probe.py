"""Train the judge's linear probe: ``python -m helpers.sentiment.train_probe``."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from helpers.sentiment.few_shot import Readings, read_texts
from helpers.sentiment.probe import LAYER, WEIGHTS, Probe, features, split_sentences

REGULARISATION = 1e-4  # scikit-learn's C, for features of unit variance

SHORTEST = 5  # words of a sentence that is trained on: shorter ones seldom say anything


def sentences() -> tuple[list[str], list[bool]]:
    """Sentences of the written reviews, and whether their review is positive."""
    from helpers.data import documents

    reviews = [(part, d["tone"] == "positive") for d in documents() if d["tone"] for part in split_sentences(d["text"])]
    kept = [(part, positive) for part, positive in reviews if len(part.split()) >= SHORTEST]
    return [part for part, _ in kept], [positive for _, positive in kept]


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


def main() -> None:
    from helpers.sentiment.llm_judge import judge_model

    texts, positive = sentences()
    print(f"{len(texts)} sentences, {sum(positive)} of them from positive reviews")
    probe = fit(read_texts(judge_model(), texts, LAYER, progress=True), positive)
    save_file({name: value.contiguous() for name, value in vars(probe).items()}, WEIGHTS)
    print(f"written: {WEIGHTS}")


if __name__ == "__main__":
    main()
