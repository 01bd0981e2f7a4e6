"""How positive a text is: the judge, and VADER as a second opinion.

The judge is smollm2, which is shown two reviews with their sentiment and asked for the sentiment of a
third text, with two such prompts. What it would answer is the difference of the logits of ' positive'
and ' negative'; what it has noticed is read off its residual stream by a linear probe, trained on the
reviews that it wrote itself, whose tone is known (see :mod:`helpers.sentiment.probe`). The judge's score takes
both. How often it is right on texts of known sentiment:

    python -m helpers.sentiment POSITIVE.txt NEGATIVE.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from jaxtyping import Float
from torch import Tensor

from helpers.sentiment import probe
from helpers.sentiment.few_shot import check_texts, read_texts


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
    return probe.load().score(read_texts(model, texts, probe.LAYER, progress))


def asked(texts: Sequence[str], model, progress: bool = False) -> Float[Tensor, " n"]:
    """What the model would answer, in nats: logit of ' positive' minus logit of ' negative', mean over the prompts.

    A model leans to one answer whatever the text, so each prompt has a zero of its own: see :func:`calibrate`.
    """
    check_texts(texts)
    return (read_texts(model, texts, None, progress).answers - calibrate(model)[:, None]).mean(0)


@lru_cache(maxsize=1)
def judge_model():
    """smollm2 as the judge; pass a model that is already there to :func:`judge` to spare the memory."""
    from helpers.models.loading import load_model
    from helpers.settings import settings

    return load_model("smollm2", dtype=settings().dtype)


def is_smollm2(model) -> bool:
    return (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_vocab) == (30, 576, 49152)


@lru_cache(maxsize=4)
def calibrate(model, each: int = 120) -> Float[Tensor, " prompts"]:
    """Per prompt the median answer to ``each`` positive and ``each`` negative reviews' last sentences."""
    from helpers.data import documents

    last = {
        tone: [probe.split_sentences(d["text"])[-1] for d in documents() if d["tone"] == tone]
        for tone in ("positive", "negative")
    }
    texts = last["positive"][:each] + last["negative"][:each]
    return read_texts(model, texts, None, True).answers.median(dim=1).values
