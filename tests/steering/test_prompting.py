"""Asking instead of steering: the words in front, the perplexity given the original prompt, and paired intervals."""

from __future__ import annotations

import pytest
import torch

from helpers import data, hooks, steering
from helpers.steering.curves import Curve, Point
from helpers.steering.prompting import ASKED, Wording
from tests import tiny

MOODS = Wording("moods", "prefix", "the food was great . {prompt}", "the food was awful . {prompt}")
LONGER = Wording("longer", "sentences", "i love it . my room is lovely . {prompt}", "i hate it . {prompt}")
PROMPTS = list(tiny.PROMPTS)


@pytest.fixture(scope="module")
def plain(tiny_model):
    return hooks.generate_many(tiny_model, PROMPTS, [[]], 6)[0]


@pytest.fixture(scope="module")
def curves(tiny_model, plain):
    return steering.ask(tiny_model, [MOODS, LONGER], plain, 6, progress=None)


@torch.no_grad()
def logprobs_by_hand(model, prompt: str, ids) -> list[float]:
    tokens = model.to_tokens(prompt)
    values = []
    for token in ids:
        values.append(model(tokens)[0, -1].log_softmax(-1)[token].item())
        tokens = torch.cat([tokens, torch.tensor([[token]])], 1)
    return values


def test_the_model_continues_the_words_and_the_prompt(tiny_model, curves):
    """The positive wording stands at +1, the negative one at −1, and the prompt comes last."""
    for wording in (MOODS, LONGER):
        for sign, words in ((1, wording.positive), (-1, wording.negative)):
            for prompt, completion in zip(PROMPTS, curves[wording.name].at(sign).completions, strict=True):
                expected = hooks.generate(tiny_model, words.replace("{prompt}", prompt), max_new_tokens=6)
                assert expected == words.replace("{prompt}", prompt) + completion.text
                assert completion.prompt == prompt


def test_asking_works_on_the_tiny_model(curves):
    assert curves["moods"].shift(ASKED) > 0.5 and curves["moods"].asked


def test_perplexity_is_that_of_the_new_text_given_the_original_prompt(tiny_model, curves, plain):
    """Not given the words in front, and without the prompt's own tokens."""
    point = curves["moods"].at(1)
    logprobs = []
    for prompt, completion in zip(PROMPTS, point.completions, strict=True):
        by_hand = logprobs_by_hand(tiny_model, prompt, completion.token_ids)
        assert list(completion.logprobs) == pytest.approx(by_hand, abs=1e-4)
        logprobs += by_hand
    assert point.perplexity == pytest.approx(torch.tensor(logprobs).mean().neg().exp().item(), rel=1e-4)
    assert curves["moods"].at(0).completions == tuple(plain)


def test_rescoring_changes_only_prompt_and_logprobs(tiny_model, plain):
    others = [PROMPTS[(i + 3) % len(PROMPTS)] for i in range(len(PROMPTS))]
    cut = [hooks.Completion(c.prompt, c.text, c.token_ids[: i % 4], c.logprobs[: i % 4]) for i, c in enumerate(plain)]
    for row, prompt, before in zip(hooks.rescore(tiny_model, cut, others), others, cut, strict=True):
        assert (row.prompt, row.text, row.token_ids) == (prompt, before.text, before.token_ids)
        assert list(row.logprobs) == pytest.approx(logprobs_by_hand(tiny_model, prompt, before.token_ids), abs=1e-4)
    same = hooks.rescore(tiny_model, plain, PROMPTS)
    assert [value for row in same for value in row.logprobs] == pytest.approx(
        [value for row in plain for value in row.logprobs], abs=1e-4
    )


def test_more_texts_than_fit_into_a_batch_are_rescored(tiny_model, plain, monkeypatch):
    whole = hooks.rescore(tiny_model, plain * 3, PROMPTS * 3)
    monkeypatch.setattr("helpers.hooks.generation.RESCORED_ROWS", 2)
    parts = hooks.rescore(tiny_model, plain * 3, PROMPTS * 3)
    assert all(a.logprobs == pytest.approx(b.logprobs, abs=1e-5) for a, b in zip(whole, parts, strict=True))


