"""How positive a text is: the judge, and VADER as a second opinion.

The judge is smollm2. It is shown two reviews with their sentiment and asked for the sentiment of a
third text; the score is the difference of the logits of ' positive' and ' negative', averaged over
several such prompts. A model leans to one answer whatever the text, so each prompt has a zero of its
own: the median score of sentences from the written corpus's reviews, as many positive as negative.
How often the judge is right on texts of known sentiment:

    python -m helpers.sentiment POSITIVE.txt NEGATIVE.txt
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformers import DynamicCache

# Each prompt's shared beginning; what is judged follows. Both orders of the labels, so that the
# model's liking for the label seen last cancels.
PROMPTS = (
    "Review: dull , badly written and far too long .\nSentiment: negative\n"
    "Review: a warm , funny and beautifully acted film .\nSentiment: positive\nReview: ",
    "Review: I loved every minute of it.\nSentiment: positive\n\n"
    "Review: I want those two hours of my life back.\nSentiment: negative\n\nReview: ",
)
QUESTION = "\nSentiment:"
ANSWERS = (" positive", " negative")
SMOLLM2_ZEROS = (1.21, 0.03)  # what `calibrate` gives for smollm2 in bf16
BATCH = 32
LONGEST = 200  # tokens of a text that are read


class SentimentError(ValueError):
    """Texts that can't be judged; the message says why."""


def judge(texts: Sequence[str], model=None, progress: bool = False) -> Float[Tensor, "n"]:
    """How positive each text is, in nats: above 0 positive, below 0 negative.

    Args:
        texts: at least one; only the first 200 tokens of each are read.
        model: the model that judges; ``None`` takes smollm2, loaded once.

    Raises:
        SentimentError: no texts, or something that isn't text.
    """
    _check_texts(texts)
    model = model or judge_model()
    scores = torch.stack([_score(model, prompt, texts, progress) for prompt in PROMPTS])
    return (scores - _zeros(model)[:, None]).mean(0)


@lru_cache(maxsize=1)
def judge_model():
    """smollm2 as the judge; pass a model that is already there to :func:`judge` to spare the memory."""
    from helpers.models import load_model
    from helpers.settings import settings

    return load_model("smollm2", dtype=settings().dtype)


def _zeros(model) -> Float[Tensor, "prompts"]:
    """Each prompt's zero; known for smollm2, measured once for another model."""
    is_smollm2 = (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_vocab) == (30, 576, 49152)
    return torch.tensor(SMOLLM2_ZEROS) if is_smollm2 else calibrate(model)


@lru_cache(maxsize=4)
def calibrate(model, each: int = 120) -> Float[Tensor, "prompts"]:
    """Per prompt the median score of ``each`` positive and ``each`` negative reviews' last sentences."""
    from helpers.data import documents

    last = {tone: [_last_sentence(d["text"]) for d in documents() if d["tone"] == tone] for tone in ("positive", "negative")}
    texts = last["positive"][:each] + last["negative"][:each]
    return torch.stack([_score(model, prompt, texts, True).median() for prompt in PROMPTS])


def _last_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s+", text.strip())[-1]


@torch.inference_mode()
def _score(model, prompt: str, texts: Sequence[str], progress: bool) -> Float[Tensor, "n"]:
    device = model.W_U.device
    start = model.to_tokens(prompt)
    start_cache = DynamicCache()
    model.original_model(start, past_key_values=start_cache, use_cache=True)
    encode = lambda text: model.tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    question = encode(QUESTION)
    rows = [torch.tensor(encode(text.strip())[:LONGEST] + question, device=device) for text in texts]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    scores = torch.zeros(len(rows))
    for first in tqdm(range(0, len(rows), BATCH), desc="judge", disable=not progress):
        part = order[first : first + BATCH]
        scores[part] = _score_batch(model, start_cache, [rows[i] for i in part])
    return scores


def _score_batch(model, start_cache: DynamicCache, rows: list[Tensor]) -> Float[Tensor, "rows"]:
    """The shared beginning was read once; every row reads on from a copy of its cache."""
    cache = DynamicCache()
    for i, layer in enumerate(start_cache.layers):
        cache.update(*(kept.expand(len(rows), -1, -1, -1) for kept in (layer.keys, layer.values)), i)
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    hidden = model.original_model.base_model(batch, past_key_values=cache, use_cache=True).last_hidden_state
    last = hidden[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])].float()
    answers = [model.tokenizer.encode(answer, add_special_tokens=False)[0] for answer in ANSWERS]
    # The bias: where LayerNorm was folded into the unembedding, part of the logits lies there.
    good, bad = (last @ model.W_U[:, answers].float() + model.b_U[answers].float()).T
    return (good - bad).cpu()


def vader(texts: Sequence[str]) -> Float[Tensor, "n"]:
    """VADER's compound score, -1 to 1, by a word list and rules (Hutto and Gilbert 2014)."""
    _check_texts(texts)
    return torch.tensor([_vader().polarity_scores(text)["compound"] for text in texts])


@lru_cache(maxsize=1)
def _vader():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


VADER_NEUTRAL = 0.05  # VADER's authors call a compound score within ±0.05 neutral


def shares(scores: Float[Tensor, "n"], neutral: float = 0.0) -> tuple[float, float]:
    """Share of texts above ``neutral``, and share below ``-neutral``."""
    return (scores > neutral).float().mean().item(), (scores < -neutral).float().mean().item()


def _check_texts(texts) -> None:
    if isinstance(texts, str) or not len(texts):
        raise SentimentError(f"texts={texts!r}: give a list with at least one text.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise SentimentError(f"Text {i} is {text!r}, a {type(text).__name__}: every text must be a string.")


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
