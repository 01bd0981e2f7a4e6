"""Report results from a notebook cell to ``make run``: as a line to read, and as data."""

from __future__ import annotations

import math
from typing import Any

MIME = "application/vnd.homework.report+json"


def report(task: str, passed: bool | None = None, key: str = "", **figures: Any) -> None:
    """Show one line about a task and store its figures in the notebook's output.

    A task may report more than once: ``make run`` merges the reports, and a ``False`` is never overwritten.

    Args:
        task: the task's id, such as ``"1.3"``.
        passed: whether the public check passed; None if nothing was checked.
        key: the key figure in a few words, for the summary table.
        figures: named numbers, strings, arrays, tensors, or lists and dicts of them. NaN and infinities
            become None, since JSON has neither. Pass names with spaces as ``**{"share at +c": 0.9}``.

    Raises:
        TypeError: a figure that JSON can't hold.
    """
    verdict = None if passed is None else bool(passed)
    payload = {"task": task, "passed": verdict, "key": key, "figures": plain(figures)}
    line = _line(task, verdict, key)
    if not _in_kernel():
        print(line)
        return
    from IPython.display import display

    display({"text/plain": line, MIME: payload}, raw=True)


def plain(value: Any) -> Any:
    """Return the value in JSON's types: arrays and tensors become lists, NaN and infinities None.

    Raises:
        TypeError: the value, or a part of it, has no such form.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # numpy's and torch's arrays and scalars
        return plain(value.tolist())
    raise TypeError(
        f"A figure of type {type(value).__name__!r} can't be reported: "
        "choose a number, a string, an array, or a list or dict of these."
    )


def _line(task: str, passed: bool | None, key: str) -> str:
    verdict = {True: "public checks passed", False: "public checks failed", None: ""}[passed]
    return f"Task {task}: " + ("; ".join(part for part in (verdict, key) if part) or "reported")


def _in_kernel() -> bool:
    """Return whether a notebook kernel is running; scripts and IPython's terminal can't show rich displays."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None
