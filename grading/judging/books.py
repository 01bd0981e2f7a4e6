"""Choose which of a student's files is judged for each notebook."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grading.course import Course
from grading.judging.reference import Facts
from grading.submissions.collect import Handed
from grading.submissions.notebook import Cell, Unreadable, read_notebook
from grading.submissions.slicing import Submission


@dataclass(frozen=True)
class Book:
    """A student's notebook: the cells as handed in, the same cells parsed, and the number of answered tasks."""

    cells: list[Cell]
    submission: Submission
    answered: int = 0


def choose_books(handed: Handed, course: Course, facts: Facts, notes: list[str]) -> dict[str, Book]:
    """Return the student's notebooks by name, and add remarks on the files to ``notes``.

    The latest attempt that holds every notebook and an answer counts, as a whole. If there is none, the latest file of
    each notebook counts, whichever attempt it is from; a file without answers gives way to one with answers.
    """
    attempts = [_of_attempt(files, course, facts, notes) for files in (handed.files, *handed.earlier)]
    for number, books in enumerate(attempts):
        if len(books) == len(course.notebooks) and _has_answer(books.values()):
            if number:
                notes.append(
                    "The latest attempt lacks a notebook or has no answers. "
                    "So the latest attempt with all notebooks counts."
                )
            return books
    merged: dict[str, Book] = {}
    for books in attempts:
        for name, book in books.items():
            if name not in merged or (_has_answer([book]) and not _has_answer([merged[name]])):
                merged[name] = book
    if len(attempts) > 1 and merged:
        notes.append("No attempt holds all notebooks. So the latest file of each notebook counts.")
    return merged


def _has_answer(books: Iterable[Book]) -> bool:
    return any(book.answered for book in books)


def _of_attempt(files: Iterable[Path], course: Course, facts: Facts, notes: list[str]) -> dict[str, Book]:
    """Return the notebooks of one attempt.

    A file counts for every notebook whose tasks it holds. Of two files for one notebook, the one that answers more
    tasks counts; if they answer the same number, the later one does.
    """
    wanted = facts.hidden_tests.WANTED
    found: dict[str, Book] = {}
    for path in files:
        try:
            cells = read_notebook(path)
        except Unreadable as error:
            notes.append(f"{path.name}: {error}.")
            continue
        matching = [notebook for notebook in course.notebooks if notebook.claims(cells, wanted)]
        if not matching:
            notes.append(f"{path.name}: it contains none of the homework's tasks.")
        for notebook in matching:
            submission = notebook.submission(cells, facts.names(notebook.name))
            answered = sum(submission.answered(task, wanted.get(task, ())) for task in notebook.tasks)
            answered += len(notebook.answers(cells))
            best = found[notebook.name].answered if notebook.name in found else -1
            if best > 0 and answered:
                notes.append(
                    f"{path.name}: a second file for {notebook.name}. "
                    "The file with more answers counts; if they are equal, the later one."
                )
            if answered >= best:
                found[notebook.name] = Book(cells, submission, answered)
    return found
