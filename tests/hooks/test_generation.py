"""Generation with hooks: a clean past, a steered past, and no hooks left behind."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import DynamicCache

from helpers import hooks
from helpers.hooks import HookError, generation
from tests import tiny
from tests.conftest import hooks_left

NEW = 8
PROMPTS = (
    "the food was",
    "i think that the film",
    "my",
    "on monday we went to the city . the weather was",
    "the soup was",
)


def steer(model, coefficient: float, in_place: bool = False, seed: int = 0):
    """Hooks that add a fixed random direction at the last position of every layer."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(model.cfg.n_layers, model.cfg.d_model, generator=generator)

    def hook_for(layer):
        def returning(resid, hook):
            edited = resid.clone()
            edited[:, -1] += coefficient * vectors[layer]
            return edited

        def writing(resid, hook):
            resid[:, -1] += coefficient * vectors[layer]

        return writing if in_place else returning

    return [(f"blocks.{layer}.hook_resid_pre", hook_for(layer)) for layer in range(model.cfg.n_layers)]


@torch.no_grad()
def rerun(model, prompt: str, fwd_hooks, new: int = NEW) -> list[int]:
    """Rerun the whole text for each token with hooks on, as the original homework's loop does."""
    tokens, written = model.to_tokens(prompt), []
    for _ in range(new):
        chosen = model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)[0, -1].argmax()
        if chosen == model.tokenizer.eos_token_id:
            break
        written.append(int(chosen))
        tokens = torch.cat([tokens, chosen.reshape(1, 1)], 1)
    return written


@torch.no_grad()
def rerun_with_cache(model, prompt: str, fwd_hooks, new: int = NEW) -> list[int]:
    """Generate with an ordinary cache: keys and values of edited positions stay edited."""
    step, cache, written = model.to_tokens(prompt), DynamicCache(), []
    for _ in range(new):
        with model.hooks(fwd_hooks=fwd_hooks):
            chosen = model.original_model(step, past_key_values=cache, use_cache=True).logits[0, -1].argmax()
        if chosen == model.tokenizer.eos_token_id:
            break
        written.append(int(chosen))
        step = chosen.reshape(1, 1)
    return written


@pytest.mark.parametrize("in_place", [False, True])
def test_clean_past_writes_what_the_original_loop_writes(model, in_place):
    sets = [steer(model, coefficient, in_place) for coefficient in (0.0, 0.3, -0.3, 1.0)]
    rows = hooks.generate_many(model, PROMPTS, sets, NEW)
    for fwd_hooks, row in zip(sets, rows, strict=True):
        for prompt, completion in zip(PROMPTS, row, strict=True):
            assert list(completion.token_ids) == rerun(model, prompt, fwd_hooks)


def test_steered_past_writes_what_an_ordinary_cache_writes(model):
    sets = [steer(model, coefficient) for coefficient in (0.5, 1.0)]
    rows = hooks.generate_many(model, PROMPTS, sets, NEW, past="steered")
    for fwd_hooks, row in zip(sets, rows, strict=True):
        for prompt, completion in zip(PROMPTS, row, strict=True):
            assert list(completion.token_ids) == rerun_with_cache(model, prompt, fwd_hooks)


def test_clean_and_steered_pasts_write_different_texts(llama):
    """Without a difference, the two tests above would say nothing about the past."""
    sets = [steer(llama, 1.0)]
    clean, steered = (hooks.generate_many(llama, PROMPTS, sets, NEW, past=past)[0] for past in hooks.PASTS)
    assert any(a.token_ids != b.token_ids for a, b in zip(clean, steered, strict=True))


@pytest.mark.parametrize("past", hooks.PASTS)
def test_logprobs_are_the_unsteered_models(model, past):
    sets = [[], steer(model, 0.5), steer(model, -0.5)]
    for row in hooks.generate_many(model, PROMPTS, sets, NEW, past):
        for prompt, completion in zip(PROMPTS, row, strict=True):
            start = model.to_tokens(prompt)
            whole = torch.cat([start, torch.tensor([completion.token_ids], dtype=torch.long)], 1)
            with torch.no_grad():
                logprobs = model(whole)[0, start.shape[1] - 1 : -1].log_softmax(-1)
            expected = logprobs.gather(-1, whole[0, start.shape[1] :, None])[:, 0]
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)
            assert completion.perplexity == pytest.approx(math.exp(-expected.mean()), rel=1e-3, nan_ok=True)


@pytest.mark.parametrize("past", hooks.PASTS)
def test_a_batch_equals_its_rows_generated_alone(model, past):
    sets = [steer(model, 1.0), [], steer(model, -1.0, in_place=True)]
    together = hooks.generate_many(model, PROMPTS, sets, NEW, past)
    for s, fwd_hooks in enumerate(sets):
        for p, prompt in enumerate(PROMPTS):
            alone = hooks.generate_many(model, [prompt], [fwd_hooks], NEW, past)[0][0]
            assert together[s][p].token_ids == alone.token_ids
            assert together[s][p].prompt == prompt


def test_several_batches_write_what_one_batch_writes(tiny_model, monkeypatch):
    sets = [steer(tiny_model, 1.0), []]
    expected = hooks.generate_many(tiny_model, tiny.PROMPTS, sets, 3)
    monkeypatch.setattr(generation, "MAX_ROWS", 4)
    rows = hooks.generate_many(tiny_model, tiny.PROMPTS, sets, 3)
    assert [[c.token_ids for c in row] for row in rows] == [[c.token_ids for c in row] for row in expected]


