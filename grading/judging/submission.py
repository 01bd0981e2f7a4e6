"""One submission, from notebooks to marks.

Each task gets an interpreter of its own, which runs the cells that the task needs and then answers the hidden tests' questions.
What comes back is compared here. Whatever a submission does, it ends in marks.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator
from contextlib import contextmanager

from grading.course import Course, Notebook
from grading.judging.hidden_tests import BadAnswer, HiddenTest, read_answer
from grading.judging.reference import Facts
from grading.marks import STOPPED, Marks, TaskMark, Tried
from grading.release.masters import Task
from grading.sandbox.isolation import Limits
from grading.sandbox.session import Broken, Session
from grading.submissions.collect import Handed
from grading.submissions.notebook import Cell, Unreadable, read_notebook
from grading.submissions.slicing import Plan, Submission


def grade(handed: Handed, course: Course, facts: Facts, limits: Limits, sessions=None) -> Marks:
    """Marks for one submission; never raises for what a student did.

    Args:
        sessions: what makes interpreters, sandboxes by default; called with ``facts`` and ``limits``.
    """
    started, own = time.monotonic(), time.process_time()
    notes = list(handed.notes)
    books = _books(handed, course, facts, notes)
    with (sessions or Sandboxes)(facts, limits) as sessions:
        tasks = [
            mark
            for notebook in course.notebooks
            for mark in _notebook(notebook, books.get(notebook.name), facts, sessions)
        ]
    written = {
        task: text
        for notebook in course.notebooks
        for task, text in notebook.answers(books.get(notebook.name, [])).items()
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
    )


def _books(handed: Handed, course: Course, facts: Facts, notes: list[str]) -> dict[str, list[Cell]]:
    """Cells by notebook: a file counts for each notebook whose tasks it holds; of two, the later one if it answers as much."""
    found: dict[str, tuple[int, list[Cell]]] = {}
    for path in handed.files:
        try:
            cells = read_notebook(path)
        except Unreadable as error:
            notes.append(f"{path.name}: {error}.")
            continue
        mine = [notebook for notebook in course.notebooks if notebook.claims(cells, facts.hidden_tests.WANTED)]
        if not mine:
            notes.append(f"{path.name}: none of the homework's tasks is in it.")
        for notebook in mine:
            submission = notebook.submission(cells, [])
            answered = sum(
                submission.answered(task, facts.hidden_tests.WANTED.get(task, ())) for task in notebook.tasks
            )
            best, _ = found.get(notebook.name, (-1, []))
            if best > 0 and answered:
                notes.append(
                    f"{path.name}: a second file for {notebook.name}; the one with more answers counts, of equals the later."
                )
            if answered >= best:
                found[notebook.name] = (answered, cells)
    return {name: cells for name, (_, cells) in found.items()}


class Sandboxes:
    """A sandbox that is started when it is first needed, and again when it had to be stopped."""

    def __init__(self, facts: Facts, limits: Limits) -> None:
        self.facts, self.limits = facts, limits
        self.cpu_seconds, self.session = 0.0, None
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
        """An interpreter for one task; a :class:`Broken` leaves the next task a new sandbox."""
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


def _notebook(notebook: Notebook, cells: list[Cell] | None, facts: Facts, sessions: Sandboxes) -> Iterator[TaskMark]:
    have = [*facts.names(notebook.name)]
    submission = notebook.submission(cells or [], have)
    for task in notebook.tasks.values():
        if cells is None:
            yield _mark(task, "not found", note="This notebook wasn't handed in, or can't be read.")
        elif task.written:
            yield _mark(task, "to be marked" if notebook.answers(cells).get(task.id) else "untouched")
        else:
            yield _code_task(task, notebook, submission, facts, sessions)


def _code_task(task: Task, notebook: Notebook, submission: Submission, facts: Facts, sessions: Sandboxes) -> TaskMark:
    wanted = facts.hidden_tests.WANTED[task.id]
    if not submission.answered(task.id, wanted):
        return _mark(task, "untouched")
    try:
        plan = submission.plan(task.id, wanted, submission.check_of(task.id))
        last = submission.plan(task.id, wanted)
    except RecursionError:
        return _mark(task, "wrong", note="The cells need each other in too long a chain.")
    mark = _by_plan(task, notebook, submission, plan, facts, sessions)
    if mark.outcome != "right" and last != plan:  # the answer may have been mended behind its check
        other = _by_plan(task, notebook, submission, last, facts, sessions)
        mark = max(mark, other, key=lambda each: each.points)
    return mark


def _by_plan(
    task: Task, notebook: Notebook, submission: Submission, plan: Plan, facts: Facts, sessions: Sandboxes
) -> TaskMark:
    """The mark for an answer that is made of these cells."""
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
    """Bring the session to where the task's answer is; the cells that raised, and what."""
    session.cell(notebook.preamble)
    names = [name for name in plan.provided if name in facts.names(notebook.name)]
    if names:
        session.provide(facts.bundle(notebook.name), names)
    return [(index, error) for index in plan.cells if (error := session.cell(submission.cells[index].source))]


def _note(submission: Submission, plan: Plan, errors: list[tuple[int, dict]], wanted: tuple[str, ...]) -> str:
    """What else went wrong: a cell that isn't Python, or that raised before it had made what the task asks for."""
    if plan.broken and plan.missing:
        return f"A cell can't be run: {plan.broken[0][1]}."
    mine = [error for index, error in errors if submission.names[index].binds & set(wanted)]
    error = (mine or [error for _, error in errors] or [None])[0]
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
        except (ArithmeticError, ValueError, TypeError, MemoryError):  # numbers that no honest answer has
            wrong = "the answer can't be judged"
    return Tried(test.name, test.tried, test.share, wrong)


def _public_check(
    task: Task, notebook: Notebook, submission: Submission, plan: Plan, facts: Facts, sessions: Sandboxes
) -> str:
    """What the notebook's own check says, in an interpreter that has seen no hidden input."""
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
    """An error of the student's code, in the words of the submission and of Python alone.

    From a hidden test (``wanted`` is given then) no message: it could tell the hidden input. A line is quoted if it stands in the
    submission, a kind of error if Python or the submission knows it.
    """
    error = error if isinstance(error, dict) else {}
    kind, line, text, message = (error.get(name) for name in ("type", "line", "text", "message"))
    sources = [cell.source for cell in submission.cells]
    kind = (
        kind
        if isinstance(kind, str)
        and (hasattr(builtins, kind) or kind.isidentifier() and any(kind in source for source in sources))
        else "an error"
    )
    if error.get("type") == "NotDone":
        return "it isn't done yet"
    if wanted and kind == "KeyError" and isinstance(message, str) and message.strip("'\"") in wanted:
        return f"there is no {message}: the cell that makes it is missing, or stopped before it"
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
