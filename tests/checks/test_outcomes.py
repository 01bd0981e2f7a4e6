"""Checks of outcomes pass right ones, name what is wrong with wrong ones, and don't judge random weights."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from helpers.caching.activations import Activations, mark_sinks
from helpers.checks import outcomes
from helpers.checks.meaning import why_meaningless
from helpers.checks.toy import toy_model
from helpers.checks.verdict import CheckFailed
from helpers.hooks import Completion
from helpers.steering.curves import Curve, Point

ANY = object()  # a model of which nothing is asked: whether it knows English is decided by a fixture


@pytest.fixture
def knows_english(monkeypatch):
    monkeypatch.setattr(outcomes, "why_meaningless", lambda model: None)


@pytest.fixture
def reports(monkeypatch):
    """What a check reports: ``(task, passed, key, figures)``."""
    found = []
    monkeypatch.setattr(
        outcomes, "report", lambda task, passed, key, **figures: found.append((task, passed, key, figures))
    )
    return found


def fails(words: str, check, *args, **kwargs) -> None:
    with pytest.raises(CheckFailed, match=words) as failure:
        check(*args, **kwargs)
    assert re.match(r"✘ [12]\.\d \S", str(failure.value))  # the task first, then what is wrong


def point(coefficient, positive, perplexity=4.0, prompts=40):
    completions = (Completion("p", "t", (1,), (-1.0,)),) * prompts
    return Point(coefficient, positive, 1 - positive, 0.0, None, None, perplexity, completions)


def curve(up=0.9, down=0.1, cost=1.4, prompts=40, layers=None):
    return Curve(
        (point(-0.2, down, 4 * cost, prompts), point(0.0, 0.5, 4.0, prompts), point(0.2, up, 4.0, prompts)), layers
    )


# 1.3 --------------------------------------------------------------------------------------------------


def test_a_good_coefficient_passes(knows_english, reports):
    outcomes.task_1_3(ANY, curve(), curve(0.55, 0.5), 0.2, [3, 4])
    ((task, passed, key, figures),) = reports
    assert (task, passed) == ("1.3", True) and "shift +0.80" in key and "× 1.40" in key and "random 0.05" in key
    assert figures["shift"] == pytest.approx(0.8) and len(figures["coefficient sweep"]) == 3


@pytest.mark.parametrize(
    ("found", "coefficient", "layers", "words"),
    [
        (curve(0.1, 0.9), 0.2, [], "is a sign reversed"),
        (curve(0.7, 0.3), 0.2, [], "moves by 0.40; more than 0.5.*larger coefficient"),
        (curve(0.5, 0.5), 0.2, [], "moves by 0.00"),
        (curve(cost=2.5), 0.2, [], "falls apart: perplexity is 2.5 times"),
        (curve(), -0.2, [], "best_coefficient is -0.2: give a positive number"),
        (curve(), 0.3, [], r"no coefficient \+0\.3\. Choose one of -0\.2, \+0, \+0\.2"),
        (curve(), 0, [], "best_coefficient is 0"),
        (curve(), math.nan, [], "best_coefficient is nan"),
        (curve(), None, [], "best_coefficient is None: a number"),
        (curve(), "many", [], "best_coefficient is 'many': a number"),
        (curve(layers=(1, 2)), 0.2, [3, 4], r"layers \[1, 2\], not on best_layers"),
    ],
)
def test_bad_coefficients_fail(knows_english, reports, found, coefficient, layers, words):
    fails(words, outcomes.task_1_3, ANY, found, curve(0.5, 0.5), coefficient, layers)
    assert reports[-1][1] is False


def test_both_problems_are_named(knows_english, reports):
    fails("sign reversed.*falls apart", outcomes.task_1_3, ANY, curve(0.1, 0.9, cost=3), curve(0.5, 0.5), 0.2, [])


def test_few_prompts_decide_the_direction_only(knows_english, reports):
    control = curve(0.5, 0.5)
    outcomes.task_1_3(ANY, curve(0.6, 0.4, cost=3, prompts=8), control, 0.2, [])
    assert reports[-1][1] is True
    for up, down, words in ((0.4, 0.6, "sign reversed"), (0.5, 0.5, "moves by 0.00")):
        fails(words, outcomes.task_1_3, ANY, curve(up, down, prompts=8), control, 0.2, [])


# 2.3 and 2.7 ------------------------------------------------------------------------------------------


class Coder(nn.Module):
    """Latents: the first ``kept`` dimensions, split in sign; so its L0 is ``kept`` and its FVU what is left over."""

    def __init__(self, kept: int, dead: int = 0, decode=None):
        super().__init__()
        self.unused, self.kept, self.dead = nn.Parameter(torch.zeros(1)), kept, dead
        if decode:
            self.decode = decode

    def encode(self, x):
        part = x[:, : self.kept]
        return torch.cat([part.relu(), (-part).relu(), torch.zeros(len(x), self.dead)], 1)

    def decode(self, h):
        back = h[:, : self.kept] - h[:, self.kept : 2 * self.kept]
        return torch.cat([back, torch.zeros(len(h), 200 - self.kept)], 1)


@pytest.fixture(scope="module")
def held_out():
    values = torch.randn(300, 200, generator=torch.Generator().manual_seed(0)) * torch.linspace(2, 0.1, 200)
    values[7] *= 1000
    ids = torch.arange(300)
    return Activations(values, ids, ids + 1, ids, mark_sinks(values))


def test_an_sae_within_bounds(knows_english, reports, held_out):
    outcomes.task_2_3(ANY, Coder(100), held_out)
    ((task, passed, key, figures),) = reports
    assert (task, passed) == ("2.3", True) and figures["l0"] == 100 and figures["fvu"] < 0.35
    assert figures["sinks_left_out"] == 1 and "FVU" in key


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Coder(20), "FVU is 0.[67].*at most 0.35"),
        (Coder(180), "L0 is 180; at most 128"),
        (Coder(100, dead=200), "50% of the latents never fire; at most 25%"),
        (Coder(180, dead=200), "L0 is 180.*36% of the latents"),
        (Coder(100, decode=lambda h: torch.full((len(h), 200), math.nan)), "isn't finite"),
        (Coder(100, decode=lambda h: h @ torch.zeros(3, 3)), "can't be evaluated: RuntimeError"),
        (nn.Linear(2, 2), "can't be evaluated: AttributeError.*encode"),
        (None, "can't be evaluated"),
    ],
)
def test_saes_out_of_bounds(knows_english, reports, held_out, module, words):
    fails(words, outcomes.task_2_3, ANY, module, held_out)
    assert reports[-1][:2] == ("2.3", False)


def test_a_better_sae(knows_english, reports, held_out):
    better = Coder(50, decode=lambda h: 1.0 * Coder(50).decode(h))
    worse = Coder(50, decode=lambda h: 0.5 * Coder(50).decode(h))
    outcomes.task_2_7(ANY, better, worse, held_out)
    assert reports[-1][:2] == ("2.7", True)
    fails("yours must be smaller", outcomes.task_2_7, ANY, worse, better, held_out)
    fails("yours must be smaller", outcomes.task_2_7, ANY, better, better, held_out)  # the same isn't better
    fails(
        "L0 is 60.0, and the reference's is 50.0.*may not be larger", outcomes.task_2_7, ANY, Coder(60), worse, held_out
    )
    fails("can't be evaluated", outcomes.task_2_7, ANY, None, worse, held_out)


# 2.6 --------------------------------------------------------------------------------------------------


def written(texts, logprob=-1.0):
    return [Completion("I think that", text, (1, 2), (logprob, logprob)) for text in texts]


PLAIN = [" it is a nice day", " we can go home", " the house is red", " it rains"]
FAMILY = [" my mother is here", " his father was", " her sister and brother", " it rains"]


def test_a_latent_that_steers(knows_english, reports):
    label = "family word"
    assert (
        outcomes.label_share(ANY, written(FAMILY), label) == 0.75
        and outcomes.label_share(ANY, written(PLAIN), label) == 0
    )
    outcomes.task_2_6(ANY, written(PLAIN), written(FAMILY, -1.5), label)
    ((task, passed, key, figures),) = reports
    assert (task, passed) == ("2.6", True) and figures["perplexity ratio"] == pytest.approx(math.exp(0.5))
    assert "0.00 → 0.75" in key


def test_latents_that_do_not_steer_fail(knows_english, reports):
    fails("rises by 0.00; 0.3 is needed", outcomes.task_2_6, ANY, written(FAMILY), written(FAMILY), "family word")
    fails("rises by -0.75", outcomes.task_2_6, ANY, written(FAMILY), written(PLAIN), "family word")
    fails(
        "falls apart: perplexity is 7.4 times",
        outcomes.task_2_6,
        ANY,
        written(PLAIN),
        written(FAMILY, -3.0),
        "family word",
    )
    fails(
        "no label 'families': choose one of .*family word",
        outcomes.task_2_6,
        ANY,
        written(PLAIN),
        written(FAMILY),
        "families",
    )
    assert all(passed is False for _, passed, _, _ in reports)


# What isn't judged ------------------------------------------------------------------------------------


def checks(held_out, quick=False):
    """Every check with an outcome that would fail, were it judged."""
    quick = {"quick": quick} if quick else {}
    yield "1.3", lambda m: outcomes.task_1_3(m, curve(0.1, 0.9), curve(0.5, 0.5), 0.2, [])
    yield "2.3", lambda m: outcomes.task_2_3(m, Coder(20), held_out, **quick)
    yield "2.6", lambda m: outcomes.task_2_6(m, written(FAMILY), written(PLAIN), "family word", **quick)
    yield "2.7", lambda m: outcomes.task_2_7(m, Coder(20), Coder(20), held_out, **quick)


def test_random_weights_are_not_judged(reports, held_out):
    for task, check in checks(held_out):
        reports.clear()
        check(toy_model())
        ((found, passed, key, figures),) = reports
        assert (found, passed) == (task, None) and "not judged: the model predicts English no better than chance" in key
        assert figures  # measured all the same


def test_a_quick_budget_is_not_judged(knows_english, reports, held_out):
    for task, check in list(checks(held_out, quick=True))[1:]:
        reports.clear()
        check(ANY)
        ((found, passed, key, _),) = reports
        assert (found, passed) == (task, None) and "quick budget" in key


def test_nonsense_fails_whatever_the_model(reports, held_out):
    """Skipping is for figures, not for mistakes."""
    fails("a number is needed", outcomes.task_1_3, toy_model(), curve(), curve(), "x", [])
    fails("can't be evaluated", outcomes.task_2_3, toy_model(), None, held_out, quick=True)


def test_random_weights_cannot_be_asked_for_meaning(llama):
    assert "no better than chance" in why_meaningless(toy_model()) and "no better than chance" in why_meaningless(llama)


def test_smollm2_knows_english(smollm2):
    assert why_meaningless(smollm2) is None


def test_bounds_are_wide_enough_for_the_reference():
    """A check that the reference solution can't pass would be a trap: these are the design's measured figures."""
    assert outcomes.MAX_FVU > 0.28 and outcomes.MAX_L0 >= 32 and outcomes.MAX_DEAD >= 0.05