def test_hooks_at_one_point_act_in_order(llama):
    def double(resid, hook):
        resid[:, -1] *= 2

    def shift(resid, hook):
        resid[:, -1] += 1

    name, rows = "blocks.1.hook_resid_pre", []
    for functions in ([double, shift], [shift, double]):
        fwd_hooks = [(name, function) for function in functions]
        rows.append(hooks.generate_many(llama, PROMPTS, [fwd_hooks], NEW)[0])
        assert [list(c.token_ids) for c in rows[-1]] == [rerun(llama, prompt, fwd_hooks) for prompt in PROMPTS]
    assert [c.token_ids for c in rows[0]] != [c.token_ids for c in rows[1]]  # so the order matters here


def test_a_hook_sees_only_the_rows_of_its_own_set(tiny_model):
    seen = []

    def look(resid, hook):
        seen.append(tuple(resid.shape))

    hooks.generate_many(
        tiny_model,
        ["the food was", "the soup was"],
        [[("blocks.0.hook_resid_pre", look)], [], steer(tiny_model, 1.0)],
        2,
    )
    assert seen == [(2, 4, 64), (2, 1, 64)]  # first with copies; see helpers/hooks/positions.py


def test_end_of_text_stops_and_is_left_out(tiny_model):
    ends, continues = hooks.generate_many(
        tiny_model, ["the food was great . goodbye", "i think that the film was"], [[]], 6
    )[0]
    assert ends.text == " ." and len(ends.token_ids) == len(ends.logprobs) == 1
    assert len(continues.token_ids) == 6
    assert tiny_model.tokenizer.eos_token_id not in (*ends.token_ids, *continues.token_ids)


def test_rows_of_a_batch_end_independently(tiny_model):
    prompts = ["the food was great . goodbye", "the food was great . my"]  # of equal length, so in one batch
    ends, continues = hooks.generate_many(tiny_model, prompts, [[]], 4)[0]
    assert (len(ends.token_ids), len(continues.token_ids)) == (1, 4)
    assert list(continues.token_ids) == rerun(tiny_model, prompts[1], [], 4)


def test_generate_returns_prompt_and_continuation_without_bos(tiny_model):
    text = hooks.generate(tiny_model, "the food was", [], 4)
    assert text == "the food was" + tiny_model.tokenizer.decode(rerun(tiny_model, "the food was", [], 4))
    assert "<bos>" not in text


@pytest.mark.parametrize("past", hooks.PASTS)
def test_no_hook_is_left(tiny_model, past):
    before = hooks_left(tiny_model)
    hooks.generate(tiny_model, "the food was", steer(tiny_model, 1.0), 2, past)
    assert hooks_left(tiny_model) == before

    def broken(resid, hook):
        raise RuntimeError("a student's mistake")

    with pytest.raises(RuntimeError, match="a student's mistake"):
        hooks.generate(
            tiny_model, "the food was", [*steer(tiny_model, 1.0), ("blocks.1.hook_resid_pre", broken)], 2, past
        )
    assert hooks_left(tiny_model) == before
    tokens = tiny_model.to_tokens("the food was")
    assert torch.equal(tiny_model(tokens), tiny_model(tokens)) and rerun(tiny_model, "my food was", [], 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": "  "}, ["is empty"]),
        ({"prompt": None}, ["None"]),
        ({"past": "dirty"}, ["'dirty'", "'clean'", "'steered'"]),
        ({"max_new_tokens": 0}, ["max_new_tokens=0"]),
        (
            {"fwd_hooks": [("blocks.0.hook_resid_per", None)]},
            ["blocks.0.hook_resid_per", "Did you mean", "blocks.0.hook_resid_pre"],
        ),
        ({"fwd_hooks": [("blocks.7.hook_resid_pre", None)]}, ["blocks.7.hook_resid_pre", "0 to 1"]),
        ({"prompt": " ".join(["food"] * 92)}, ["93 tokens", "context of 96", "at most 3 new"]),
    ],
)
def test_bad_input_is_explained(tiny_model, arguments, words):
    arguments = {"prompt": "the food was", "fwd_hooks": [], "max_new_tokens": 20} | arguments
    with pytest.raises(HookError) as error:
        hooks.generate(tiny_model, **arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_no_prompt_or_no_hook_set_is_refused(tiny_model):
    for prompts, sets in (([], [[]]), (["the food"], [])):
        with pytest.raises(HookError, match="at least one prompt"):
            hooks.generate_many(tiny_model, prompts, sets)


def test_layer_of_reads_the_block():
    assert hooks.layer_of("blocks.12.hook_resid_pre") == 12
    for name in ("ln_final.hook_normalized", "embed"):
        with pytest.raises(HookError, match="not a hook point of a block"):
            hooks.layer_of(name)


def test_special_ids_are_the_tokenizers(tiny_model):
    assert hooks.special_ids(tiny_model) == {0, 1, 2, 3}


def test_perplexity_of_nothing_is_nan():
    assert math.isnan(hooks.Completion("a", "", (), ()).perplexity)
    assert hooks.Completion("a", " b", (1, 2), (-1.0, -3.0)).perplexity == pytest.approx(math.exp(2))
