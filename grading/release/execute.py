"""Execute a notebook cell by cell, report progress, and keep the outputs if a cell fails."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Execution:
    """The result of an execution: seconds by cell index, and the failed cell and its error, if any."""

    seconds: dict[int, float] = field(default_factory=dict)
    failed_cell: int | None = None
    error: str = ""


def execute(book: NotebookNode, cwd: Path, on_cell: Callable[[NotebookNode], None] | None = None) -> Execution:
    """Run the notebook's code cells in place, up to the first that fails.

    Args:
        book: the notebook; its outputs and ``metadata.execution`` times are filled in, also for a cell that fails.
        cwd: the kernel's working directory; relative paths in ``HOMEWORK_MODEL`` and ``HOMEWORK_TEXT`` start there.
        on_cell: called with each code cell before it runs.
    """
    result = Execution()
    started: list[tuple[int, float]] = []

    def begin(cell: NotebookNode, cell_index: int) -> None:
        started.append((cell_index, time.perf_counter()))
        if on_cell:
            on_cell(cell)

    def end(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        result.seconds[cell_index] = time.perf_counter() - started[-1][1]

    client = NotebookClient(
        book,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(cwd)}},
        on_cell_execute=begin,
        on_cell_executed=end,
    )
    with _sockets(client):
        try:
            client.execute()
        except (CellExecutionError, DeadKernelError) as error:
            result.failed_cell = started[-1][0] if started else 0
            result.error = _error_text(book.cells[result.failed_cell], error)
    return result


@contextmanager
def _sockets(client: NotebookClient) -> Iterator[None]:
    """Connect to the kernel through files in a private folder, where the system supports that.

    Every user of the machine can reach a TCP port, and the kernel's warning about it would break the progress bar.
    """
    if os.name != "posix":
        yield
        return
    with TemporaryDirectory(prefix="kernel-") as folder:
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/socket"
        yield


def _error_text(cell: NotebookNode, error: Exception) -> str:
    """Return the notebook's traceback without colours, or nbclient's message if the kernel died."""
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return _COLOURS.sub("", "\n".join(output.traceback))
    return str(error)


def task_name(cell: NotebookNode) -> str:
    """Return the cell's name for a progress bar."""
    mark = cell.metadata.get("homework", {})
    return f"{mark['task']} {mark['role']}" if "task" in mark else "other"


def describe_failure(name: str, book: NotebookNode, result: Execution, lines: int = 12) -> str:
    """Return which notebook and cell failed, with the last lines of the traceback."""
    number = result.failed_cell or 0
    cell = book.cells[number]
    first = cell.source.strip().split("\n")[0]
    tail = "\n".join(result.error.rstrip().split("\n")[-lines:])
    return f"{name}: cell {number + 1} ({task_name(cell)}, {first[:60]!r}) failed:\n{tail}"
