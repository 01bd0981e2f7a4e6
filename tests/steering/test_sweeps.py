"""Sweeps: cached settings, interrupts, comparisons, layer maps, diversity, tables."""

from __future__ import annotations

import pytest
import torch

from helpers import steering
from helpers.hooks import Completion, generation
from helpers.steering import curves, layer_maps
from helpers.steering.curves import Curve, SteeringError
from helpers.steering.sweeps import Setting
from tests import tiny
from tests.steering.test_curves import make_hooks, mood_vectors

NEW = 4
PROMPTS = tiny.PROMPTS[:4]


@pytest.fixture(scope="module")
def vectors(tiny_model):
    return mood_vectors(tiny_model)


def counting():
    """Return a make_hooks that records its calls, and the list of calls."""
    asked = []

    def watching(vectors, coefficient, layers=None):
        asked.append((coefficient, layers))
        return make_hooks(vectors, coefficient, layers)

    return watching, asked


def texts(rows):
    return [[completion.text for completion in row] for row in rows]


def test_kept_settings_are_not_computed_again(tiny_model, vectors):
    watching, asked = counting()
    settings, kept = [Setting(vectors, c) for c in (-2.0, 0.0, 2.0)], {}
    first = steering.sweep(tiny_model, watching, settings, PROMPTS, NEW, kept=kept)
    assert [c for c, _ in asked] == [-2.0, 2.0] and len(kept) == 3
    again = steering.sweep(tiny_model, watching, [*settings, Setting(vectors, 1.0)], PROMPTS, NEW, kept=kept)
    assert [c for c, _ in asked] == [-2.0, 2.0, 1.0] and texts(again)[:3] == texts(first)
    assert texts(first) == texts(steering.sweep(tiny_model, make_hooks, settings, PROMPTS, NEW))


@pytest.mark.parametrize("change", ["vectors", "layers", "prompts", "new", "past", "function"])
def test_kept_results_are_only_used_for_the_same_setting(tiny_model, vectors, change):
    """Changing vectors, layers, prompts, length, past or function computes a new result."""
    kept = {}
    steering.sweep(tiny_model, make_hooks, [Setting(vectors, 2.0)], PROMPTS, NEW, kept=kept)
    watching, _ = counting()
    function = watching if change == "function" else make_hooks
    setting = Setting(-vectors if change == "vectors" else vectors, 2.0, (1,) if change == "layers" else None)
    prompts = PROMPTS[:2] if change == "prompts" else PROMPTS
    past = "steered" if change == "past" else "clean"
    arguments = (tiny_model, function, [setting], prompts, 2 if change == "new" else NEW, past)
    assert texts(steering.sweep(*arguments, kept=kept)) == texts(steering.sweep(*arguments))
    assert len(kept) == 2


def test_an_interrupted_sweep_resumes(tiny_model, vectors, monkeypatch):
    monkeypatch.setattr("helpers.steering.sweeps.MAX_ROWS", 2 * len(PROMPTS))  # one setting at a time
    settings, kept, left = [Setting(vectors, c) for c in (-2.0, -1.0, 1.0, 2.0)], {}, [2]

    def interrupted(vectors, coefficient, layers=None):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return make_hooks(vectors, coefficient, layers)

    with pytest.raises(KeyboardInterrupt):
        steering.sweep(tiny_model, interrupted, settings, PROMPTS, NEW, kept=kept)
    assert len(kept) == 2
    left[0] = 2  # exactly enough for the missing settings
    found = steering.sweep(tiny_model, interrupted, settings, PROMPTS, NEW, kept=kept)
    assert texts(found) == texts(steering.sweep(tiny_model, make_hooks, settings, PROMPTS, NEW))


def test_compare_equals_a_sweep_of_each_setting_alone(tiny_model, vectors):
    settings = {
        "all": Setting(vectors, 3.0),
        "second layer": Setting(vectors, 5.0, (1,)),
        "flipped": Setting(vectors, -3.0),
    }
    found = steering.compare(tiny_model, make_hooks, settings, PROMPTS, NEW)
    for name, setting in settings.items():
        alone = steering.sweep_coefficients(
            tiny_model,
            make_hooks,
            vectors,
            PROMPTS,
            [-setting.coefficient, setting.coefficient],
            setting.layers,
            NEW,
            with_judge=False,
        )
        curve, c = found[name]
        assert c == setting.coefficient and curve.shift(c) == alone.shift(c) and curve.layers == setting.layers
        assert curve.perplexity_ratio(c) == pytest.approx(alone.perplexity_ratio(c), rel=1e-4)
    assert found["flipped"][0].shift(-3.0) == -found["all"][0].shift(3.0) != 0


