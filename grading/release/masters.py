"""Read and check masters, the one file per notebook that instructors edit.

A master is ``solutions/NN_name.py`` in jupytext's py:percent format. A cell's first line says what the cell is:

``# %% task="1.1" points=1``
    The solution of a graded task. Students get ``raise NotDone("1.1")`` in place of the lines between
    ``### BEGIN SOLUTION`` and ``### END SOLUTION``; the rest of the cell stays. A cell may have several such regions.
    The master's first code cell therefore has to contain ``from helpers.checks import NotDone``.
    ``bonus=true`` marks a task whose points don't count towards the maximum.
``# %% task="1.1" role="check"``
    The task's public check. It is locked for students. Every graded code task has exactly one.
``# %% [markdown] task="1.4" points=0.5 role="written"``
    A question answered in words: the prompt, then a model answer between ``<!-- BEGIN SOLUTION -->`` and
    ``<!-- END SOLUTION -->``. Students get "*Your answer here.*" in its place.
``# %% [markdown] task="1.4" role="rubric"``
    How the answer is marked. Every written task has one; students don't get it.
``# %% role="instructor"``
    Any other cell that students don't get.

Every other cell is the same for everyone. A task's id is a string in quotes, and a task has one solution cell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import jupytext
from nbformat import NotebookNode, v4

ROLES = ("check", "written", "rubric", "instructor")
HIDDEN_ROLES = ("rubric", "instructor")
BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
# A cell with one of these tags passes whatever happens in it, so a master may not use them.
FORBIDDEN_TAGS = ("raises-exception", "skip-execution")


class ReleaseError(ValueError):
    """Raised when a master breaks a convention, a student notebook shows a solution, or a solution fails."""


@dataclass(frozen=True)
class Task:
    """A graded task as its master defines it."""

    id: str
    points: float
    written: bool
    bonus: bool


def find_masters(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Return a folder's masters in order, or only the named ones (``01_name``, with or without ``.py``).

    Raises:
        ReleaseError: the folder has no masters, or none with a given name.
    """
    found = {path.stem: path for path in sorted(folder.glob("[0-9][0-9]_*.py"))}
    if not found:
        raise ReleaseError(f"{folder}: no master NN_name.py there. Pass the masters' folder with --masters.")
    wanted = [Path(name).stem for name in names or found]
    for name in wanted:
        if name not in found:
            raise ReleaseError(f"No master is called {name!r}: choose from {', '.join(found)}.")
    return [found[name] for name in wanted]


def graded_masters(folder: Path) -> list[Path]:
    """Return the masters that have tasks, in order. Raises as :func:`find_masters`."""
    return [path for path in find_masters(folder) if tasks(read_master(path))]


