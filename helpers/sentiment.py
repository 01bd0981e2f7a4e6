"""How positive a text is: the judge, and VADER as a second opinion.

The judge is smollm2, which is shown two reviews with their sentiment and asked for the sentiment of a
third text, with two such prompts. What it would answer is the difference of the logits of ' positive'
and ' negative'; what it has noticed is read off its residual stream by a linear probe, trained on the
reviews that it wrote itself, whose tone is known (see :mod:`helpers.probe`). The judge's score takes
both. How often it is right on texts of known sentiment:

    python -m helpers.sentiment POSITIVE.txt NEGATIVE.txt
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from helpers import probe
from helpers.readings import check_texts, read


def judge(texts: Sequence[str], model=None, progress: bool = False) -> Float[Tensor, " n"]:
    """How positive each text is: above 0 positive, below 0 negative.

    The unit is the spread of the scores of written reviews' sentences, so 1 is as positive as a
    praising sentence usually is. Another model than smollm2 has no probe: there the score is what it
    would answer alone, in nats, as :func:`asked` gives it.

    Args:
        texts: at least one; only the first 200 tokens of each are read.
        model: the model that judges; ``None`` takes smollm2, loaded once.

    Raises:
        SentimentError: no texts, or something that isn't text.
    """
    check_texts(texts)
    model = model or judge_model()
    if not is_smollm2(model):
        return asked(texts, model, progress)
    return probe.load().score(read(model, texts, probe.LAYER, progress))


def asked(texts: Sequence[str], model, progress: bool = False) -> Float[Tensor, " n"]:
    """What the model would answer, in nats: logit of ' positive' minus logit of ' negative', mean over the prompts.

    A model leans to one answer whatever the text, so each prompt has a zero of its own: see :func:`calibrate`.
    """
    check_texts(texts)
    return (read(model, texts, None, progress).answers - calibrate(model)[:, None]).mean(0)


@lru_cache(maxsize=1)
def judge_model():
    """smollm2 as the judge; pass a model that is already there to :func:`judge` to spare the memory."""
    from helpers.models import load_model
    from helpers.settings import settings

    return load_model("smollm2", dtype=settings().dtype)


def is_smollm2(model) -> bool:
    return (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_vocab) == (30, 576, 49152)


@lru_cache(maxsize=4)
def calibrate(model, each: int = 120) -> Float[Tensor, " prompts"]:
    """Per prompt the median answer to ``each`` positive and ``each`` negative reviews' last sentences."""
    from helpers.data import documents

    last = {tone: [probe.split_sentences(d["text"])[-1] for d in documents() if d["tone"] == tone] for tone in ("positive", "negative")}
    texts = last["positive"][:each] + last["negative"][:each]
    return read(model, texts, None, True).answers.median(dim=1).values


def vader(texts: Sequence[str]) -> Float[Tensor, " n"]:
    """VADER's compound score, -1 to 1, by a word list and rules (Hutto and Gilbert 2014)."""
    check_texts(texts)
    return torch.tensor([_vader().polarity_scores(text)["compound"] for text in texts])


@lru_cache(maxsize=1)
def _vader():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


VADER_NEUTRAL = 0.05  # VADER's authors call a compound score within ±0.05 neutral


def shares(scores: Float[Tensor, " n"], neutral: float = 0.0) -> tuple[float, float]:
    """Share of texts above ``neutral``, and share below ``-neutral``."""
    return (scores > neutral).float().mean().item(), (scores < -neutral).float().mean().item()


def measure(positive: Sequence[str], negative: Sequence[str], model=None) -> dict[str, dict[str, float]]:
    """Accuracy at 0 and AUROC of the judge and of VADER on texts whose sentiment is known."""
    from sklearn.metrics import roc_auc_score

    texts, truth = [*positive, *negative], torch.tensor([1] * len(positive) + [0] * len(negative))
    result = {}
    for name, scores in (("judge", judge(texts, model, progress=True)), ("VADER", vader(texts))):
        right = ((scores > 0) == truth.bool()).float().mean().item()
        result[name] = {"accuracy": right, "auroc": float(roc_auc_score(truth, scores)), "texts": len(texts)}
    return result


def main() -> None:
    from helpers.data import lines

    parser = argparse.ArgumentParser(description="How often the judge is right on texts whose sentiment is known.")
    parser.add_argument("positive", type=Path, help="a file with one positive text a line")
    parser.add_argument("negative", type=Path, help="a file with one negative text a line")
    parser.add_argument("-n", type=int, default=500, help="texts of each (500)")
    args = parser.parse_args()
    for name, figures in measure(lines(args.positive, args.n), lines(args.negative, args.n)).items():
        print(f"{name:6} accuracy {figures['accuracy']:.3f}  AUROC {figures['auroc']:.3f}  ({figures['texts']} texts)")


if __name__ == "__main__":
    main()
