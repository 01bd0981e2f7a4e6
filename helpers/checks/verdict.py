"""Report a check's outcome: one line if it passed, one or two sentences if it failed, no traceback."""

from __future__ import annotations

import functools
import inspect
import linecache
import os
import random
import re
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from helpers.checks.notdone import NotDone
from helpers.checks.staleness import warn_if_stale
from helpers.report import report

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_HELPERS = str(Path(__file__).resolve().parent.parent) + os.sep


class CheckFailed(AssertionError):
    """An answer that isn't right yet; the message names the mistake.

    A notebook shows only the message: the traceback would lead through the check's code.

    Args:
        message: what is wrong and what to do.
        task: the task's id, such as ``"1.3"``; a :func:`public_check`, which knows it, fills it in.
    """

    def __init__(self, message: str, task: str = ""):
        super().__init__(message, task)
        self.message, self.task = message, task

    def __str__(self) -> str:
        return " ".join(part for part in ("✘", self.task, self.message) if part)

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints instead of a traceback."""
        return [str(self)]


def public_check(task: str) -> Callable:
    """Make a function that raises :class:`CheckFailed` into the public check of ``task``.

    The check reports and prints the outcome. It restores the random states and grad mode. It warns if an answer is
    older than its cell.
    :class:`NotDone` passes through.
    """

    def decorate(check: Callable) -> Callable:
        names = list(inspect.signature(check).parameters)

        @functools.wraps(check)
        def checked(*args, **kwargs) -> None:
            warn_if_stale(task, dict(zip(names, args, strict=False)) | kwargs)
            try:
                with _state_restored():
                    check(*args, **kwargs)
            except CheckFailed as failure:
                failure.task = task
                report(task, passed=False, mistake=failure.message)
                raise failure.with_traceback(None) from failure.__cause__
            report(task, passed=True)  # prints the line, too

        return checked

    return decorate


@contextmanager
def _state_restored():
    """Restore random states and grad mode afterwards."""
    python, numpy, grad = random.getstate(), np.random.get_state(), torch.is_grad_enabled()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_grad_enabled(grad)


def must_be_callable(function, name: str) -> None:
    """Raise :class:`CheckFailed` if ``function`` isn't callable."""
    if not callable(function):
        raise CheckFailed(
            f"{name} is {describe(function)}, not a function: pass the function itself, without "
            "brackets after its name."
        )


def call(function: Callable, *args, **kwargs):
    """Call the student's function. An exception becomes one line that points to the student's line.

    Raises:
        CheckFailed: the function raised; the message holds exception, line number and line.
        NotDone: the function is still the stub.
    """
    try:
        return function(*args, **kwargs)
    except (CheckFailed, NotDone):
        raise
    except Exception as error:
        name = getattr(function, "__qualname__", None) or type(function).__name__
        raise CheckFailed(f"{_short(name)} raised {_one_line(error)}{_where(error)}") from error


def call_on_small(function: Callable, n_layers: int, *args, **kwargs):
    """:func:`call` with a model or vectors of ``n_layers``; the error says if a layer index was too large.

    This happens if a function uses the notebook's number of layers. Other errors get no hint.
    """
    try:
        return call(function, *args, **kwargs)
    except CheckFailed as failure:
        if _beyond_the_last(failure.__cause__, n_layers):
            failure.message += f" (The check works with {n_layers} layers: don't use the notebook's `n_layers`.)"
        raise


def _beyond_the_last(error: BaseException | None, n_layers: int) -> bool:
    """Return whether the error is a look-up of a layer that a model of ``n_layers`` layers doesn't have."""
    if isinstance(error, KeyError):
        return any(int(block) >= n_layers for block in re.findall(r"\bblocks\.(\d+)\.", str(error)))
    return isinstance(error, IndexError) and f"dimension 0 with size {n_layers}" in str(error)


def _short(name: str) -> str:
    return name.rpartition("<locals>.")[2]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else text[:199] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _where(error: BaseException) -> str:
    """Return the last line of the student's source in the traceback, as ', at line 3: `…`'."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_students(frame.filename):
            line = linecache.getline(frame.filename, frame.lineno or 0).strip()
            return f", at line {frame.lineno}: `{line}`" if line else f", at line {frame.lineno}"
    return ""


def _is_students(filename: str) -> bool:
    """Return True for a notebook cell or a script, False for libraries, this package and generated code."""
    if filename.startswith("<") and not filename.startswith("<ipython"):
        return False
    return not filename.startswith((*_LIBRARIES, _HELPERS))


def describe(value) -> str:
    """Describe a value in a few words for a message: 'None', 'a tensor of shape [3, 16]', 'a list of 4'."""
    if value is None:
        return "None"
    if isinstance(value, torch.Tensor | np.ndarray):
        kind = "a tensor" if isinstance(value, torch.Tensor) else "a NumPy array"
        return f"{kind} of shape {list(value.shape)}"
    if isinstance(value, list | tuple | set | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str | int | float):
        return f"the {type(value).__name__} {value!r:.60}"
    if inspect.isgenerator(value):
        return "a generator (did you mean return instead of yield?)"
    return f"a {type(value).__name__}"
