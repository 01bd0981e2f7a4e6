"""Fixtures for tests of checks: run a check, read its message, and verify that it restores all state."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformer_lens.hook_points import HookPoint

from helpers.checks import CheckFailed
from helpers.checks.toy import toy_model


def random_states() -> tuple:
    """Return the states of all random generators on the CPU, comparable with ==."""
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.random.get_rng_state().numpy().tobytes()


def hook_count(model) -> int:
    """Return the number of hooks in the model."""
    points = [m for m in model.modules() if isinstance(m, HookPoint)]
    return sum(len(point._forward_hooks) + len(point.fwd_hooks) for point in points)


@pytest.fixture
def model():
    return toy_model()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Fail a test if its check leaves hooks behind or changes random states or grad mode."""
    before = random_states(), hook_count(toy_model()), torch.is_grad_enabled()
    yield
    assert (random_states(), hook_count(toy_model()), torch.is_grad_enabled()) == before


@pytest.fixture
def complaint():
    """Return ``complaint(check, *answers)``: it runs a check that must fail and returns the message."""

    def run(check, *answers) -> str:
        with pytest.raises(CheckFailed) as caught:
            check(*answers)
        (line,) = caught.value._render_traceback_()
        assert line.count("\n") <= 1 and line == str(caught.value)
        assert line.startswith("✘ " + check.__name__.removeprefix("task_").replace("_", "."))
        return line

    return run


@pytest.fixture
def passes(capsys):
    """Return ``passes(check, *answers)``: it runs a check that must pass and must print so."""

    def run(check, *answers) -> None:
        check(*answers)
        printed = capsys.readouterr().out
        assert "public checks passed" in printed and "full marks" not in printed

    return run
