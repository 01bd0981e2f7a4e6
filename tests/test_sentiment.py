"""The judge and VADER: the signs, the shortcut through a shared cache, and bad input."""

from __future__ import annotations

import pytest
import torch

from helpers import sentiment
from helpers.sentiment import SentimentError
from tests import tiny
from tests.conftest import hooks_left

PRAISE = (
    "I loved every minute of it, a wonderful film.",
    "The food was delicious and the staff were friendly.",
    "A warm and moving story with superb actors.",
)
BLAME = (
    "A boring, stupid film that I want to forget.",
    "The food was cold and the waiter was rude.",
    "It broke after two days, a complete waste of money.",
)


@pytest.fixture
def tiny_words(monkeypatch):
    """Prompts and answers in words that the tiny model knows; what they mean doesn't matter here."""
    monkeypatch.setattr(sentiment, "PROMPTS", ("the food was great . i love it .", "my room is awful . we hate the staff . my"))
    monkeypatch.setattr(sentiment, "QUESTION", " . it was")
    monkeypatch.setattr(sentiment, "ANSWERS", (" good", " bad"))


@torch.no_grad()
def whole_prompt_score(model, prompt: str, text: str) -> float:
    """Everything read at once, one text at a time, without a cache."""
    encode = lambda text: model.tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    ids = [model.tokenizer.bos_token_id, *encode(prompt), *encode(text), *encode(sentiment.QUESTION)]
    logits = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
    good, bad = (encode(answer)[0] for answer in sentiment.ANSWERS)
    return (logits[good] - logits[bad]).item()


TEXTS = ("the film was lovely .", "hotel", "on monday we went to the garden and the music was nasty .", "i think that it is bad .")


@pytest.mark.parametrize("name", ["tiny_model", "llama"])
@pytest.mark.parametrize("batch", [3, 32])
def test_equals_reading_the_whole_prompt(name, batch, tiny_words, monkeypatch, request):
    model = request.getfixturevalue(name)
    monkeypatch.setattr(sentiment, "BATCH", batch)
    for prompt in sentiment.PROMPTS:
        found = sentiment._score(model, prompt, TEXTS, False)
        assert found.tolist() == pytest.approx([whole_prompt_score(model, prompt, text) for text in TEXTS], abs=1e-3)


def test_each_prompt_has_its_zero(tiny_model, tiny_words, monkeypatch):
    zeros = torch.tensor([2.0, -1.0])
    monkeypatch.setattr(sentiment, "_zeros", lambda model: zeros)
    raw = torch.tensor([[whole_prompt_score(tiny_model, prompt, text) for text in TEXTS] for prompt in sentiment.PROMPTS])
    found = sentiment.judge(TEXTS, tiny_model)
    assert found.shape == (4,) and torch.allclose(found, (raw - zeros[:, None]).mean(0), atol=1e-3)


def test_another_model_is_calibrated_on_reviews(tiny_model, tiny_words, monkeypatch):
    """Its zero is the median over as many positive as negative reviews, so that half of them lie above."""
    good = [{"tone": "positive", "text": f"i hate it . My {w} is {o}."} for w in tiny.THINGS for o in tiny.GOOD]
    bad = [{"tone": "negative", "text": f"i love it . My {w} is {o}."} for w in tiny.THINGS[:5] for o in tiny.BAD]
    monkeypatch.setattr("helpers.data.documents", lambda: [*good, *bad, {"tone": None, "text": "the food ."}])
    asked = []
    score = sentiment._score
    monkeypatch.setattr(sentiment, "_score", lambda model, prompt, texts, bar: asked.append(texts) or score(model, prompt, texts, bar))
    zeros = sentiment.calibrate.__wrapped__(tiny_model, each=30)
    assert [len(texts) for texts in asked] == [60, 60] and asked[0][0].startswith("My") and asked[0][59].startswith("My")
    for zero, prompt in zip(zeros, sentiment.PROMPTS, strict=True):
        above = (score(tiny_model, prompt, asked[0], False) > zero).float().mean().item()
        assert 0.4 <= above <= 0.5
    assert not torch.allclose(zeros, torch.zeros(2), atol=0.1)


def test_only_so_many_tokens_are_read(tiny_model, tiny_words, monkeypatch):
    monkeypatch.setattr(sentiment, "LONGEST", 4)
    long, short = "the film was lovely . my soup was nasty", "the film was lovely"
    assert sentiment._score(tiny_model, sentiment.PROMPTS[0], [long, short], False).diff().abs() < 1e-4


def test_no_hook_stays(tiny_model, tiny_words):
    before = hooks_left(tiny_model)
    sentiment._score(tiny_model, sentiment.PROMPTS[0], TEXTS, False)
    assert hooks_left(tiny_model) == before


def test_signs_of_vader():
    assert (sentiment.vader(PRAISE) > 0.05).all()
    assert sentiment.vader(BLAME)[0] < -0.05 and sentiment.vader(["This is not good."]) < 0
    assert sentiment.vader(["The table has four legs."]) == 0
    assert sentiment.vader(tiny.POSITIVE).mean() > 0.3 > -0.3 > sentiment.vader(tiny.NEGATIVE).mean()


def test_shares():
    scores = torch.tensor([0.9, 0.04, 0.0, -0.04, -0.5, 0.05, -0.05])
    assert sentiment.shares(scores) == pytest.approx((3 / 7, 3 / 7))
    assert sentiment.shares(scores, 0.05) == pytest.approx((1 / 7, 1 / 7))


@pytest.mark.parametrize("ask", [sentiment.judge, sentiment.vader])
@pytest.mark.parametrize(
    ("texts", "words"), [([], "at least one text"), ("text", "give a list"), (["a", 3], "Text 1 is 3, a int"), ([None], "Text 0 is None")]
)
def test_bad_input(ask, texts, words):
    with pytest.raises(SentimentError, match=words):
        ask(texts)


def test_measure(monkeypatch):
    """Accuracy at 0, and AUROC, of judges that are told what to say."""
    monkeypatch.setattr(sentiment, "judge", lambda texts, model, progress: torch.tensor([3.0, -1.0, 0.5, -2.0]))
    monkeypatch.setattr(sentiment, "vader", lambda texts: torch.tensor([0.5, 0.5, -0.5, -0.5]))
    found = sentiment.measure(["a", "b"], ["c", "d"])
    assert found == {
        "judge": {"accuracy": 0.5, "auroc": 0.75, "texts": 4},
        "VADER": {"accuracy": 1.0, "auroc": 1.0, "texts": 4},
    }


@pytest.mark.slow
def test_the_judge_hears_praise_and_blame(smollm2):
    scores = sentiment.judge([*PRAISE, *BLAME], smollm2)
    assert (scores[:3] > 0).all() and (scores[3:] < 0).all(), scores
