"""ΔCE and KL of reconstructions, on the tiny model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers import harvest, sae
from helpers.caching.activations import HarvestError
from helpers.hooks import HookError
from helpers.sae import loss_recovered
from tests.conftest import hooks_left

HOOK = "blocks.1.hook_resid_pre"
LINES = [
    "the food was great . i love it .",
    "my room is awful . we hate the staff .",
    "on monday we went to the city . it was lovely .",
] * 4


class Coder(nn.Module):
    """Module with an identity encoder that records its inputs, and ``change`` as the decoder."""

    def __init__(self, change):
        super().__init__()
        self.seen, self.change = [], change

    def encode(self, x):
        self.seen.append(x)
        return x

    def decode(self, h):
        return self.change(h)


@pytest.fixture
def no_sinks(monkeypatch):
    monkeypatch.setattr(loss_recovered, "mark_sinks", lambda values: torch.zeros(len(values), dtype=torch.bool))


def test_a_perfect_reconstruction_changes_nothing(tiny_model):
    found = sae.replacement(tiny_model, Coder(lambda h: h), LINES, HOOK, progress=None)
    assert found.delta == pytest.approx(0, abs=1e-5) and found.kl == pytest.approx(0, abs=1e-5)
    assert found.recovered == pytest.approx(1, abs=1e-4) and found.ce_mean > found.ce + 0.1
    assert hooks_left(tiny_model) == 0


def test_values_equal_those_computed_by_hand(tiny_model, no_sinks):
    """All tokens but BOS are replaced, and only predictions made at replaced tokens are counted."""
    line, change = LINES[2], lambda h: 0.5 * h
    found = sae.replacement(tiny_model, Coder(change), [line], HOOK, progress=None)
    ids = tiny_model.to_tokens(line)

    def halve(value, hook):
        return torch.cat([value[:, :1], change(value[:, 1:])], 1)

    with torch.inference_mode():
        clean = tiny_model.original_model(ids).logits
        with tiny_model.hooks(fwd_hooks=[(HOOK, halve)]):
            replaced = tiny_model.original_model(ids).logits
    expected = [nn.functional.cross_entropy(logits[0, 1:-1], ids[0, 2:]).item() for logits in (clean, replaced)]
    assert (found.ce, found.ce_replaced) == (pytest.approx(expected[0], rel=1e-5), pytest.approx(expected[1], rel=1e-5))
    assert found.tokens == ids.shape[1] - 2
    p, q = (logits[0, 1:-1].softmax(-1) for logits in (clean, replaced))
    assert found.kl == pytest.approx((p * (p / q).log()).sum(-1).mean().item(), rel=1e-4) and found.kl > 1e-3


def test_the_mean_as_reconstruction_recovers_nothing(tiny_model, no_sinks):
    mean = harvest(tiny_model, LINES, HOOK, progress=False).values.mean(0)
    found = sae.replacement(tiny_model, Coder(lambda h: mean.expand_as(h)), LINES, HOOK, progress=None)
    assert found.recovered == pytest.approx(0, abs=0.02) and found.ce_replaced == pytest.approx(found.ce_mean, abs=0.01)


def test_padding_and_other_lines_make_no_difference(tiny_model, no_sinks):
    """A batch of lines of unequal length gives the average of its single lines."""
    coder, lines = Coder(lambda h: -h), LINES[:3]
    together = sae.replacement(tiny_model, coder, lines, HOOK, progress=None)
    alone = [sae.replacement(tiny_model, coder, [line], HOOK, progress=None) for line in lines]
    for field in ("ce", "ce_replaced", "kl"):
        expected = sum(getattr(each, field) * each.tokens for each in alone) / sum(each.tokens for each in alone)
        assert getattr(together, field) == pytest.approx(expected, rel=1e-5)


def test_sinks_and_bos_keep_their_activation(tiny_model, monkeypatch):
    # Mark the first token after BOS.
    monkeypatch.setattr(loss_recovered, "mark_sinks", lambda values: torch.arange(len(values)) == 0)
    coder = Coder(lambda h: h)
    found = sae.replacement(tiny_model, coder, LINES[:1], HOOK, progress=None)
    n = tiny_model.to_tokens(LINES[0]).shape[1]
    assert found.sinks_left_out == 1 and len(coder.seen[0]) == n - 2 and found.tokens == n - 3
    assert "1 sinks left out" in str(found)


def test_long_lines_are_cut(tiny_model):
    long = " ".join(LINES)
    found = sae.replacement(tiny_model, Coder(lambda h: h), [long], HOOK, context=20, progress=None)
    assert found.tokens + found.sinks_left_out <= 18


def test_no_lines_and_unknown_hook_points_are_refused(tiny_model):
    with pytest.raises(HarvestError, match="at least one line"):
        sae.replacement(tiny_model, Coder(lambda h: h), [], HOOK, progress=None)
    with pytest.raises(HookError):
        sae.replacement(tiny_model, Coder(lambda h: h), LINES, "blocks.9.hook_resid_pre", progress=None)
