"""Compare the clean past with the original homework's loop, token for token, on long texts."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
import torch

from helpers import data, hooks
from tests import tiny
from tests.hooks.test_generation import steer

pytestmark = pytest.mark.slow

COEFFICIENTS = (-0.6, -0.3, 0.0, 0.3, 0.6)
NEAR_TIE = 1e-4  # in logits: two kernels may round a tie to either side


def forty_prompts() -> list[str]:
    """Return forty beginnings of documents, of 2 to 14 words."""
    draw = random.Random(1)
    texts = [tiny.document(draw).split() for _ in range(40)]
    return [" ".join(words[: 2 + i % 13]) for i, words in enumerate(texts)]


@torch.no_grad()
def originals(model, prompts, fwd_hooks, new: int) -> list[list[int]]:
    """Return what the original's loop writes, which reruns the whole text per token; equal lengths run together."""
    result, by_length = {}, defaultdict(list)
    for prompt in prompts:
        by_length[model.to_tokens(prompt).shape[1]].append(prompt)
    for length, group in by_length.items():
        tokens = torch.cat([model.to_tokens(prompt) for prompt in group])
        for _ in range(new):
            logits = model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)[:, -1]
            tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], 1)
        for prompt, row in zip(group, tokens[:, length:].tolist(), strict=True):
            end = model.tokenizer.eos_token_id
            result[prompt] = row[: row.index(end)] if end in row else row
    return [result[prompt] for prompt in prompts]


@torch.no_grad()
def is_tie(model, prompt: str, fwd_hooks, common: list[int]) -> bool:
    """Return whether the original's two likeliest tokens after ``common`` are nearly tied."""
    tokens = torch.cat([model.to_tokens(prompt), torch.tensor([common], dtype=torch.long, device=model.W_U.device)], 1)
    first, second = model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)[0, -1].float().topk(2).values
    return bool(first - second < NEAR_TIE)


def mismatches(model, prompts, hook_sets, new: int) -> tuple[int, int]:
    """Return how many completions differ from the original's, except by a tie, and how many were compared."""
    wrong = total = 0
    for fwd_hooks, row in zip(hook_sets, hooks.generate_many(model, prompts, hook_sets, new), strict=True):
        for prompt, expected, completion in zip(prompts, originals(model, prompts, fwd_hooks, new), row, strict=True):
            total, ids = total + 1, list(completion.token_ids)
            if ids != expected:
                common = next(
                    (i for i, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b),
                    min(len(ids), len(expected)),
                )
                wrong += not is_tie(model, prompt, fwd_hooks, expected[:common])
    print(f"{wrong} of {total} completions differ")
    return wrong, total


def test_every_token_equals_the_originals(model):
    sets = [steer(model, coefficient) for coefficient in COEFFICIENTS]
    assert mismatches(model, forty_prompts(), sets, 64) == (0, 200)


def test_every_token_equals_the_originals_on_a_real_model(smollm2_fp32):
    prompts = list(data.TRIAL_PROMPTS[:6])
    vectors = torch.stack([_difference(smollm2_fp32, layer) for layer in range(smollm2_fp32.cfg.n_layers)])
    sets = [
        [(f"blocks.{layer}.hook_resid_pre", _adder(coefficient * v)) for layer, v in enumerate(vectors)]
        for coefficient in (-0.2, 0.2)
    ]
    assert mismatches(smollm2_fp32, prompts, sets, 32) == (0, 12)


@torch.no_grad()
def _difference(model, layer: int) -> torch.Tensor:
    """Return a steering vector; one contrast pair is enough for a direction with meaning."""
    name = f"blocks.{layer}.hook_resid_pre"
    means = [
        model.run_with_cache(text, names_filter=[name])[1][name][0, 1:].mean(0)
        for text in (data.POSITIVE[0], data.NEGATIVE[0])
    ]
    return means[0] - means[1]


def _adder(push):
    def add(resid, hook):
        resid[:, -1] += push

    return add


def test_without_fluency_the_texts_are_the_same(tiny_model):
    prompts, sets = forty_prompts()[:6], [[], steer(tiny_model, 0.5)]
    for past in hooks.PASTS:
        whole = hooks.generate_many(tiny_model, prompts, sets, 8, past)
        bare = hooks.generate_many(tiny_model, prompts, sets, 8, past, fluency=False)
        for row, other in zip(whole, bare, strict=True):
            assert [c.token_ids for c in row] == [c.token_ids for c in other]
            assert all(c.logprobs for c in row if c.token_ids) and not any(c.logprobs for c in other)
