"""Train the judge's linear probe: ``python -m helpers.sentiment.train_probe``."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from helpers.sentiment.few_shot import Readings, read_texts
from helpers.sentiment.probe import LAYER, WEIGHTS, Probe, features, split_sentences

REGULARISATION = 1e-4  # scikit-learn's C, for features of unit variance
SHORTEST = 5  # minimum number of words in a training sentence: shorter ones seldom show sentiment


def sentences() -> tuple[list[str], list[bool]]:
    """Return the sentences of the corpus's reviews, and whether each one's review is positive."""
    from helpers.data import documents

    reviews = [(part, d["tone"] == "positive") for d in documents() if d["tone"] for part in split_sentences(d["text"])]
    kept = [(part, positive) for part, positive in reviews if len(part.split()) >= SHORTEST]
    return [part for part, _ in kept], [positive for _, positive in kept]


def fit(readings: Readings, positive: list[bool]) -> Probe:
    """Fit the probe to readings of known sentiment; fold standardisation into its weights."""
    from sklearn.linear_model import LogisticRegression

    x = features(readings)
    centre, spread = x.mean(0), x.std(0)
    fitted = LogisticRegression(C=REGULARISATION, max_iter=1000).fit(((x - centre) / spread).numpy(), positive)
    direction = torch.tensor(fitted.coef_[0], dtype=torch.float32) / spread
    scores = x @ direction
    zero, unit = scores.median(), scores.std()
    return Probe(direction / unit, -zero / unit, readings.answers.median(1).values, readings.answers.std(1))


def main() -> None:
    from helpers.sentiment.llm_judge import judge_model

    texts, positive = sentences()
    print(f"{len(texts)} sentences, {sum(positive)} of them from positive reviews")
    probe = fit(read_texts(judge_model(), texts, LAYER, progress=True), positive)
    save_file({name: value.contiguous() for name, value in vars(probe).items()}, WEIGHTS)
    print(f"Wrote {WEIGHTS}")


if __name__ == "__main__":
    main()
