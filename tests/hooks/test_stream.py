"""Streaming, several seeds in one batch, prompts of all lengths, and the full context."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from helpers import hooks
from helpers.hooks import HookError, generation
from helpers.hooks.sampling import Sampling
from tests.conftest import hooks_left
from tests.hooks.test_generation import NEW, PROMPTS, rerun, steer


@pytest.mark.parametrize("past", hooks.PASTS)
def test_a_stream_ends_with_what_generate_writes(model, past):
    sets = [[], steer(model, 0.8), steer(model, -0.8)]
    seen = list(hooks.stream(model, PROMPTS[0], sets, NEW, past))
    expected = [row[0] for row in hooks.generate_many(model, PROMPTS[:1], sets, NEW, past)]
    assert seen[-1] == expected
    assert all(
        now.token_ids[: len(before.token_ids)] == before.token_ids
        for earlier, later in pairwise(seen)
        for before, now in zip(earlier, later, strict=True)
    )
    assert len(seen[0][0].token_ids) == 1


def test_hooks_are_off_between_the_items_of_a_stream(tiny_model):
    before = hooks_left(tiny_model)
    words = hooks.stream(tiny_model, PROMPTS[0], [steer(tiny_model, 1.0)], NEW)
    next(words)
    assert hooks_left(tiny_model) == before and rerun(tiny_model, PROMPTS[1], [], 2)
    words.close()
    assert hooks_left(tiny_model) == before


def test_a_stream_that_ends_early_is_complete(tiny_model):
    prompt = "the food was great . goodbye"
    assert list(hooks.stream(tiny_model, prompt, [[]], 6))[-1] == hooks.generate_many(tiny_model, [prompt], [[]], 6)[0]
    steered = [steer(tiny_model, 0.01)]
    last = list(hooks.stream(tiny_model, prompt, steered, 6, "steered"))[-1]
    assert last == [hooks.generate_many(tiny_model, [prompt], steered, 6, "steered")[0][0]] and last[0].logprobs


def test_several_seeds_in_one_batch_equal_separate_runs(llama):
    """One prompt given three times with three seeds equals three runs with one seed each."""
    draws = [Sampling(2.0, seed=seed) for seed in range(3)] + [Sampling(0.5, top_k=3)]
    prompts = [PROMPTS[0]] * 3 + [PROMPTS[1]]
    sets = [[], steer(llama, 0.7)]
    together = hooks.generate_many(llama, prompts, sets, NEW, sampling=draws)
    for fwd_hooks, row in zip(sets, together, strict=True):
        alone = [
            hooks.generate_many(llama, [p], [fwd_hooks], NEW, sampling=d)[0][0].token_ids
            for p, d in zip(prompts, draws, strict=True)
        ]
        assert [c.token_ids for c in row] == alone and len(set(alone[:3])) == 3
    with pytest.raises(HookError, match="2 samplings for 4 prompts"):
        hooks.generate_many(llama, prompts, sets, NEW, sampling=draws[:2])


@pytest.mark.parametrize("past", hooks.PASTS)
def test_generation_works_up_to_the_end_of_the_context(model, past):
    room = model.cfg.n_ctx
    prompt = " ".join(["food"] * (room - 5))  # plus BOS
    row = hooks.generate_many(model, [prompt, "my"], [steer(model, 0.3)], 4, past)[0]
    assert len(row[1].token_ids) <= 4 and row[0].prompt == prompt
    if past == "clean":
        assert list(row[0].token_ids) == rerun(model, prompt, steer(model, 0.3), 4)
    with pytest.raises(HookError, match=f"context of {room}.*at most 4 new tokens"):
        hooks.generate(model, prompt, [], 5, past)


def test_a_prompt_longer_than_the_context_is_refused(tiny_model):
    with pytest.raises(HookError, match=r"111 tokens .*at most 0 new"):
        hooks.generate(tiny_model, " ".join(["food"] * 110), [], 1)


def test_batches_stay_within_limits(monkeypatch):
    monkeypatch.setattr(generation, "MAX_ROWS", 12)
    monkeypatch.setattr(generation, "MAX_PLACES", 200)
    lengths = [5, 30, 3, 60, 4, 4, 5]
    batches = list(generation._batches(lengths, n_sets=2, new=10))
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    for batch in batches:
        rows, longest = 4 * len(batch), max(lengths[i] for i in batch)
        assert len(batch) == 1 or (rows <= 12 and rows * (longest + 10) <= 200)
    assert len(batches) < 7


@pytest.mark.parametrize("past", hooks.PASTS)
def test_an_interrupt_leaves_no_hook(tiny_model, past):
    before, calls = hooks_left(tiny_model), []

    def interrupting(value, hook):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hooks.generate(tiny_model, PROMPTS[0], [("blocks.0.hook_resid_pre", interrupting)], 6, past)
    assert hooks_left(tiny_model) == before
    assert torch.isfinite(tiny_model(tiny_model.to_tokens(PROMPTS[0]))).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_writes_the_same_tokens(tiny_folder, tiny_model):
    from helpers.models.loading import load_model

    on_gpu = load_model(tiny_folder, device="cuda")

    def push(value, hook):
        value[:, -1] += 0.3

    sets = [[], [("blocks.1.hook_resid_pre", push)]]
    actual, expected = (hooks.generate_many(m, PROMPTS, sets, NEW) for m in (on_gpu, tiny_model))
    assert [[c.token_ids for c in row] for row in actual] == [[c.token_ids for c in row] for row in expected]


def test_generation_runs_in_bf16(tiny_folder):
    """Kernels may round differently in bf16, so its texts aren't compared with those in fp32."""
    from helpers.models.loading import load_model

    half = load_model(tiny_folder, device="cpu", dtype=torch.bfloat16)
    for past in hooks.PASTS:
        (row,) = hooks.generate_many(half, PROMPTS, [steer(half, 0.5)], NEW, past)
        assert all(len(c.token_ids) == len(c.logprobs) for c in row)
