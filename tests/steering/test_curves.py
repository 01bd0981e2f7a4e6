"""Coefficient curves and controls on the tiny model, in which steering flips the sentiment."""

from __future__ import annotations

import math

import pytest
import torch

from helpers import sentiment, steering
from helpers.hooks import Completion
from helpers.steering import sweeps
from helpers.steering.bootstrap import mean_interval
from helpers.steering.curves import Curve, Point, SteeringError
from tests import tiny

NEW = 8


def mood_vectors(model) -> torch.Tensor:
    """Return the original recipe's vectors: mean residual of positive minus that of negative sentences, per layer."""
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]

    def mean(sentences):
        caches = [model.run_with_cache(model.to_tokens(s), names_filter=names)[1] for s in sentences]
        return torch.stack([torch.stack([cache[name][0, 1:].mean(0) for cache in caches]).mean(0) for name in names])

    return mean(tiny.POSITIVE) - mean(tiny.NEGATIVE)


def make_hooks(vectors, coefficient, layers=None):
    def hook_for(layer):
        def hook(resid, hook):
            resid[:, -1, :] += coefficient * vectors[layer]
            return resid

        return hook

    chosen = range(len(vectors)) if layers is None else layers
    return [(f"blocks.{layer}.hook_resid_pre", hook_for(layer)) for layer in chosen]


@pytest.fixture(scope="module")
def vectors(tiny_model):
    return mood_vectors(tiny_model)


@pytest.fixture(scope="module")
def curve(tiny_model, vectors):
    return steering.sweep_coefficients(
        tiny_model, make_hooks, vectors, tiny.PROMPTS, (4, -4, 1, -1), max_new_tokens=NEW, with_judge=False
    )


def praise(model, vectors, coefficient) -> float:
    """Return the probability of a word of praise after the prompts."""
    ids = model.tokenizer.convert_tokens_to_ids(["Ġ" + word for word in tiny.GOOD])
    fwd_hooks = make_hooks(vectors, coefficient)
    runs = [model.run_with_hooks(model.to_tokens(p), fwd_hooks=fwd_hooks)[0, -1] for p in tiny.PROMPTS]
    return torch.stack(runs).softmax(-1)[:, ids].sum(-1).mean().item()


def test_the_original_recipe_flips_the_sentiment(tiny_model, vectors):
    """At all layers, ±1 shifts the probability of praise both ways, and ±4 takes it above 0.9 or below 0.1."""
    down, plain, up = (praise(tiny_model, vectors, coefficient) for coefficient in (-1, 0, 1))
    assert 0.4 < plain < 0.6 and up > plain + 0.1 and down < plain - 0.1
    assert praise(tiny_model, vectors, 4) > 0.9 and praise(tiny_model, vectors, -4) < 0.1


def test_the_positive_share_rises_with_the_coefficient(curve):
    assert [point.coefficient for point in curve.points] == [-4, -1, 0, 1, 4] and curve.layers is None
    shares = [point.positive for point in curve.points]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert curve.shift(4) == 1 and 0 < curve.shift(1) <= 1
    assert curve.shift(-4) == -1
    assert curve.at(-4).negative == 1 and curve.at(4).vader > 0.3 > -0.3 > curve.at(-4).vader
    assert all(len(point.completions) == len(tiny.PROMPTS) for point in curve.points)
    assert all(c.prompt == p for point in curve.points for c, p in zip(point.completions, tiny.PROMPTS, strict=True))
    assert all(point.judge is None and point.judge_positive is None for point in curve.points)


def test_a_random_direction_has_less_effect(tiny_model, vectors):
    """Compare probabilities: in this model tiny changes already flip the greedy word."""

    def moved(vectors):
        return abs(praise(tiny_model, vectors, 1) - praise(tiny_model, vectors, -1))

    controls = [moved(steering.random_like(vectors, seed)) for seed in range(6)]
    assert sum(controls) / len(controls) < moved(vectors) / 2


def test_only_the_given_layers_are_steered(tiny_model, vectors):
    seen = []

    def watching(vectors, coefficient, layers=None):
        seen.append((coefficient, layers))
        return make_hooks(vectors, coefficient, layers)

    found = steering.sweep_coefficients(
        tiny_model, watching, vectors, ["the food was"], (2,), layers=range(1, 2), max_new_tokens=2, with_judge=False
    )
    assert seen == [(2.0, [1])] and found.layers == (1,)  # no hooks for coefficient 0, the unsteered model
    steering.sweep_coefficients(
        tiny_model, watching, vectors, ["the food was"], (2,), max_new_tokens=2, with_judge=False
    )
    assert seen[-1] == (2.0, None)


def test_the_judge_reads_prompt_and_completion(tiny_model, vectors, monkeypatch):
    heard = []

    def judge(texts, model, progress):
        heard.extend(texts)
        assert model == "a model"
        return torch.arange(float(len(texts))) - 1

    monkeypatch.setattr(sentiment, "judge", judge)
    found = steering.sweep_coefficients(
        tiny_model, make_hooks, vectors, ["the food was", "my room is"], (1,), max_new_tokens=2, judge_model="a model"
    )
    assert heard == [c.full_text for point in found.points for c in point.completions] and heard[0].startswith(
        "the food was"
    )
    assert [point.judge for point in found.points] == [-0.5, 1.5] and [p.judge_positive for p in found.points] == [
        0.0,
        1.0,
    ]


def completion(text="x", *logprobs):
    return Completion("p", text, tuple(range(len(logprobs))), logprobs)


