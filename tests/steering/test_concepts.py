"""Concepts: the items, their preferences under steering, and what predicts them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers import steering
from helpers.steering.concepts import Concept, Item
from tests import tiny
from tests.steering.test_directions import average

ITEMS = tuple(
    Item(prompt, f" {good}", f" {bad}") for prompt, good, bad in zip(tiny.PROMPTS, tiny.GOOD, tiny.BAD, strict=False)
)
MOOD = Concept("mood", "good", "bad", tiny.POSITIVE, tiny.NEGATIVE, ITEMS)
LONG = Item("the food was", " great . i love it", " awful")


def make_hooks(vectors, coefficient, layers=None):
    def adder(push):
        def hook(resid, hook):
            resid[:, -1] += push
            return resid

        return hook

    chosen = range(len(vectors)) if layers is None else layers
    return [(f"blocks.{layer}.hook_resid_pre", adder(coefficient * vectors[layer])) for layer in chosen]


def test_the_eight_concepts_are_complete_and_different():
    concepts = steering.concepts()
    assert len(concepts) == len({concept.name for concept in concepts}) == 8
    prompts = [item.prompt for concept in concepts for item in concept.items]
    assert len(set(prompts)) == len(prompts) == 200
    for concept in concepts:
        assert len(concept.contrast_positive) == len(concept.contrast_negative) == 5
        assert not set(concept.contrast_positive) & set(concept.contrast_negative)
        for item in concept.items:
            for text in (item.positive, item.negative):
                assert text[0] == " " and text.strip() == text[1:]
            assert item.positive != item.negative and item.prompt == item.prompt.strip()


@torch.no_grad()
def by_hand(model, prompt: str, continuation: str, fwd_hooks=()) -> float:
    """Sum the log-probabilities of the continuation's tokens, one forward pass per token."""
    total, text = 0.0, model.to_tokens(prompt)[0].tolist()
    for token in model.to_tokens(continuation, prepend_bos=False)[0].tolist():
        logits = model.run_with_hooks(torch.tensor([text]), fwd_hooks=list(fwd_hooks))[0, -1]
        total += logits.log_softmax(-1)[token].item()
        text.append(token)
    return total


def at_every_word(vectors, coefficient):
    def adder(push):
        def hook(resid, hook):
            resid[:, 1:] += push
            return resid

        return hook

    return [(f"blocks.{layer}.hook_resid_pre", adder(coefficient * v)) for layer, v in enumerate(vectors)]


def test_a_preference_is_the_difference_of_log_probabilities_given_the_prompt(tiny_model):
    """Of the continuation's tokens alone, all of them, in this order; not averaged over tokens."""
    items = [ITEMS[0], LONG]
    expected = [by_hand(tiny_model, i.prompt, i.positive) - by_hand(tiny_model, i.prompt, i.negative) for i in items]
    assert steering.preferences(tiny_model, items).tolist() == pytest.approx(expected, abs=1e-3)


def test_hooks_for_the_last_position_act_on_every_word(tiny_model):
    vectors = average(tiny_model, tiny.POSITIVE) - average(tiny_model, tiny.NEGATIVE)
    found = steering.preferences(tiny_model, [LONG], make_hooks(vectors, 0.7))
    hooks = at_every_word(vectors, 0.7)
    expected = by_hand(tiny_model, LONG.prompt, LONG.positive, hooks) - by_hand(
        tiny_model, LONG.prompt, LONG.negative, hooks
    )
    assert found.item() == pytest.approx(expected, abs=1e-3)
    assert found.item() != pytest.approx(steering.preferences(tiny_model, [LONG]).item(), abs=0.1)


@pytest.fixture(scope="module")
def norms(tiny_model):
    return torch.full((tiny_model.cfg.n_layers,), 20.0)


def test_a_concept_that_the_model_knows_moves_the_right_way(tiny_model, norms):
    effect = steering.measure_concept(tiny_model, average, make_hooks, MOOD, norms, 0.3)
    low, high = effect.shift_interval
    assert effect.shift > 1 and low > 0 and low <= effect.shift <= high
    assert effect.wrong_way == 0 and len(effect.shifts) == len(ITEMS)
    swapped = replace(MOOD, contrast_positive=MOOD.contrast_negative, contrast_negative=MOOD.contrast_positive)
    back = steering.measure_concept(tiny_model, average, make_hooks, swapped, norms, 0.3)
    assert list(back.shifts) == pytest.approx([-shift for shift in effect.shifts], abs=1e-3) and back.wrong_way == 1


def test_shifts_are_those_of_both_signs_at_the_wanted_size(tiny_model, norms):
    vectors = average(tiny_model, tiny.POSITIVE) - average(tiny_model, tiny.NEGATIVE)
    c = 0.3 / (vectors[1].norm() / norms[1]).item()
    up, down = (steering.preferences(tiny_model, ITEMS, make_hooks(vectors, sign * c, [1])) for sign in (1, -1))
    effect = steering.measure_concept(tiny_model, average, make_hooks, MOOD, norms, 0.3, layers=[1])
    assert list(effect.shifts) == pytest.approx((up - down).tolist(), abs=1e-3)

    def tenfold(model, sentences):
        return 10 * average(model, sentences)

    same = steering.measure_concept(tiny_model, tenfold, make_hooks, MOOD, norms, 0.3, layers=[1])
    assert list(same.shifts) == pytest.approx(list(effect.shifts), abs=1e-2)


def test_the_unsteered_share_is_of_the_plain_model(tiny_model, norms):
    effect = steering.measure_concept(tiny_model, average, make_hooks, MOOD, norms, 5.0)
    plain = (steering.preferences(tiny_model, ITEMS) > 0).float().mean().item()
    assert effect.unsteered == pytest.approx(plain)


def test_predictors_equal_their_formulas(tiny_model, norms):
    effect = steering.measure_concept(tiny_model, average, make_hooks, MOOD, norms, 0.3, layers=[1])
    good, bad = (torch.stack([average(tiny_model, [s])[1] for s in side]) for side in (tiny.POSITIVE, tiny.NEGATIVE))
    mean = (good - bad).mean(0)
    cosines = [torch.cosine_similarity(d, mean, dim=0).item() for d in good - bad]
    assert effect.agreement == pytest.approx(sum(cosines) / len(cosines), abs=1e-4)
    u = mean / mean.norm()
    deviation = (((good @ u).var() + (bad @ u).var()) / 2).sqrt()
    assert effect.separation == pytest.approx((((good - bad) @ u).mean() / deviation).item(), rel=1e-3)


def test_the_students_functions_are_used(tiny_model, norms):
    calls = []

    def watched(vectors, coefficient, layers=None):
        calls.append((coefficient > 0, layers))
        return make_hooks(vectors, coefficient, layers)

    steering.measure_concept(tiny_model, average, watched, MOOD, norms, 0.3)
    assert sorted(calls) == [(False, [0, 1]), (True, [0, 1])]
