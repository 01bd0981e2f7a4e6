"""Sum up a run per task: figures that cells reported, points from the master, and run times."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from grading.release.execute import Execution, task_name
from grading.release.masters import tasks
from helpers.report import MIME, plain


def summarise(book: NotebookNode, result: Execution) -> dict:
    """Return one executed notebook's part of ``run.json``.

    Returns:
        ``ok`` (all cells ran and no check failed), ``cells`` (number of code cells), ``seconds``, ``other_seconds``
        (in cells of no task), ``failed_cell`` (number from 1, or None), ``failed_in`` (the failed cell's task and
        role), ``error`` (last line of the traceback), and ``tasks``: by id ``points``, ``bonus``, ``written``,
        ``passed`` (None if nothing was judged), ``key``, ``figures``, ``seconds``.
    """
    found: dict[str, dict[str, Any]] = {
        task.id: {"points": task.points, "bonus": task.bonus, "written": task.written}
        | {"passed": None, "key": "", "figures": {}, "seconds": 0.0}
        for task in tasks(book).values()
    }
    other = 0.0
    for index, cell in enumerate(book.cells):
        entry = found.get(cell.metadata.get("homework", {}).get("task"))
        seconds = result.seconds.get(index, 0.0)
        if entry is None:
            other += seconds
        else:
            entry["seconds"] = round(entry["seconds"] + seconds, 2)
            if index == result.failed_cell:
                entry["passed"] = False
    for payload in _reports(book):
        _merge(found.setdefault(payload["task"], _unknown()), payload)
    return {
        "ok": result.failed_cell is None and all(entry["passed"] is not False for entry in found.values()),
        "cells": sum(cell.cell_type == "code" for cell in book.cells),
        "seconds": round(sum(result.seconds.values()), 2),
        "other_seconds": round(other, 2),
        "failed_cell": None if result.failed_cell is None else result.failed_cell + 1,
        "failed_in": None if result.failed_cell is None else task_name(book.cells[result.failed_cell]),
        "error": result.error.strip().split("\n")[-1] if result.error else "",
        "tasks": found,
    }


def table(all_tasks: dict[str, dict]) -> str:
    """Return the tasks as a text table: task, points, whether the public checks passed, key figure, seconds."""
    rows = [("task", "points", "checks", "key figure", "seconds")]
    for name, entry in sorted(all_tasks.items()):
        points = f"{entry['points']:g}" + (" bonus" if entry["bonus"] else "")
        verdict = {True: "passed", False: "FAILED", None: "by hand" if entry["written"] else "-"}[entry["passed"]]
        rows.append((name, points, verdict, entry["key"], f"{entry['seconds']:.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def environment() -> dict:
    """Return what the run depended on: versions, the device and the three settings, defaults included."""
    import torch

    from helpers.settings import settings

    chosen = settings()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformer_lens": version("transformer_lens"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "HOMEWORK_MODEL": chosen.model,
        "HOMEWORK_TEXT": chosen.text,
        "HOMEWORK_BUDGET": chosen.budget,
    }


def _reports(book: NotebookNode) -> Iterator[dict]:
    for cell in book.cells:
        for output in cell.get("outputs", []):
            payload = output.get("data", {}).get(MIME)
            if isinstance(payload, dict) and isinstance(payload.get("task"), str):
                yield payload


def _merge(entry: dict, payload: dict) -> None:
    """Add a report to a task. A later report replaces the key figure, but a failure stays a failure."""
    if entry["passed"] is not False and payload.get("passed") is not None:
        entry["passed"] = payload["passed"]
    entry["key"] = payload.get("key") or entry["key"]
    entry["figures"].update(plain(payload.get("figures") or {}))


def _unknown() -> dict:
    """Return an empty entry for a report that belongs to no graded task, so that its figures are kept."""
    return {"points": 0, "bonus": False, "written": False, "passed": None, "key": "", "figures": {}, "seconds": 0.0}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