def test_hooks_steer_while_asking(tiny_model, plain):
    push = torch.randn(64, generator=torch.Generator().manual_seed(0)) * 20

    def added(sign):
        def hook(resid, hook):
            resid[:, -1] += sign * push
            return resid

        return [("blocks.1.hook_resid_pre", hook)]

    found = steering.ask(tiny_model, [MOODS], plain, 6, (added(-1), added(1)), progress=None)["moods"]
    for sign, words in ((1, MOODS.positive), (-1, MOODS.negative)):
        prompt = words.replace("{prompt}", PROMPTS[0])
        assert prompt + found.at(sign).completions[0].text == hooks.generate(tiny_model, prompt, added(sign), 6)


def test_wordings_fit_the_model(tiny_model, smollm2_fp32):
    assert {wording.kind for wording in steering.wordings(tiny_model)} == {"prefix", "sentences"}
    found = steering.wordings(smollm2_fp32)
    kinds = [wording.kind for wording in found]
    assert kinds.count("chat") >= 5 and kinds.count("prefix") >= 5 and len({w.name for w in found}) == len(found)
    for wording in found:
        assert all(words.count("{prompt}") == 1 for words in (wording.positive, wording.negative))
        text = wording.text(smollm2_fp32, "My day was", 1)
        assert text.endswith("My day was")
        bos = smollm2_fp32.tokenizer.bos_token
        assert smollm2_fp32.to_str_tokens(text)[:2].count(bos) == 1  # to_tokens adds the only one at the start
        assert (text.count("<|im_start|>assistant") == 1) == (wording.kind == "chat")
    five = next(wording for wording in found if wording.name == "five sentences")
    assert all(sentence in five.positive for sentence in data.POSITIVE) and data.NEGATIVE[4] in five.negative


def made(shift: float, ratio: float, tones=((1, 1, 0, 0), (0, 0, 0, 0))) -> Curve:
    def point(coefficient, positive, perplexity, tones):
        return Point(coefficient, positive, 0, 0, None, None, perplexity, (), tones)

    up, down = ([0.5 * tone for tone in side] for side in tones)
    return Curve((point(-1, 0, ratio, tuple(down)), point(0, 0, 1, ()), point(1, shift, 1, tuple(up))))


def test_the_best_wording_has_the_largest_shift_among_the_fluent():
    curves = {"dear": made(0.9, 1.7), "good": made(0.8, 1.5), "weak": made(0.3, 1.1)}
    assert steering.best(curves) == "good"
    assert steering.best(curves, max_perplexity_ratio=2) == "dear"
    assert steering.best({name: curves[name] for name in ("dear",)} | {"worse": made(1, 3)}) == "dear"


def test_differences_are_paired_by_prompt():
    """Two methods that move the same prompts differ by exactly nothing; unpaired, the interval would be wide."""
    one = made(0.5, 1, ((1, 1, 0, 0) * 10, (0, 0, 0, 0) * 10))
    assert steering.difference_interval((one, 1), (one, 1)) == (0, (0, 0))
    all_but_one = made(0.5, 1, ((1, 1, 0, 0) * 9 + (0, 1, 0, 0), (0, 0, 0, 0) * 10))
    difference, (low, high) = steering.difference_interval((one, 1), (all_but_one, 1))
    assert difference == pytest.approx(1 / 40) and low >= 0 and high < 0.11
    other = made(0.5, 1, ((0, 0, 1, 1) * 10, (0, 0, 0, 0) * 10))
    difference, (low, high) = steering.difference_interval((one, 1), (other, 1))
    assert difference == 0 and low < -0.2 and high > 0.2


def test_a_difference_counts_the_negative_side(tiny_model):
    one = made(0.5, 1, ((1, 1, 0, 0), (1, 1, 0, 0)))  # positive at both ends: no shift
    assert one.shifts(1) == one.shifts(-1) == [0, 0, 0, 0]


def test_the_table_names_no_coefficient_for_asked_texts(curves):
    line = steering.table({"asked": (curves["moods"], ASKED)}).split("\n")[1]
    assert "±" not in line and "×" in line
