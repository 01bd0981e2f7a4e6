"""Warn if a check gets an older answer than the one in the notebook, because the cell that defines it failed.

After a SyntaxError the kernel still has the function, class or value that the cell defined before.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import warnings
from collections.abc import Iterator, Mapping


def warn_if_stale(task: str, answers: Mapping[str, object]) -> None:
    """Print a line per answer whose cell failed when it last ran. Outside a notebook nothing is known or printed.

    Args:
        answers: the check's arguments by name. A function or class goes by its own name.
    """
    cells = _cells_run()
    for name, value in answers.items():
        try:
            own = getattr(inspect.unwrap(value), "__name__", name) if callable(value) else name
            is_stale = _is_stale(own, value, cells)
        except Exception:  # an answer may be any object, with attributes that raise
            continue
        if is_stale:
            print(
                f"⚠ {task} The cell that defines {own} failed when it last ran, so this checks the version before it. "
                "Fix the cell, run it, and run this check again."
            )


def _cells_run() -> list[str]:
    """Return the sources of the cells that this kernel has run, as Python; none outside IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    history = getattr(get_ipython(), "history_manager", None)
    return [str(source).strip() for source in getattr(history, "input_hist_parsed", ())]


def _is_stale(name: str, value: object, cells: list[str]) -> bool:
    """Return whether the newest cell that defines ``name`` isn't the one that ``value`` is from.

    A value's cell isn't known. Its newest cell counts as failed only if it isn't Python.
    """
    if callable(value) and (sources := set(_sources(value))):
        definition = re.compile(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(name)}\b", re.M)
        runs = [i for i, cell in enumerate(cells) if cell in sources]
        newest = max((i for i, cell in enumerate(cells) if definition.search(cell)), default=-1)
        return bool(runs) and newest > runs[-1]
    assignment = re.compile(rf"^{re.escape(name)}\s*(?::[^=\n]+)?=(?!=)", re.M)
    newest = max((i for i, cell in enumerate(cells) if assignment.search(cell)), default=-1)
    return newest >= 0 and not _is_python(cells[newest])


def _sources(value: object) -> Iterator[str]:
    """Yield the source of each cell that a function, or a class's methods, come from."""
    value = inspect.unwrap(value) if callable(value) else value
    for part in vars(value).values() if isinstance(value, type) else [value]:
        code = getattr(part, "__code__", None)
        if source := "".join(linecache.getlines(code.co_filename)).strip() if code else "":
            yield source


def _is_python(source: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError):
        return False
    return True