def test_matched_coefficient_gives_equal_sizes():
    vectors, norms = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]), torch.tensor([10.0, 4.0, 1.0])
    assert steering.matched_coefficient(vectors, norms, [0], 1.0) == pytest.approx(2.0)  # 1 / (5 / 10)
    assert steering.matched_coefficient(vectors, norms, [0, 1], 0.3) == pytest.approx(0.4)  # 0.3 / (5/10 + 1/4)
    with pytest.raises(SteeringError, match=r"layers \[2\] are all zero"):
        steering.matched_coefficient(vectors, norms, [2], 1.0)


def test_layer_map_equals_a_sweep_per_setting(tiny_model, vectors):
    norms, sets, sizes = torch.tensor([2.0, 4.0]), [[0], [0, 1], [1]], [1.0, 4.0]
    found = layer_maps.layer_map(tiny_model, make_hooks, vectors, norms, PROMPTS, sets, sizes, NEW)
    assert found.shift.shape == found.perplexity_ratio.shape == (3, 2)
    for i, layers in enumerate(sets):
        for j, size in enumerate(sizes):
            c = steering.matched_coefficient(vectors, norms, layers, size)
            alone = steering.sweep_coefficients(
                tiny_model, make_hooks, vectors, PROMPTS, [-c, c], layers, NEW, with_judge=False
            )
            assert found.coefficients[i][j] == c
            assert found.shift[i, j] == pytest.approx(alone.shift(c)) and found.perplexity_ratio[i, j] == pytest.approx(
                alone.perplexity_ratio(c), rel=1e-4
            )


def made_curve(shift: float, fluency: float, c: float) -> Curve:
    def point(coefficient, positive, perplexity):
        return steering.Point(coefficient, positive, 0.0, 0.0, None, None, perplexity, ())

    return Curve((point(-c, 0.5 - shift / 2, 1.0), point(0.0, 0.5, 1.0), point(c, 0.5 + shift / 2, fluency)))


def test_best_has_the_largest_shift_within_the_perplexity_ratio():
    figures = {(0,): [(0.9, 1.8), (0.4, 1.2)], (1,): [(0.6, 1.4), (0.6, 1.3)]}
    made = tuple(
        tuple(made_curve(*pair, c) for pair, c in zip(row, (1.0, 2.0), strict=True)) for row in figures.values()
    )
    found = layer_maps.LayerMap(tuple(figures), (0.3, 0.5), made, ((1.0, 2.0),) * 2)
    assert found.best(1.5) == ((1,), 2.0)  # of equal shifts, the lower perplexity ratio
    assert found.best(2.0) == ((0,), 1.0)
    assert found.best(1.0) == ((0,), 2.0)  # none qualifies: the lowest perplexity ratio


def test_diversity_is_the_share_of_distinct_bigrams():
    def point(*written):
        row = tuple(Completion("p", text, (1,), (-1.0,)) for text in written)
        return steering.score([row], [0.1], with_judge=False)[0]

    assert point("a b c", "d e").diversity == 1
    assert point("a b", "A b").diversity == 0.5  # over all texts, ignoring case
    assert point("a b a b a").diversity == 0.5


def test_table_shows_the_figures(tiny_model, vectors):
    found = steering.compare(tiny_model, make_hooks, {"all layers": Setting(vectors, 4.0)}, PROMPTS, NEW)
    curve, c = found["all layers"]
    figures = curves.figures(curve, c)
    assert (
        figures["shift"] == curve.shift(4.0)
        and figures["wrong way"] == curve.wrong_way(4.0)
        and figures["prompts"] == 4
    )
    line = steering.table(found).split("\n")[1]
    assert (
        line.startswith("all layers ±4 ")
        and f"{curve.shift(4.0):+.2f}" in line
        and f"× {curve.perplexity_ratio(4.0):.2f}" in line
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model, v: steering.sweep(model, make_hooks, [], PROMPTS), "at least one setting"),
        (lambda model, v: steering.compare(model, make_hooks, {}, PROMPTS), "at least one setting"),
        (
            lambda model, v: steering.compare(model, make_hooks, {"a": Setting(v, 0.0)}, PROMPTS),
            "'a' has the coefficient 0",
        ),
        (
            lambda model, v: steering.sweep_coefficients(model, make_hooks, v, PROMPTS, []),
            "list of coefficients is empty",
        ),
        (
            lambda model, v: layer_maps.layer_map(model, make_hooks, v, torch.ones(2), PROMPTS, [[7]], [1.0]),
            "Layer 7 doesn't exist",
        ),
        (
            lambda model, v: steering.sweep(model, make_hooks, [Setting(v, float("nan"))], PROMPTS),
            "isn't a finite number",
        ),
    ],
)
def test_bad_input_is_rejected_before_anything_runs(tiny_model, vectors, monkeypatch, call, words):
    monkeypatch.setattr(generation, "Decoder", lambda *_: pytest.fail("the model ran"))
    with pytest.raises(SteeringError, match=words):
        call(tiny_model, vectors)
