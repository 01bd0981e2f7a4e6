"""Drawn tokens follow the right probabilities, and depend on neither the batch nor the hooks."""

from __future__ import annotations

import math

import pytest
import torch

from helpers import hooks
from helpers.hooks.sampling import Sampler, Sampling, SamplingError, greedy
from tests.hooks.test_generation import PROMPTS, rerun, steer

DRAWN = Sampling(temperature=1.5, seed=3)
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -9.0])
MANY = [f"prompt {i}" for i in range(20_000)]


def frequencies(sampling: Sampling) -> torch.Tensor:
    """Return how often each token is drawn over many prompts, each with its own random numbers."""
    return torch.bincount(Sampler(sampling, MANY)(LOGITS.repeat(len(MANY), 1)), minlength=5) / len(MANY)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature):
    expected = (LOGITS / temperature).softmax(-1)
    # Four standard errors: a wrong temperature or a forgotten softmax is off by dozens.
    assert (frequencies(Sampling(temperature)) - expected).abs().max() < 4 * math.sqrt(0.25 / len(MANY))


def test_top_k_and_top_p_draw_only_the_likeliest():
    for sampling, kept in (
        (Sampling(top_k=2), 2),
        (Sampling(top_p=0.6), 1),
        (Sampling(top_p=0.7), 2),
        (Sampling(top_k=3, top_p=0.99), 3),
    ):
        actual, expected = frequencies(sampling), LOGITS[:kept].softmax(-1)
        assert actual[kept:].eq(0).all(), sampling
        assert (actual[:kept] - expected).abs().max() < 4 * math.sqrt(0.25 / len(MANY)), sampling


def test_each_step_draws_new_numbers():
    sampler = Sampler(Sampling(), MANY[:200])
    first, second = (sampler(torch.zeros(200, 1000)) for _ in range(2))
    assert (first == second).float().mean() < 0.05 and len(first.unique()) > 150


def test_top_1_always_draws_the_likeliest():
    """Even an extreme random number draws neither a token of probability 0 nor one beyond the vocabulary."""
    sampler = Sampler(Sampling(top_k=1), ["a"] * 3)
    logits = torch.tensor([[0.0, 9.0, 1.0], [9.0, 0.0, 1.0], [0.0, 1.0, 9.0]])
    for _ in range(50):
        assert sampler(logits).tolist() == [1, 0, 2]


@pytest.mark.parametrize("drawn", [0.0, 1 - 2**-53])
def test_extreme_random_numbers_draw_allowed_tokens(monkeypatch, drawn):
    """torch.rand may return exactly 0, which must not draw a first token that top-k excludes."""
    monkeypatch.setattr(torch, "rand", lambda *size, **kwargs: torch.tensor(drawn, dtype=torch.float64))
    logits = torch.tensor([[0.0, 9.0, 8.0, 0.0]])
    assert Sampler(Sampling(top_k=2), ["a"])(logits).tolist() == [1 if drawn == 0 else 2]


@torch.no_grad()
def rerun_sampled(model, prompt, fwd_hooks, new):
    """Run the original's loop, but draw each token."""
    tokens, written, choose = model.to_tokens(prompt), [], Sampler(DRAWN, [prompt])
    for _ in range(new):
        chosen = choose(model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)[:, -1].float())
        if chosen == model.tokenizer.eos_token_id:
            break
        written.append(int(chosen))
        tokens = torch.cat([tokens, chosen[:, None]], 1)
    return written


def test_clean_past_draws_what_the_original_loop_draws(model):
    sets = [[], steer(model, 0.7), steer(model, -0.7)]
    rows = hooks.generate_many(model, PROMPTS, sets, 8, sampling=DRAWN)
    for fwd_hooks, row in zip(sets, rows, strict=True):
        expected = [rerun_sampled(model, prompt, fwd_hooks, 8) for prompt in PROMPTS]
        assert [list(completion.token_ids) for completion in row] == expected
    assert [list(c.token_ids) for c in rows[0]] != [rerun(model, prompt, [], 8) for prompt in PROMPTS]  # so not greedy


@pytest.mark.parametrize("past", hooks.PASTS)
def test_a_batch_equals_its_rows_drawn_alone(model, past):
    sets = [[], steer(model, 0.7)]
    together = hooks.generate_many(model, PROMPTS, sets, 8, past, sampling=DRAWN)
    for fwd_hooks, row in zip(sets, together, strict=True):
        alone = [hooks.generate_many(model, [p], [fwd_hooks], 8, past, sampling=DRAWN)[0][0].token_ids for p in PROMPTS]
        assert [completion.token_ids for completion in row] == alone


def test_another_seed_gives_another_text(llama):
    text = [hooks.generate(llama, PROMPTS[0], sampling=Sampling(2.0, seed=seed)) for seed in (0, 0, 1)]
    assert text[0] == text[1] != text[2]


def test_hook_sets_share_the_random_numbers(llama):
    """So a hook that changes nothing leaves the text the same."""
    idle = [("blocks.0.hook_resid_pre", lambda value, hook: value)]
    plain, idled = hooks.generate_many(llama, PROMPTS, [[], idle], 8, sampling=DRAWN)
    assert [c.token_ids for c in plain] == [c.token_ids for c in idled]


def test_logprobs_ignore_the_temperature(llama):
    (completion,) = hooks.generate_many(llama, PROMPTS[:1], [[]], 4, sampling=Sampling(3.0, top_k=2))[0]
    tokens = torch.cat([llama.to_tokens(PROMPTS[0])[0], torch.tensor(completion.token_ids)])
    logprobs = llama(tokens[None])[0].log_softmax(-1)
    start = len(tokens) - len(completion.token_ids)
    expected = [logprobs[start + i - 1, token].item() for i, token in enumerate(completion.token_ids)]
    assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_the_global_generator_is_not_used(llama):
    torch.manual_seed(5)
    hooks.generate(llama, PROMPTS[0], sampling=DRAWN)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert after == torch.rand(1)


def test_greedy_is_the_default(llama):
    assert hooks.generate(llama, PROMPTS[0]) == hooks.generate(llama, PROMPTS[0], sampling=Sampling(top_k=1))
    assert greedy(torch.tensor([[0.0, 3.0, 1.0]])).tolist() == [1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"temperature": 0},
            "temperature=0: give a finite number above 0. To take the likeliest token, leave sampling out",
        ),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"temperature": math.inf}, "temperature=inf"),
        ({"top_k": 0}, "top_k=0: give at least 1"),
        ({"top_p": 0}, "top_p=0: give a probability"),
        ({"top_p": 1.1}, "top_p=1.1"),
    ],
)
def test_bad_input_is_explained(wrong, words):
    with pytest.raises(SamplingError, match=words):
        Sampling(**wrong)
