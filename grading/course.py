"""The homework as the grader sees it: tasks, what students were given, and the rubrics. Read from the masters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from grading.release.build import ANSWER_STUB, build_student
from grading.release.masters import Task, find_masters, read_master, tasks
from grading.submissions.cell_names import names_of
from grading.submissions.notebook import Cell
from grading.submissions.slicing import Submission, squeeze


@dataclass(frozen=True)
class Written:
    """A question answered in words: its prompt as students see it, and its rubric."""

    prompt: str
    rubric: str


@dataclass(frozen=True)
class Notebook:
    """One notebook of the homework."""

    name: str
    tasks: dict[str, Task]
    given: dict[str, str]  # what students got and is no task's: squeezed source -> source, "" for text and checks
    stubs: dict[str, str]  # squeezed source of each task's untouched cell
    written: dict[str, Written]
    preamble: str  # the first code cell: imports and settings

    def submission(self, cells: list[Cell], have: list[str]) -> Submission:
        """The cells beside what was given. A given cell that is gone, and whose names nobody makes, is put back in front."""
        bound = {name for cell in cells if cell.code for name in names_of(cell.source).binds}
        there = {squeeze(cell.source) for cell in cells}
        gone = [
            Cell(source, code=True)
            for squeezed, source in self.given.items()
            if source and squeezed not in there and not names_of(source).binds & bound
        ]
        stubs = {task: stub for task, stub in self.stubs.items() if task not in self.written}
        return Submission([*gone, *cells], self.given, stubs, have, self._given_names())

    def _given_names(self) -> set[str]:
        bound = {name for source in self.given.values() if source for name in names_of(source).binds}
        return bound - names_of(self.preamble).binds

    def claims(self, cells: list[Cell], wanted: dict[str, tuple[str, ...]]) -> int:
        """How many of this notebook's tasks the cells seem to hold: by metadata, or by the names that they define."""
        bound = {name for cell in cells if cell.code for name in names_of(cell.source).binds}
        marked = {cell.task for cell in cells}
        return sum(task in marked or bool(set(wanted.get(task, ())) & bound) for task in self.tasks)

    def answers(self, cells: list[Cell]) -> dict[str, str]:
        """The written answers that are there: what stands in a question's cell, and in new text cells behind it."""
        return {task: answer for task in self.written if (answer := self._answer(task, cells))}

    def _answer(self, task: str, cells: list[Cell]) -> str:
        prompt = self.written[task].prompt
        parts = []
        start = next((i for i, cell in enumerate(cells) if cell.task == task and cell.role == "written"), None)
        if start is None:  # metadata lost
            begin = _plain(prompt)[:60]
            start = next((i for i, cell in enumerate(cells) if begin and begin in _plain(cell.source)), None)
        if start is None:
            return ""
        parts.append(_without_prompt(cells[start].source, prompt))
        headings = {_heading(source) for source in self.given} - {""}
        for cell in cells[start + 1 :]:
            # one of our headings begins the next part, also where its text is of an older version of the notebook
            if cell.code or cell.task or squeeze(cell.source) in self.given or _heading(cell.source) in headings:
                break
            parts.append(cell.source)
        return "\n\n".join(part.strip() for part in parts if part.strip())


@dataclass(frozen=True)
class Course:
    """All notebooks."""

    notebooks: tuple[Notebook, ...]

    @property
    def tasks(self) -> dict[str, Task]:
        return {name: task for notebook in self.notebooks for name, task in notebook.tasks.items()}

    @property
    def most(self) -> float:
        """Points of all tasks, bonus apart."""
        return sum(task.points for task in self.tasks.values() if not task.bonus)

    @property
    def written(self) -> dict[str, Written]:
        return {name: written for notebook in self.notebooks for name, written in notebook.written.items()}


def read_course(masters: Path) -> Course:
    """The course of a folder of masters.

    Raises:
        ReleaseError: a master breaks a convention.
    """
    return Course(tuple(_notebook(path) for path in find_masters(masters)))


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
    """The text without the question's own lines and the stub; what a student wrote between them stays."""
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
