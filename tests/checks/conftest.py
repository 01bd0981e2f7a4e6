"""Helpers for tests of checks: what a check said, and that it left nothing behind."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformer_lens.hook_points import HookPoint

from helpers.checks import CheckFailed
from helpers.checks.toy import toy_model


def random_states() -> tuple:
    """The states of all random generators on the CPU, comparable with ==."""
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.random.get_rng_state().numpy().tobytes()


def hook_count(model) -> int:
    points = [m for m in model.modules() if isinstance(m, HookPoint)]
    return sum(len(point._forward_hooks) + len(point.fwd_hooks) for point in points)


@pytest.fixture
def model():
    return toy_model()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Every test of a check is also a test that hooks, random states and grad mode are as before."""
    before = random_states(), hook_count(toy_model()), torch.is_grad_enabled()
    yield
    assert (random_states(), hook_count(toy_model()), torch.is_grad_enabled()) == before


@pytest.fixture
def complaint():
    """``complaint(check, *answers)``: the message of the check that has to fail, in one or two lines."""

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
    """``passes(check, *answers)``: the check has to pass, and says so in one line."""

    def run(check, *answers) -> None:
        check(*answers)
        said = capsys.readouterr().out
        assert "public checks passed" in said and "full marks" not in said

    return run
