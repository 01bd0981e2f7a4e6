"""Grade one submission, from its notebooks to its marks.

Each task gets a fresh interpreter. It runs the cells that the task needs, then answers the hidden tests' questions.
The answers are compared in this process. Every submission ends in marks, whatever its code does.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator
from contextlib import contextmanager

from grading.course import Course, Notebook
from grading.judging.books import Book, choose_books
from grading.judging.hidden_tests import BadAnswer, HiddenTest, read_answer
from grading.judging.reference import Facts
from grading.marks import STOPPED, Marks, TaskMark, Tried
from grading.release.masters import Task
from grading.sandbox.isolation import Limits
from grading.sandbox.session import Broken, Session
from grading.submissions.collect import Handed
from grading.submissions.slicing import Plan, Submission


def grade(handed: Handed, course: Course, facts: Facts, limits: Limits, sessions=None) -> Marks:
    """Return the marks of one submission. Nothing that a student's code does makes this raise.

    Args:
        sessions: a class like :class:`Sandboxes` (the default), called with ``facts`` and ``limits``.
    """
    started, own = time.monotonic(), time.process_time()
    notes = list(handed.notes)
    books = choose_books(handed, course, facts, notes)
    with (sessions or Sandboxes)(facts, limits) as sessions:
        tasks = [
            mark
            for notebook in course.notebooks
            for mark in _notebook(notebook, books.get(notebook.name), facts, sessions)
        ]
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


class Sandboxes:
    """A sandbox that starts when it is first needed, and restarts after it was stopped."""

    def __init__(self, facts: Facts, limits: Limits) -> None:
        self.facts, self.limits = facts, limits
        self.cpu_seconds = 0.0
        self.session: Session | None = None
        self.until = time.monotonic() + limits.seconds

    def __enter__(self) -> Sandboxes:
        return self

    def __exit__(self, *error) -> None:
        self._close()

    def _close(self) -> None:
        if self.session:
            self.session.close()
            self.cpu_seconds += self.session.cpu_seconds
            self.session = None

    @contextmanager
    def task(self) -> Iterator[Session]:
        """Yield a fresh interpreter for one task. After a :class:`Broken`, the next task gets a new sandbox."""
        if time.monotonic() > self.until:
            raise Broken("time")
        try:
            if self.session is None:
                self.session = Session(self.facts.place, self.limits, self.until)
            self.session.begin()
            yield self.session
            self.session.end()
        except Broken:
            self._close()
            raise


def _notebook(notebook: Notebook, book: Book | None, facts: Facts, sessions: Sandboxes) -> Iterator[TaskMark]:
    for task in notebook.tasks.values():
        if book is None:
            yield _mark(task, "not found", note="This notebook wasn't handed in, or it can't be read.")
        elif task.written:
            yield _mark(task, "to be marked" if notebook.answers(book.cells).get(task.id) else "untouched")
        else:
            yield _code_task(task, notebook, book.submission, facts, sessions)


def _code_task(task: Task, notebook: Notebook, submission: Submission, facts: Facts, sessions: Sandboxes) -> TaskMark:
    wanted = facts.hidden_tests.WANTED[task.id]
    if not submission.answered(task.id, wanted):
        return _mark(task, "untouched")
    try:
        plan = submission.plan(task.id, wanted, submission.check_of(task.id))
        last = submission.plan(task.id, wanted)
    except RecursionError:
        return _mark(task, "wrong", note="The chain of cells that need each other is too long.")
    mark = _by_plan(task, notebook, submission, plan, facts, sessions)
    if mark.outcome != "right" and last != plan:  # the student may have fixed the answer below its check
        other = _by_plan(task, notebook, submission, last, facts, sessions)
        mark = max(mark, other, key=lambda each: each.points)
    return mark


def _by_plan(
    task: Task, notebook: Notebook, submission: Submission, plan: Plan, facts: Facts, sessions: Sandboxes
) -> TaskMark:
    """Return the mark for the answer that the plan's cells produce."""
    wanted = facts.hidden_tests.WANTED[task.id]
    if len(set(plan.missing)) == len(wanted):
        if plan.broken:
            return _mark(task, "wrong", note=f"The cell can't be run: {plan.broken[0][1]}.")
        return _mark(task, "not found", note=f"No cell defines {' or '.join(wanted)}.")
    try:
        with sessions.task() as session:
            errors = _run(notebook, submission, plan, facts, session)
            facts.task = task.id
            tried = tuple(
                _try(test, submission, facts, session)
                for test in facts.hidden_tests.HIDDEN_TESTS
                if test.task == task.id
            )
        share = sum(each.share for each in tried if not each.wrong)
        says = "" if share > 0.999 else _public_check(task, notebook, submission, plan, facts, sessions)
    except Broken as broken:
        return _mark(task, "stopped", note=f"Stopped: {STOPPED[broken.reason]}.")
    outcome = "right" if share > 0.999 else "partly right" if share else "wrong"
    note = "" if share > 0.999 else _note(submission, plan, errors, wanted)
    return _mark(task, outcome, round(task.points * share, 4), tried, says, note)


