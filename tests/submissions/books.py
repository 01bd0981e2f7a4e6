"""Notebooks as students submit them, built from the masters."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from grading.release.build import build_student
from grading.release.masters import graded_masters, read_master

ROOT = Path(__file__).parents[2]
MASTERS = ROOT / "solutions"
FIRST, SECOND = "01_sentiment_steering", "02_sparse_autoencoder"
NAMES = (FIRST, SECOND)
CODE_TASKS = ("1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.6", "2.7")


def name_of(task: str) -> str:
    """Return the name of the task's notebook."""
    return NAMES[int(task[0]) - 1]


@lru_cache
def solutions() -> dict[str, str]:
    """Return the source of each code task's solution cell."""
    books = [read_master(path) for path in graded_masters(MASTERS)]
    marks = [(cell, cell.metadata.get("homework", {})) for book in books for cell in book.cells]
    return {mark["task"]: cell.source for cell, mark in marks if mark.get("role") == "solution"}


def changed(task: str, *pairs: tuple[str, str]) -> str:
    """Return the solution with replacements. Fails if an old text isn't in the solution."""
    source = solutions()[task]
    for old, new in pairs:
        assert old in source, f"{task}: {old!r} isn't in the solution"
        source = source.replace(old, new)
    return source


@lru_cache
def _student(name: str) -> str:
    return json.dumps(build_student(MASTERS / f"{name}.py"))


def stub(task: str) -> str:
    """Return the task's untouched cell."""
    cells = json.loads(_student(name_of(task)))["cells"]
    return next(cell["source"] for cell in cells if is_task(cell, task))


def book(name: str, answers: dict[str, str] | None = None, solved: bool = True) -> dict:
    """Return the student's notebook with solved or open tasks; ``answers`` replaces single task cells.

    A line ``# %%`` splits an answer into several cells. The first one has the task's metadata.
    """
    content = json.loads(_student(name))
    sources = {**(solutions() if solved else {}), **(answers or {})}
    cells = []
    for cell in content["cells"]:
        mark = cell["metadata"].get("homework", {})
        if mark.get("role") == "solution" and mark["task"] in sources:
            first, *more = sources[mark["task"]].split("\n# %%\n")
            cells += [{**cell, "source": first}, *(code(source) for source in more)]
        else:
            cells.append(cell)
    return {**content, "cells": cells}


def code(source: str, **more) -> dict:
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, **more}


def text(source: str) -> dict:
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def put(folder: Path, content: dict | bytes | str, name: str) -> Path:
    """Write a notebook into a student's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    raw = (
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode("utf-8", "surrogatepass")
    )
    path.write_bytes(raw)
    return path


def cells_of(content: dict, keep: Callable[[dict], bool]) -> dict:
    return {**content, "cells": [cell for cell in content["cells"] if keep(cell)]}


def is_task(cell: dict, task: str, role: str = "solution") -> bool:
    mark = cell["metadata"].get("homework", {})
    return mark.get("task") == task and mark.get("role") == role