def test_scores_ignore_the_prompt():
    row = [
        Completion("a horrible, awful day:", " great", (1,), (-1.0,)),
        completion(" awful", -3.0, -2.0),
        completion(" the", -2.0),
        completion(""),
    ]
    (point,) = steering.score([row], [0.5], with_judge=False)
    assert (point.coefficient, point.positive, point.negative) == (0.5, 0.25, 0.25)
    assert point.perplexity == pytest.approx(math.exp(8 / 4)) and point.completions == tuple(row)
    assert point.is_positive == (True, False, False, False)


def test_perplexity_weights_tokens_equally():
    assert steering.perplexity([completion("", -1.0, -1.0, -1.0), completion("", -5.0)]) == pytest.approx(math.exp(2))
    assert math.isnan(steering.perplexity([completion("")]))


def point(coefficient, positive, perplexity):
    return Point(coefficient, positive, 1 - positive, 0.0, None, None, perplexity, ())


def test_shift_and_perplexity_ratio():
    curve = Curve((point(-0.2, 0.1, 8.0), point(0.0, 0.5, 4.0), point(0.1 + 0.1, 0.9, 6.0)))
    assert curve.shift(0.2) == pytest.approx(0.8)
    assert curve.perplexity_ratio(0.2) == curve.perplexity_ratio(-0.2) == 2.0  # the higher perplexity counts
    assert curve.at(0.2) is curve.points[2]
    with pytest.raises(SteeringError, match=r"no coefficient \+0\.3\. Choose one of -0\.2, \+0, \+0\.2"):
        curve.at(0.3)
    assert "completions" not in curve.points[0].figures() and curve.points[0].figures()["perplexity"] == 8.0


def toned(coefficient, tones):
    return Point(coefficient, 0.0, 0.0, 0.0, None, None, 4.0, (), tuple(tones))


def test_shift_intervals_pair_each_prompt_with_itself():
    """Ten of twenty prompts are positive at both coefficients: an unpaired interval would reach below 0."""
    down = [0.9] * 10 + [-0.9] * 10
    up = [0.9] * 14 + [-0.9] * 6  # four of twenty change
    curve = Curve((toned(-0.2, down), toned(0.2, up)))
    low, high = curve.shift_interval(0.2)
    assert 0.0 < low < 0.2 < high < 0.45
    low, high = curve.at(-0.2).positive_interval
    assert low == pytest.approx(0.5 - 1.96 * (0.25 / 20) ** 0.5, abs=0.06) and high == pytest.approx(1 - low, abs=0.06)
    assert curve.shift_interval(0.2) == curve.shift_interval(0.2)  # seeded


def test_the_interval_is_seeded():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).tolist()
    assert mean_interval(values) == mean_interval(values) != mean_interval(values, seed=1)


def test_the_interval_narrows_with_more_prompts():
    def width(n):
        low, high = toned(0.2, [0.9, -0.9] * n).positive_interval
        return high - low

    assert width(200) < 0.5 * width(20)
    assert toned(0.2, [0.9] * 5).positive_interval == (1.0, 1.0)
    assert all(map(math.isnan, toned(0.2, []).positive_interval))


def test_wrong_way_counts_prompts_less_positive_at_plus_c():
    curve = Curve((toned(-0.2, (0.1, 0.5, -0.5, 0.3)), toned(0.2, (0.2, 0.4, 0.0, 0.3))))
    assert curve.wrong_way(0.2) == 0.25 and curve.wrong_way(-0.2) == 0.5  # a tie doesn't count
    assert math.isnan(Curve((toned(-0.2, ()), toned(0.2, ()))).wrong_way(0.2))


def test_figures_include_the_interval_but_no_texts():
    figures = toned(0.2, [0.9, -0.9]).figures()
    assert "tones" not in figures and "completions" not in figures and figures["positive_interval"] == (0.0, 1.0)


def test_relative_norms_ignore_the_coefficients_sign():
    vectors, norms = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([10.0, 4.0])
    assert steering.relative_norms(vectors, norms, -0.2).tolist() == pytest.approx([0.1, 0.05])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(3, 64), r"\[3, 64\].*shape \[2, 64\]"),
        (torch.zeros(64), r"\[64\]"),
        ([torch.zeros(64)] * 2, "are list.*torch.stack"),
        (torch.zeros(2, 64, device="meta"), "are on meta, the model on cpu"),
        (torch.full((2, 64), math.nan), "NaN or infinity"),
        (torch.full((2, 64), math.inf), "NaN or infinity"),
    ],
)
def test_bad_vectors_are_rejected_before_anything_runs(tiny_model, wrong, words):
    with pytest.raises(SteeringError, match=words):
        sweeps.check_vectors(tiny_model, wrong)
    with pytest.raises(SteeringError, match=words):
        steering.sweep_coefficients(
            tiny_model, lambda *_: pytest.fail("make_hooks was called"), wrong, ["the food"], (1,)
        )


def test_layers_out_of_range_are_rejected(tiny_model):
    sweeps.check_vectors(tiny_model, torch.zeros(2, 64), [0, 1])
    for layer in (2, -1, 0.5, "1"):
        with pytest.raises(SteeringError, match=f"Layer {layer!r} doesn't exist.*0 to 1"):
            sweeps.check_vectors(tiny_model, torch.zeros(2, 64), [layer])


@pytest.mark.parametrize("coefficient", ["0.2", None, math.nan, math.inf, True, [0.1]])
def test_coefficients_must_be_finite_numbers(tiny_model, coefficient):
    with pytest.raises(SteeringError, match="isn't a finite number"):
        steering.sweep_coefficients(
            tiny_model, make_hooks, torch.zeros(2, 64), ["the food"], (0.1, coefficient), with_judge=False
        )