def _run(
    notebook: Notebook, submission: Submission, plan: Plan, facts: Facts, session: Session
) -> list[tuple[int, dict]]:
    """Run the plan's cells in the session and return the errors as (cell index, error)."""
    session.cell(notebook.preamble)
    names = [name for name in plan.provided if name in facts.names(notebook.name)]
    if names:
        session.provide(facts.bundle(notebook.name), names)
    return [(index, error) for index in plan.cells if (error := session.cell(submission.cells[index].source))]


def _note(submission: Submission, plan: Plan, errors: list[tuple[int, dict]], wanted: tuple[str, ...]) -> str:
    """Return a note on a cell that isn't Python, or on the first error raised while the cells ran."""
    if plan.broken and plan.missing:
        return f"A cell can't be run: {plan.broken[0][1]}."
    in_answer = [error for index, error in errors if submission.names[index].binds & set(wanted)]
    error = next(iter(in_answer or [error for _, error in errors]), None)
    return f"While your cells ran: {_in_words(error, submission)}" if error else ""


def _try(test: HiddenTest, submission: Submission, facts: Facts, session: Session) -> Tried:
    answers: dict = {}
    wrong = ""
    for question in test.questions:
        more, blob = facts.given(question.arrays)
        reply, arrays = session.ask(facts.questions, question.name, {**question.given, **more}, blob)
        if reply.get("error") is not None:
            wrong = _in_words(reply["error"], submission, facts.hidden_tests.WANTED[test.task])
            break
        try:
            answers |= read_answer(reply, arrays)
        except BadAnswer as error:
            wrong = str(error)
            break
    if not wrong:
        try:
            wrong = test.compare(answers, facts.expected[test.key], facts)
        except BadAnswer as error:
            wrong = str(error)
        except (ArithmeticError, ValueError, TypeError, MemoryError):  # only hostile numbers get here
            wrong = "the answer can't be judged"
    return Tried(test.name, test.tried, test.share, wrong)


def _public_check(
    task: Task, notebook: Notebook, submission: Submission, plan: Plan, facts: Facts, sessions: Sandboxes
) -> str:
    """Return what the notebook's own check says, run in an interpreter that has seen no hidden input."""
    check = facts.hidden_tests.CHECKS.get(task.id)
    if check is None:
        return ""
    with sessions.task() as session:
        _run(notebook, submission, plan, facts, session)
        given = {"check": check, "names": list(facts.hidden_tests.WANTED[task.id])}
        reply, _ = session.ask(facts.questions, "public_check", given)
    answer = reply.get("answer")
    says = answer.get("says") if isinstance(answer, dict) else None
    return says[:1000] if isinstance(says, str) else ""


def _in_words(error, submission: Submission, wanted: tuple[str, ...] | None = None) -> str:
    """Return an error in the student's code as a sentence that reveals no hidden input.

    A line is quoted only if it occurs in the submission. An error type is named only if it is Python's or occurs in the
    submission. ``wanted`` is given for errors in a hidden test; their message is left out, as it could hold the input.
    """
    error = error if isinstance(error, dict) else {}
    kind, line, text, message = (error.get(name) for name in ("type", "line", "text", "message"))
    sources = [cell.source for cell in submission.cells]
    kind = (
        kind
        if isinstance(kind, str)
        and (hasattr(builtins, kind) or (kind.isidentifier() and any(kind in source for source in sources)))
        else "an error"
    )
    if error.get("type") == "NotDone":
        return "it isn't done yet"
    if wanted and kind == "KeyError" and isinstance(message, str) and message.strip("'\"") in wanted:
        return f"there is no {message}: the cell that defines it is missing, or stopped before defining it"
    known = isinstance(text, str) and len(text) > 3 and any(text in source for source in sources)
    where = f" in line {line}: {text[:120]}" if known and isinstance(line, int) else ""
    return f"your code raises {kind}{where}" + (f" ({str(message)[:200]})" if wanted is None and message else "")


def _mark(
    task: Task, outcome: str, points: float = 0.0, tried: tuple[Tried, ...] = (), says: str = "", note: str = ""
) -> TaskMark:
    return TaskMark(task.id, outcome, points, task.points, task.bonus, tried, says, note)


def _status(handed: Handed, books: dict, course: Course, tasks: list[TaskMark], written: dict) -> str:
    if not books:
        return "unreadable"
    if all(mark.outcome in ("untouched", "not found") for mark in tasks) and not written:
        return "blank"
    stopped = any(mark.outcome == "stopped" for mark in tasks)
    return "partly" if stopped or len(books) < len(course.notebooks) else "graded"
