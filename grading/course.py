"""Read the homework from the masters: its tasks, the cells that students were given, and the rubrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from grading.release.build import ANSWER_STUB, build_student
from grading.release.masters import Task, graded_masters, read_master, tasks
from grading.submissions.cell_names import names_of
from grading.submissions.notebook import Cell
from grading.submissions.slicing import Submission, squeeze


@dataclass(frozen=True)
class Written:
    """A written task: the prompt that students see, and its rubric."""

    prompt: str
    rubric: str


@dataclass(frozen=True)
class Notebook:
    """One notebook of the homework."""

    name: str
    tasks: dict[str, Task]
    given: dict[str, str]  # all but answer cells: squeezed source -> source, "" for text and checks
    stubs: dict[str, str]  # task -> squeezed source of its untouched cell
    written: dict[str, Written]
    preamble: str  # the first code cell: imports and settings

    def submission(self, cells: list[Cell], have: list[str]) -> Submission:
        """Return the student's cells, parsed together with the given ones.

        A deleted given cell is put back at the front if no other cell binds its names.

        Args:
            have: names that the grader can provide.
        """
        bound = {name for cell in cells if cell.code for name in names_of(cell.source).binds}
        present = {squeeze(cell.source) for cell in cells}
        deleted = [
            Cell(source, code=True)
            for squeezed, source in self.given.items()
            if source and squeezed not in present and not names_of(source).binds & bound
        ]
        stubs = {task: stub for task, stub in self.stubs.items() if task not in self.written}
        return Submission([*deleted, *cells], self.given, stubs, have, self._given_names())

    def _given_names(self) -> set[str]:
        bound = {name for source in self.given.values() if source for name in names_of(source).binds}
        return bound - names_of(self.preamble).binds

    def claims(self, cells: list[Cell], wanted: dict[str, tuple[str, ...]]) -> int:
        """Return how many of this notebook's tasks the cells seem to hold, by metadata or bound names."""
        bound = {name for cell in cells if cell.code for name in names_of(cell.source).binds}
        marked = {cell.task for cell in cells}
        return sum(task in marked or bool(set(wanted.get(task, ())) & bound) for task in self.tasks)

    def answers(self, cells: list[Cell]) -> dict[str, str]:
        """Return the written answers by task: the text in a question's cell and in new text cells below it."""
        return {task: answer for task in self.written if (answer := self._answer(task, cells))}

    def _answer(self, task: str, cells: list[Cell]) -> str:
        prompt = self.written[task].prompt
        parts = []
        start = next((i for i, cell in enumerate(cells) if cell.task == task and cell.role == "written"), None)
        if start is None:  # the metadata is lost: look for the prompt
            begin = _plain(prompt)[:60]
            start = next((i for i, cell in enumerate(cells) if begin and begin in _plain(cell.source)), None)
        if start is None:
            return ""
        parts.append(_without_prompt(cells[start].source, prompt))
        headings = {_heading(source) for source in self.given} - {""}
        for cell in cells[start + 1 :]:
            # A heading of the given notebook begins the next section, even if the text below it has changed since.
            if cell.code or cell.task or squeeze(cell.source) in self.given or _heading(cell.source) in headings:
                break
            parts.append(cell.source)
        return "\n\n".join(part.strip() for part in parts if part.strip())


@dataclass(frozen=True)
class Course:
    """All notebooks of the homework."""

    notebooks: tuple[Notebook, ...]

    @property
    def tasks(self) -> dict[str, Task]:
        return {name: task for notebook in self.notebooks for name, task in notebook.tasks.items()}

    @property
    def most(self) -> float:
        """Return the points of all tasks, bonus excluded."""
        return sum(task.points for task in self.tasks.values() if not task.bonus)

    @property
    def written(self) -> dict[str, Written]:
        return {name: written for notebook in self.notebooks for name, written in notebook.written.items()}


def read_course(masters: Path) -> Course:
    """Return the course that a folder of masters defines. Notebooks without tasks aren't part of it.

    Raises:
        ReleaseError: a master breaks a convention.
    """
    return Course(tuple(_notebook(path) for path in graded_masters(masters)))


def _notebook(path: Path) -> Notebook:
    solution, student = read_master(path), build_student(path)
    marks = [(cell, cell.metadata.get("homework", {})) for cell in student.cells]
    rubrics = {
        cell.metadata.homework.task: cell.source
        for cell in solution.cells
        if cell.metadata.get("homework", {}).get("role") == "rubric"
    }
    return Notebook(
        name=path.stem,
        tasks=tasks(solution),
        given={
            squeeze(cell.source): cell.source if cell.cell_type == "code" and "role" not in mark else ""
            for cell, mark in marks
            if mark.get("role") not in ("solution", "written")
        },
        stubs={
            mark["task"]: squeeze(cell.source) for cell, mark in marks if mark.get("role") in ("solution", "written")
        },
        written={
            mark["task"]: Written(cell.source.replace(ANSWER_STUB, "").strip(), rubrics[mark["task"]])
            for cell, mark in marks
            if mark.get("role") == "written"
        },
        preamble=next(cell.source for cell in student.cells if cell.cell_type == "code"),
    )


def _without_prompt(source: str, prompt: str) -> str:
    """Return the text without the prompt's lines and the stub; the student's lines between them stay."""
    asked = {_plain(line) for line in prompt.split("\n")}
    lines = [
        line
        for line in source.split("\n")
        if line.strip() != ANSWER_STUB and (_plain(line) not in asked or not line.strip())
    ]
    return "\n".join(lines).strip()


def _heading(source: str) -> str:
    first = source.strip().split("\n")[0]
    return first if first.startswith("#") else ""


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
