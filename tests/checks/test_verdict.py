"""Shared behaviour of all checks: random states are restored, and a notebook shows one line."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from helpers.checks.toy import toy_model
from helpers.checks.verdict import CheckFailed, call, public_check


@public_check("9.9")
def task_9_9(function):
    """A check that only calls."""
    call(function)


def test_random_states_and_grad_mode_are_restored(passes):
    """The autouse fixture compares the states; this answer does what it can to change them."""

    def answer():
        random.random()
        np.random.seed(1)
        torch.manual_seed(1)
        torch.rand(3)
        torch.set_grad_enabled(False)

    passes(task_9_9, answer)
    assert torch.is_grad_enabled()


def test_random_states_are_restored_after_a_failure(complaint):
    def answer():
        torch.manual_seed(1)
        np.random.rand(2)
        raise RuntimeError("two\nlines")

    assert "RuntimeError: two lines, at line" in complaint(task_9_9, answer)


def test_first_boot_of_the_toy_leaves_random_numbers_alone():
    toy_model.cache_clear()
    before = torch.random.get_rng_state()
    toy_model()
    assert torch.equal(before, torch.random.get_rng_state())


def test_toy_puts_bos_first_and_splits_at_spaces(model):
    bos, end = model.tokenizer.bos_token_id, model.tokenizer.eos_token_id
    assert model.to_tokens("my day")[0].tolist()[0] == bos and model.to_tokens("my day").shape == (1, 3)
    assert model.to_tokens("the food was good").shape == (1, 5) and bos != end
    assert model.to_string(model.to_tokens("the food was good")[0, 1:]).strip() == "the food was good"


def test_error_deep_in_a_library_points_to_the_students_line(complaint):
    def helper(x):
        return torch.stack(x)

    def answer():
        return helper([torch.zeros(2), torch.zeros(3)])

    assert "`return torch.stack(x)`" in complaint(task_9_9, answer)


def test_long_messages_are_cut(complaint):
    def answer():
        raise ValueError("x" * 5000)

    assert len(complaint(task_9_9, answer)) < 400


def test_interrupts_pass_through():
    def answer():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        task_9_9(answer)


def test_original_error_is_kept_as_cause():
    def answer():
        raise KeyError("a")

    with pytest.raises(CheckFailed) as caught:
        task_9_9(answer)
    assert isinstance(caught.value.__cause__, KeyError)


def test_task_can_be_named_in_the_exception():
    assert str(CheckFailed("The coefficient is too large.", "1.3")) == "✘ 1.3 The coefficient is too large."
    assert str(CheckFailed("The coefficient is too large.")) == "✘ The coefficient is too large."


def test_notebook_shows_one_line():
    """IPython asks the exception for its traceback: this is the hook that it uses."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    shell.user_ns["failure"] = CheckFailed("the sign is wrong.", "1.1")
    with capture_output() as captured:
        shell.run_cell("raise failure")
    InteractiveShell.clear_instance()
    assert captured.stdout.strip().splitlines()[-1] == "✘ 1.1 the sign is wrong." and "Traceback" not in captured.stdout
