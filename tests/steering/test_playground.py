"""The playground without a browser: its output word by word, and the figure that stays."""

from __future__ import annotations

import pytest
import torch

from helpers import hooks, steering
from helpers.hooks import Completion
from helpers.hooks.sampling import Sampling
from helpers.steering.curves import SteeringError
from helpers.steering.playground import TONE_COLOURS, _table
from tests.steering.test_curves import make_hooks, mood_vectors


class Shown:
    """A fake display that records its updates."""

    def __init__(self):
        self.updates = []

    def update(self, value):
        self.updates.append(value)


@pytest.fixture
def playground(tiny_model):
    found = steering.Playground(
        tiny_model, make_hooks, mood_vectors(tiny_model), "the food was", 3.0, largest=5.0, max_new_tokens=5
    )
    found._shown = Shown()
    return found


def test_three_columns_grow_word_by_word_and_end_as_a_figure(playground, tiny_model):
    playground.write()
    tables, picture = playground._shown.updates[:-1], playground._shown.updates[-1]
    assert len(tables) == 5 and hasattr(picture, "savefig")
    sets = [make_hooks(playground.vectors, -3.0), [], make_hooks(playground.vectors, 3.0)]
    expected = hooks.generate_many(tiny_model, ["the food was"], sets, 5)
    written = [rows[0] for rows in playground.completions.values()]
    assert [c.token_ids for c in written] == [row[0].token_ids for row in expected]
    assert list(playground.completions) == ["−3", "unsteered", "+3"]
    assert all(completion.text.strip() in tables[-1].data for completion in written)
    assert written[0].text.strip() not in tables[0].data  # the first table has only one token


def test_changing_layers_or_coefficient_writes_again(playground):
    playground.layers.value = (1, 1)
    assert playground.completions and playground._hook_sets(2.0)[0][0][0] == "blocks.1.hook_resid_pre"
    assert [len(hooks_) for hooks_ in playground._hook_sets(2.0)] == [1, 0, 1]
    before = len(playground._shown.updates)
    playground.coefficient.value = 1.0
    assert len(playground._shown.updates) > before and next(iter(playground.completions)) == "−1"


def test_the_seed_only_matters_when_sampling(playground):
    assert playground._sampling() is None
    playground.greedy.value, playground.seed.value = False, 7
    assert playground._sampling() == Sampling(temperature=0.8, top_p=0.95, seed=7)


def test_errors_are_shown_and_the_last_completions_kept(playground):
    playground.write()
    kept = playground.completions
    playground.prompt.value = "  "
    playground.write()
    assert "is empty" in playground._shown.updates[-1].data and playground.completions is kept


def test_text_is_escaped():
    found = [Completion("<b>&", " <script>alert(1)</script>", (1,), (-1.0,))]
    shown = _table(["<c>"], found)
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "&lt;b&gt;&amp;" in shown and "&lt;c&gt;" in shown


def test_colours_follow_vader():
    texts = {" great": TONE_COLOURS[1], " awful": TONE_COLOURS[-1], " the": TONE_COLOURS[0]}
    for text, colour in texts.items():
        assert colour in _table(["c"], [Completion("p", text, (1,), (-1.0,))])


def test_bad_vectors_are_rejected(tiny_model):
    with pytest.raises(SteeringError, match=r"pass one tensor of shape \[2, 64\]"):
        steering.Playground(tiny_model, make_hooks, torch.zeros(3, 64))


def test_show_displays_the_controls_and_one_output(tiny_model, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "helpers.steering.playground.display", lambda value, **kwargs: shown.append((value, kwargs)) or Shown()
    )
    found = steering.Playground(tiny_model, make_hooks, mood_vectors(tiny_model), "the food was", max_new_tokens=2)
    found.show()
    assert shown[0][0] is found.box and shown[1][1] == {"display_id": True} and found.completions
