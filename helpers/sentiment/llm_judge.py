"""The judge: smollm2 scores how positive a text is.

A prompt shows smollm2 two reviews with their sentiment and asks for the sentiment of the text; there are two
such prompts. The score combines two signals:

- the answer: the logit of ' positive' minus that of ' negative';
- a linear probe on the residual stream, trained on reviews of known tone that smollm2 wrote itself (see
  :mod:`helpers.sentiment.probe`).

To measure its accuracy on texts of known sentiment:

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
    """Return how positive each text is: above 0 positive, below 0 negative.

    The unit is the standard deviation over sentences of the reviews in the ``written`` corpus, so a typical
    sentence of praise scores about 1. Models other than smollm2 have no probe: their score is that of :func:`asked`,
    in nats.

    Args:
        texts: at least one; only the first 200 tokens of each are read.
        model: the judge; ``None`` uses smollm2, loaded once.

    Raises:
        SentimentError: no texts, or an item that isn't a string.
    """
    check_texts(texts)
    model = model or judge_model()
    if not is_smollm2(model):
        return asked(texts, model, progress)
    return probe.load().score(read_texts(model, texts, probe.LAYER, progress))


def asked(texts: Sequence[str], model, progress: bool = False) -> Float[Tensor, " n"]:
    """Return the logit of ' positive' minus that of ' negative' in nats, averaged over the prompts.

    Models favour one answer whatever the text, so :func:`calibrate` sets a zero point per prompt.
    """
    check_texts(texts)
    return (read_texts(model, texts, None, progress).answers - calibrate(model)[:, None]).mean(0)


@lru_cache(maxsize=1)
def judge_model():
    """Return smollm2, loaded once. Passing a loaded model to :func:`judge` saves memory."""
    from helpers.models.loading import load_model
    from helpers.settings import settings

    return load_model("smollm2", dtype=settings().dtype)


def is_smollm2(model) -> bool:
    return (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_vocab) == (30, 576, 49152)


@lru_cache(maxsize=4)
def calibrate(model, each: int = 120) -> Float[Tensor, " prompts"]:
    """Return each prompt's median answer to the last sentences of ``each`` positive and ``each`` negative reviews."""
    from helpers.data import documents

    last = {
        tone: [probe.split_sentences(d["text"])[-1] for d in documents() if d["tone"] == tone]
        for tone in ("positive", "negative")
    }
    texts = last["positive"][:each] + last["negative"][:each]
    return read_texts(model, texts, None, True).answers.median(dim=1).values
