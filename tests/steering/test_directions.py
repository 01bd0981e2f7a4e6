"""Projections onto a direction, AUROC with its interval, and ablation."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from sklearn.metrics import roc_auc_score

from helpers import steering
from helpers.steering import directions
from helpers.steering.curves import SteeringError
from tests import tiny

TEXT = "the food was great . i love it ."


@torch.no_grad()
def average(model, sentences):
    """Task 1.1, written for the tests."""
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
    means = []
    for sentence in sentences:
        _, cache = model.run_with_cache(model.to_tokens(sentence), names_filter=names)
        means.append(torch.stack([cache[name][0, 1:].mean(0) for name in names]))
    return torch.stack(means).mean(0)


@pytest.fixture(scope="module")
def vectors(tiny_model):
    return average(tiny_model, tiny.POSITIVE) - average(tiny_model, tiny.NEGATIVE)


def test_projections_are_dot_products_with_unit_vectors(tiny_model, vectors):
    found = steering.projections(average, tiny_model, vectors, tiny.PROMPTS)
    assert found.shape == (len(tiny.PROMPTS), tiny_model.cfg.n_layers)
    for i, prompt in enumerate(tiny.PROMPTS[:3]):
        for layer in range(tiny_model.cfg.n_layers):
            direction = vectors[layer] / vectors[layer].norm()
            assert found[i, layer].item() == pytest.approx(
                (average(tiny_model, [prompt])[layer] @ direction).item(), rel=1e-4
            )
    assert torch.allclose(found, steering.projections(average, tiny_model, 7 * vectors, tiny.PROMPTS), rtol=1e-4)
    assert torch.allclose(found, -steering.projections(average, tiny_model, -vectors, tiny.PROMPTS), rtol=1e-4)


def test_auroc_equals_scikit_learns_and_counts_ties_half():
    draw = torch.Generator().manual_seed(0)
    positive, negative = (torch.randn(n, generator=draw).mul(3).round() + shift for n, shift in ((40, 1), (25, 0)))
    value, (low, high) = steering.auroc(positive, negative)
    truth = [1] * 40 + [0] * 25
    assert value == pytest.approx(roc_auc_score(truth, torch.cat([positive, negative]).numpy()))
    assert low < value < high and 0.1 < high - low < 0.4
    assert steering.auroc(torch.ones(5), torch.ones(5))[0] == 0.5


def test_auroc_knows_its_direction_and_its_certainty():
    apart = torch.arange(10.0)
    assert steering.auroc(apart + 20, apart) == (1, (1, 1))
    assert steering.auroc(apart, apart + 20) == (0, (0, 0))
    few, many = torch.randn(8, generator=torch.Generator().manual_seed(1)), torch.randn(800)
    widths = [high - low for _, (low, high) in (steering.auroc(x, x + 0.1) for x in (few, many))]
    assert widths[0] > 3 * widths[1]
    with pytest.raises(SteeringError, match="no texts on one side"):
        steering.auroc(torch.ones(3), torch.ones(0))


@torch.no_grad()
def streams(model, hooks=(), text=TEXT):
    """Return what each block reads, after the hooks."""
    seen = {}
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
    keep = [(name, lambda value, hook, name=name: seen.__setitem__(name, value[0].clone())) for name in names]
    model.run_with_hooks(model.to_tokens(text), fwd_hooks=[*hooks, *keep])
    return torch.stack([seen[name] for name in names])


def test_ablation_leaves_nothing_along_the_direction_of_any_layer(tiny_model, vectors):
    turned = torch.stack([vectors[0], vectors[1].flip(0)])  # another direction per layer
    for scale in (1.0, 25.0, -0.1):  # the norm doesn't matter
        ablated = streams(tiny_model, steering.ablate(tiny_model, scale * turned))
        along = torch.einsum("lpd,ld->lp", ablated, directions.unit(turned))
        assert along.abs().max() < 1e-4
    before = streams(tiny_model)
    u = directions.unit(turned)
    assert torch.einsum("lpd,ld->lp", before, u).abs().min() > 1e-3
    # In the first block nothing else changes, BOS included.
    expected = before[0] - (before[0] @ u[0])[:, None] * u[0]
    assert torch.allclose(streams(tiny_model, steering.ablate(tiny_model, turned))[0], expected, atol=1e-5)


def test_ablation_at_some_tokens_leaves_the_others_alone(tiny_model, vectors):
    full_stop = steering.punctuation(tiny_model)
    is_stop = full_stop[tiny_model.to_tokens(TEXT)[0]]
    assert is_stop.tolist() == [False] * 5 + [True] + [False] * 3 + [True]
    before = streams(tiny_model)
    after = streams(tiny_model, steering.ablate(tiny_model, vectors, where=full_stop))
    along = torch.einsum("lpd,ld->lp", after, directions.unit(vectors))
    assert along[:, is_stop].abs().max() < 1e-4 and along[:, ~is_stop].abs().min() > 1e-3
    assert torch.equal(after[0][~is_stop], before[0][~is_stop])
    two = torch.cat([tiny_model.to_tokens(TEXT), tiny_model.to_tokens("i love it . the food was great .")])
    assert tiny_model.run_with_hooks(two, fwd_hooks=steering.ablate(tiny_model, vectors, where=full_stop)).shape[0] == 2


def test_ablation_changes_neither_vectors_nor_model(tiny_model, vectors):
    kept, tokens = vectors.clone(), tiny_model.to_tokens(TEXT)
    before = tiny_model(tokens)
    assert (
        tiny_model.run_with_hooks(tokens, fwd_hooks=steering.ablate(tiny_model, vectors)) - before
    ).abs().max() > 1e-2
    assert torch.equal(vectors, kept) and torch.equal(tiny_model(tokens), before)


def test_a_zero_vector_has_no_direction(tiny_model, vectors):
    zero = vectors * torch.tensor([1.0, 0.0])[:, None]
    with pytest.raises(SteeringError, match="layer 1 is zero"):
        steering.ablate(tiny_model, zero)


def test_punctuation_has_no_letter_or_digit(smollm2_fp32):
    marks = steering.punctuation(smollm2_fp32)
    encode = partial(smollm2_fp32.tokenizer.encode, add_special_tokens=False)
    assert all(marks[encode(text)[0]] for text in (".", ",", "!", " (", '"', "..."))
    assert not any(marks[encode(text)[0]] for text in ("a", " the", "7", "'s", " ", "\n"))
    assert not marks[smollm2_fp32.tokenizer.all_special_ids].any()
