"""The judge and VADER: signs, the shared KV cache, the probe, and bad input."""

from __future__ import annotations

import pytest
import torch

from helpers import sentiment
from helpers.sentiment import few_shot, probe, train_probe
from helpers.sentiment.__main__ import measure
from helpers.sentiment.few_shot import SentimentError
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
    """Use prompts and answers in words that the tiny model knows; their meaning doesn't matter here."""
    monkeypatch.setattr(
        few_shot, "PROMPTS", ("the food was great . i love it .", "my room is awful . we hate the staff . my")
    )
    monkeypatch.setattr(few_shot, "QUESTION", " . it was")
    monkeypatch.setattr(few_shot, "ANSWERS", (" good", " bad"))


@torch.no_grad()
def whole_prompt(model, prompt: str, text: str) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Return answer, mean and last residual before block 1, from one pass over prompt and text without a cache."""
    encode = lambda text: model.tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    start = [model.tokenizer.bos_token_id, *encode(prompt)]
    ids = [*start, *encode(text), *encode(few_shot.QUESTION)]
    logits, cache = model.run_with_cache(torch.tensor([ids]))
    good, bad = (encode(answer)[0] for answer in few_shot.ANSWERS)
    resid = cache["blocks.1.hook_resid_pre"][0]
    return (logits[0, -1, good] - logits[0, -1, bad]).item(), resid[len(start) :].mean(0), resid[-1]


TEXTS = (
    "the film was lovely .",
    "hotel",
    "on monday we went to the garden and the music was nasty .",
    "i think that it is bad .",
)


@pytest.mark.parametrize("name", ["tiny_model", "llama"])
@pytest.mark.parametrize("batch", [3, 32])
def test_readings_equal_one_pass_over_prompt_and_text(name, batch, tiny_words, monkeypatch, request):
    model = request.getfixturevalue(name)
    monkeypatch.setattr(few_shot, "BATCH", batch)
    found = few_shot.read_texts(model, TEXTS, layer=1)
    for p, prompt in enumerate(few_shot.PROMPTS):
        answers, means, lasts = zip(*(whole_prompt(model, prompt, text) for text in TEXTS), strict=True)
        assert found.answers[p].tolist() == pytest.approx(answers, abs=1e-3)
        assert torch.allclose(found.mean[p], torch.stack(means), atol=1e-3)
        assert torch.allclose(found.last[p], torch.stack(lasts), atol=1e-3)


def test_repeated_texts_are_read_once(tiny_model, tiny_words, monkeypatch):
    read_after, asked = few_shot._read_after, []
    monkeypatch.setattr(
        few_shot,
        "_read_after",
        lambda model, prompt, texts, *more: asked.append(list(texts)) or read_after(model, prompt, texts, *more),
    )
    order = [2, 0, 0, 1, 2, 3]
    found = few_shot.read_texts(tiny_model, [TEXTS[i] for i in order], layer=1)
    assert asked == 2 * [[TEXTS[i] for i in (2, 0, 1, 3)]]
    each = few_shot.read_texts(tiny_model, TEXTS, layer=1)
    for field in ("answers", "mean", "last"):
        torch.testing.assert_close(getattr(found, field), getattr(each, field)[:, order], rtol=1e-4, atol=1e-4)


def test_without_a_layer_no_residuals_are_returned(tiny_model, tiny_words):
    assert few_shot.read_texts(tiny_model, TEXTS).mean.shape == (2, 4, 0)


def test_each_prompt_has_its_own_zero_point(tiny_model, tiny_words, monkeypatch):
    """Models other than smollm2 have no probe: their score is the calibrated answer alone."""
    zeros = torch.tensor([2.0, -1.0])
    monkeypatch.setattr("helpers.sentiment.llm_judge.calibrate", lambda model: zeros)
    raw = torch.tensor([[whole_prompt(tiny_model, prompt, text)[0] for text in TEXTS] for prompt in few_shot.PROMPTS])
    found = sentiment.judge(TEXTS, tiny_model)
    assert found.shape == (4,) and torch.allclose(found, (raw - zeros[:, None]).mean(0), atol=1e-3)


def test_other_models_are_calibrated_on_reviews(tiny_model, tiny_words, monkeypatch):
    """The zero point is the median over equally many positive and negative reviews, so half of them score above it."""
    good = [{"tone": "positive", "text": f"i hate it . My {w} is {o}."} for w in tiny.THINGS for o in tiny.GOOD]
    bad = [{"tone": "negative", "text": f"i love it . My {w} is {o}."} for w in tiny.THINGS[:5] for o in tiny.BAD]
    monkeypatch.setattr("helpers.data.documents", lambda: [*good, *bad, {"tone": None, "text": "the food ."}])
    asked = []
    read = few_shot.read_texts
    monkeypatch.setattr(
        "helpers.sentiment.llm_judge.read_texts",
        lambda model, texts, layer, bar: asked.append(texts) or read(model, texts, layer, bar),
    )
    zeros = sentiment.calibrate.__wrapped__(tiny_model, each=30)
    assert len(asked) == 1 and len(asked[0]) == 60 and asked[0][0].startswith("My") and asked[0][59].startswith("My")
    above = (read(tiny_model, asked[0]).answers > zeros[:, None]).float().mean(1)
    assert ((above >= 0.4) & (above <= 0.5)).all() and not torch.allclose(zeros, torch.zeros(2), atol=0.1)


def test_long_texts_are_truncated(tiny_model, tiny_words, monkeypatch):
    monkeypatch.setattr(few_shot, "LONGEST", 4)
    long, short = "the film was lovely . my soup was nasty", "the film was lovely"
    assert few_shot.read_texts(tiny_model, [long, short]).answers.diff().abs().max() < 1e-4


def test_no_hook_is_left(tiny_model, tiny_words):
    before = hooks_left(tiny_model)
    few_shot.read_texts(tiny_model, TEXTS, layer=1)
    assert hooks_left(tiny_model) == before


def test_vader_is_positive_for_praise_and_negative_for_blame():
    assert (sentiment.vader(PRAISE) > 0.05).all()
    assert sentiment.vader(BLAME)[0] < -0.05 and sentiment.vader(["This is not good."]) < 0
    assert sentiment.vader(["The table has four legs."]) == 0
    assert sentiment.vader(tiny.POSITIVE).mean() > 0.3 > -0.3 > sentiment.vader(tiny.NEGATIVE).mean()


def test_shares_above_and_below_neutral():
    scores = torch.tensor([0.9, 0.04, 0.0, -0.04, -0.5, 0.05, -0.05])
    assert sentiment.shares(scores) == pytest.approx((3 / 7, 3 / 7))
    assert sentiment.shares(scores, 0.05) == pytest.approx((1 / 7, 1 / 7))


@pytest.mark.parametrize("ask", [sentiment.judge, sentiment.vader])
@pytest.mark.parametrize(
    ("texts", "words"),
    [([], "at least one text"), ("text", "give a list"), (["a", 3], "Text 1 is 3, a int"), ([None], "Text 0 is None")],
)
def test_texts_must_be_a_list_of_strings(ask, texts, words):
    with pytest.raises(SentimentError, match=words):
        ask(texts)


def test_measure_returns_accuracy_and_auroc(monkeypatch):
    """Both judges return fixed scores."""
    monkeypatch.setattr(
        "helpers.sentiment.__main__.judge", lambda texts, model, progress: torch.tensor([3.0, -1.0, 0.5, -2.0])
    )
    monkeypatch.setattr("helpers.sentiment.__main__.vader", lambda texts: torch.tensor([0.5, 0.5, -0.5, -0.5]))
    found = measure(["a", "b"], ["c", "d"])
    assert found == {
        "judge": {"accuracy": 0.5, "auroc": 0.75, "texts": 4},
        "VADER": {"accuracy": 1.0, "auroc": 1.0, "texts": 4},
    }


def made_readings(positive: torch.Tensor, seed: int = 0) -> few_shot.Readings:
    """Return readings with sentiment in one direction of the first prompt's mean and one of the second's last token."""
    draw = torch.Generator().manual_seed(seed)
    n = len(positive)
    mean, last = torch.randn(2, n, 6, generator=draw), torch.randn(2, n, 6, generator=draw)
    mean[0, :, 2] += 3 * positive - 1
    last[1, :, 4] += 3 * positive + 5
    return few_shot.Readings(torch.stack([positive * 4 + 7, positive * 2 - 3]), mean, last)


def test_the_probe_learns_and_its_zero_separates_the_classes():
    truth = torch.arange(400) % 2 == 0
    fitted = train_probe.fit(made_readings(truth.float()), truth.tolist())
    fresh = made_readings(truth.float(), seed=1)
    scores = fitted.score(fresh)
    assert ((scores > 0) == truth).float().mean() > 0.95
    assert fitted.score(made_readings(truth.float())).std() == pytest.approx(1, abs=0.4)  # in standard deviations
    assert fitted.direction[2] > 3 * fitted.direction[[0, 1, 3]].abs().max()  # the first prompt's mean
    assert fitted.direction[6 + 4] > 3 * fitted.direction[[6, 7, 8, 9, 11]].abs().max()  # the second's last


def test_the_probes_score_includes_the_answers():
    """With a zero direction the score is the answers alone, centred at their zeros and divided by their spreads."""
    truth = torch.arange(400) % 2 == 0
    fitted = train_probe.fit(made_readings(truth.float()), truth.tolist())
    blind = probe.Probe(torch.zeros(12), torch.tensor(0.0), fitted.zeros, fitted.spreads)
    asked = few_shot.Readings(
        torch.tensor([[7.0, 11.0, 9.0], [-3.0, -1.0, -2.0]]), torch.zeros(2, 3, 6), torch.zeros(2, 3, 6)
    )
    assert blind.zeros.tolist() == [7.0, -3.0]
    down, up, _ = blind.score(asked).tolist()
    assert down == pytest.approx(0) and up == pytest.approx(
        0.25 * (4 / fitted.spreads[0] + 2 / fitted.spreads[1]).item()
    )


def test_training_sentences_come_from_reviews_and_are_long_enough(monkeypatch):
    made = [
        {"tone": "positive", "text": "We liked it a lot. Great!\nThe staff was kind to all of us."},
        {"tone": "negative", "text": "I would not go there again."},
        {"tone": None, "text": "The Moon is far away from here."},
    ]
    monkeypatch.setattr("helpers.data.documents", lambda: made)
    texts, positive = train_probe.sentences()
    assert texts == ["We liked it a lot.", "The staff was kind to all of us.", "I would not go there again."]
    assert positive == [True, True, False]


def test_the_stored_probe_has_smollm2s_width():
    found = probe.load()
    assert found.direction.shape == (2 * 576,) and found.zeros.shape == found.spreads.shape == (2,)


@pytest.mark.slow
def test_the_judge_separates_praise_from_blame(smollm2):
    scores = sentiment.judge([*PRAISE, *BLAME], smollm2)
    assert (scores[:3] > 0).all() and (scores[3:] < 0).all(), scores