def read_master(path: Path) -> NotebookNode:
    """Return the master as a notebook with its solutions and markers.

    A cell's ``metadata.homework`` holds ``task`` and ``role`` (``"solution"`` for a graded code cell). Solution and
    written cells also have ``points`` and ``bonus`` there. Cell ids depend only on the master.

    Raises:
        ReleaseError: the master breaks a convention; the message names the file and the cell.
    """
    cells = [cell for cell in jupytext.read(path, fmt="py:percent").cells if cell.source.strip()]
    book = v4.new_notebook()  # filled afterwards: new_notebook would silently change duplicate ids
    book.cells = [_cell(cell, _Place(path, number, cell)) for number, cell in enumerate(cells, 1)]
    book.metadata = NotebookNode(
        kernelspec={"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        language_info={"name": "python"},
    )
    _check_tasks(path, book)
    return book


def tasks(book: NotebookNode) -> dict[str, Task]:
    """Return the graded tasks, in order, of a notebook that :func:`read_master` returned."""
    marks = [cell.metadata.get("homework", {}) for cell in book.cells]
    return {
        mark["task"]: Task(mark["task"], mark["points"], mark["role"] == "written", mark["bonus"])
        for mark in marks
        if mark.get("role") in ("solution", "written")
    }


def solution_lines(cell: NotebookNode) -> list[str]:
    """Return the lines between the cell's markers."""
    inside, lines = False, []
    for line in cell.source.split("\n"):
        if BEGIN in line or END in line:
            inside = BEGIN in line
        elif inside:
            lines.append(line)
    return lines


class _Place:
    """A cell's position, for error messages."""

    def __init__(self, path: Path, number: int, cell: NotebookNode) -> None:
        first = cell.source.strip().split("\n")[0]
        self.index = number - 1
        self.text = f"{path.name}, cell {number} ({first[:50]!r})"

    def error(self, what: str) -> ReleaseError:
        return ReleaseError(f"{self.text}: {what}")


def _cell(cell: NotebookNode, place: _Place) -> NotebookNode:
    """Return the cell with its marks checked and moved to ``metadata.homework``."""
    meta = dict(cell.metadata)
    meta.pop("lines_to_next_cell", None)
    mark = {name: meta.pop(name) for name in ("task", "role", "points", "bonus") if name in meta}
    for tag in FORBIDDEN_TAGS:
        if tag in meta.get("tags", []):
            raise place.error(f"the tag {tag!r} would let the cell fail unnoticed: remove it.")
    if mark:
        meta["homework"] = _mark(mark, cell.cell_type, place)
    _check_markers(cell, meta.get("homework", {}), place)
    make = v4.new_code_cell if cell.cell_type == "code" else v4.new_markdown_cell
    return make(cell.source, metadata=NotebookNode(meta), id=_id(meta.get("homework"), cell.cell_type, place.index))


def _mark(mark: dict, cell_type: str, place: _Place) -> NotebookNode:
    """Return task, role, points and bonus, checked."""
    role = mark.get("role", "solution")
    if role not in (*ROLES, "solution"):
        raise place.error(f"unknown role {role!r}: choose from {', '.join(ROLES)}, or none for a solution.")
    if role == "instructor":
        return NotebookNode(role=role)
    if not isinstance(mark.get("task"), str):
        raise place.error(f'the task is {mark.get("task")!r}: give its id in quotes, as in task="1.1".')
    if (cell_type == "markdown") != (role in ("written", "rubric")):
        raise place.error(f"a {role} cell can't be a {cell_type} cell.")
    result = NotebookNode(task=mark["task"], role=role)
    if role in ("solution", "written"):
        points = mark.get("points")
        if isinstance(points, bool) or not isinstance(points, (int, float)) or points <= 0:
            raise place.error(f"task {mark['task']} has no points: add them, as in points=1.")
        result.update(points=points, bonus=bool(mark.get("bonus", False)))
    return result


def _check_markers(cell: NotebookNode, mark: dict, place: _Place) -> None:
    """Check that regions open and close in turn, and that exactly the cells with a solution have one."""
    inside = False
    regions = 0
    for line in cell.source.split("\n"):
        if BEGIN in line:
            if inside:
                raise place.error(f"a second {BEGIN} before {END}: close the first region.")
            inside, regions = True, regions + 1
        elif END in line:
            if not inside:
                raise place.error(f"{END} without {BEGIN}: open the region.")
            inside = False
    if inside:
        raise place.error(f"{BEGIN} without {END}: close the region.")
    has_solution = mark.get("role") in ("solution", "written")
    if regions and not has_solution:
        raise place.error("a solution region in a cell that isn't a graded task's: give the cell a task and points.")
    if has_solution and not regions:
        raise place.error(f"task {mark['task']} has no solution region: put {BEGIN} and {END} around the solution.")


def _id(mark: dict | None, cell_type: str, index: int) -> str:
    if mark and "task" in mark:
        return grade_id(mark)
    return hashlib.sha256(f"{index} {cell_type}".encode()).hexdigest()[:12]


def grade_id(mark: dict) -> str:
    """Return nbgrader's id of a cell, such as ``check-1-1``; nbgrader allows no dots."""
    return f"{mark['role']}-{mark['task']}".replace(".", "-")


def _check_tasks(path: Path, book: NotebookNode) -> None:
    """Check that each task has one solution, each code task one check, and each written task one rubric."""
    seen: dict[str, int] = {}
    for number, cell in enumerate(book.cells, 1):
        mark = cell.metadata.get("homework", {})
        if "task" not in mark:
            continue
        place = _Place(path, number, cell)
        kind = "solution" if mark["role"] == "written" else mark["role"]
        if (key := f"{kind} {mark['task']}") in seen:
            raise place.error(f"task {mark['task']} has a {kind} in cell {seen[key]} already: make them one cell.")
        seen[key] = number
    for task in tasks(book).values():
        need = "rubric" if task.written else "check"
        if f"{need} {task.id}" not in seen:
            raise ReleaseError(f"{path.name}, cell {seen[f'solution {task.id}']}: task {task.id} has no {need} cell.")
    for key, number in seen.items():
        kind, task_id = key.split(" ", 1)
        if task_id not in tasks(book):
            raise ReleaseError(f"{path.name}, cell {number}: a {kind} for task {task_id}, which has no solution cell.")
