"""Grade one submission, from its notebooks to its marks.

Each task gets a fresh interpreter. It runs the cells that the task needs, then answers the hidden tests' questions.
The answers are compared in this process. Every submission ends in marks, whatever its code does.
"""

from __future__ import annotations

import time

from grading.course import Course, Notebook
from grading.judging.answers import Answer, judge, judge_from_the_top, mark
from grading.judging.books import Book, choose_books
from grading.judging.reference import Facts
from grading.judging.sandboxes import Sandboxes
from grading.marks import Marks, TaskMark
from grading.release.masters import Task
from grading.sandbox.isolation import Limits
from grading.submissions.collect import Handed

FROM_THE_TOP_SHARE = 1 / 3  # of a submission's time, for all its tasks together


def grade(handed: Handed, course: Course, facts: Facts, limits: Limits, sessions=None) -> Marks:
    """Return the marks of one submission. Nothing that a student's code does makes this raise.

    Args:
        sessions: a class like :class:`Sandboxes` (the default), called with ``facts`` and ``limits``.
    """
    started, own = time.monotonic(), time.process_time()
    notes = list(handed.notes)
    books = choose_books(handed, course, facts, notes)
    with (sessions or Sandboxes)(facts, limits) as sessions:
        tasks = _tasks(course, books, facts, sessions, limits)
    written = {
        task: text
        for notebook in course.notebooks
        if notebook.name in books
        for task, text in notebook.answers(books[notebook.name].cells).items()
    }
    return Marks(
        student=handed.student,
        status=_status(handed, books, course, tasks, written),
        tasks=tuple(tasks),
        written=written,
        notes=tuple(notes),
        seconds=round(time.monotonic() - started, 2),
        cpu_seconds=round(sessions.cpu_seconds, 2),
        own_cpu_seconds=round(time.process_time() - own, 2),
        student_id=handed.student_id,
        full_name=handed.full_name,
    )


def _tasks(course: Course, books: dict[str, Book], facts: Facts, sessions: Sandboxes, limits: Limits) -> list[TaskMark]:
    """Return the marks of all tasks. Whole notebooks run last, in bounded time, so that they cost no task its own."""
    marks = [
        _mark(task, notebook, books.get(notebook.name), facts, sessions)
        for notebook in course.notebooks
        for task in notebook.tasks.values()
    ]
    until = time.monotonic() + limits.seconds * FROM_THE_TOP_SHARE
    for i, found in enumerate(marks):
        notebook = next(notebook for notebook in course.notebooks if found.task in notebook.tasks)
        task = notebook.tasks[found.task]
        if notebook.name in books and not task.written:
            answer = Answer(task, notebook, books[notebook.name].submission, facts)
            marks[i] = judge_from_the_top(answer, found, sessions, until)
    return marks


def _mark(task: Task, notebook: Notebook, book: Book | None, facts: Facts, sessions: Sandboxes) -> TaskMark:
    if book is None:
        return mark(task, "not found", note="This notebook wasn't handed in, or it can't be read.")
    if task.written:
        return mark(task, "to be marked" if notebook.answers(book.cells).get(task.id) else "untouched")
    return judge(Answer(task, notebook, book.submission, facts), sessions)


def _status(handed: Handed, books: dict, course: Course, tasks: list[TaskMark], written: dict) -> str:
    if not books:
        return "unreadable"
    if all(mark.outcome in ("untouched", "not found") for mark in tasks) and not written:
        return "blank"
    stopped = any(mark.outcome == "stopped" for mark in tasks)
    return "partly" if stopped or len(books) < len(course.notebooks) else "graded"
