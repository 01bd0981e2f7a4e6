"""Judge one task of a submission: choose the cells, run them in a sandbox, ask the hidden tests' questions.

A task has several attempts, and the best one counts. First come slices: the cells that the task's names lead to.
A slice misses what a cell changes without naming it (``for s in shifts: s += 1``, a function that fills a table,
``%%writefile``). So a task that isn't right is judged again with the student's cells run from the top.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from grading.course import Notebook
from grading.judging.hidden_tests import BadAnswer, HiddenTest, read_answer
from grading.judging.reference import Facts
from grading.judging.sandboxes import Sandboxes
from grading.judging.wording import in_words
from grading.marks import STOPPED, TaskMark, Tried
from grading.release.masters import Task
from grading.sandbox.session import Broken, Session
from grading.submissions.slicing import Plan, Submission

FROM_THE_TOP = "This answer was judged with the whole notebook run from the top."


@dataclass(frozen=True)
class Answer:
    """A student's answer to one code task: where it is, and what judges it."""

    task: Task
    notebook: Notebook
    submission: Submission
    facts: Facts

    @property
    def wanted(self) -> tuple[str, ...]:
        return self.facts.hidden_tests.WANTED[self.task.id]

    @property
    def tests(self) -> list[HiddenTest]:
        return [test for test in self.facts.hidden_tests.HIDDEN_TESTS if test.task == self.task.id]

    @property
    def hidden(self) -> bool:
        """Return whether a question shows the student's code the hidden activations."""
        return any(question.arrays == "hidden" for test in self.tests for question in test.questions)


def judge(answer: Answer, sessions: Sandboxes) -> TaskMark:
    """Return the mark of the best slice: at the task's check, at the notebook's end, and without redefined builtins."""
    task, submission = answer.task, answer.submission
    if not submission.answered(task.id, answer.wanted):
        return mark(task, "untouched")
    check = submission.check_of(task.id)
    try:
        plans = [
            submission.plan(task.id, answer.wanted, check),
            submission.plan(task.id, answer.wanted),  # the student may have fixed the answer below its check
            # `sum = 0` in a scratch cell, run after the answer was checked
            submission.plan(task.id, answer.wanted, check, redefined=False),
        ]
    except RecursionError:
        return mark(task, "wrong", note="The chain of cells that need each other is too long.")
    best = _by_plan(answer, plans[0], sessions)
    for i, plan in enumerate(plans[1:], start=1):
        if best.outcome != "right" and plan not in plans[:i]:
            best = max(best, _by_plan(answer, plan, sessions), key=lambda each: each.points)
    return best


def judge_from_the_top(answer: Answer, found: TaskMark, sessions: Sandboxes, until: float) -> TaskMark:
    """Return a better mark than ``found`` if the student's cells, run from the top, earn one; else ``found``.

    It is tried only if a cell that the slice left out may have an effect on the answer.

    Args:
        until: when to stop, on the monotonic clock.
    """
    if found.outcome in ("right", "stopped"):  # more cells take more time and memory
        return found
    submission, wanted = answer.submission, answer.wanted
    if found.outcome in ("untouched", "not found") and not submission.mentions(wanted):
        return found
    best = found
    try:
        for plan in _plans_from_the_top(answer):
            if best.outcome != "right":
                tried = _by_plan(answer, plan, sessions, until, than=best.points)
                best = replace(tried, note=tried.note or FROM_THE_TOP) if tried.points > best.points else best
    except RecursionError:
        pass
    return best


def _plans_from_the_top(answer: Answer) -> Iterator[Plan]:
    """Yield the cells above the task's check, then all cells if one below the check names the answer."""
    submission, wanted = answer.submission, answer.wanted
    check = submission.check_of(answer.task.id)
    sliced = submission.plan(answer.task.id, wanted, check)
    ends = [check, submission.last] if submission.mentions(wanted, check) else [check]
    for end in dict.fromkeys(ends):
        plan = submission.plan_from_the_top(wanted, end)
        if submission.adds_effects(plan, to=sliced):
            yield plan


def _by_plan(answer: Answer, plan: Plan, sessions: Sandboxes, until: float = math.inf, than: float = -1.0) -> TaskMark:
    """Return the mark for the answer that the plan's cells produce.

    Args:
        than: points to beat; a mark that doesn't lacks what the public check says.
    """
    task = answer.task
    if len(set(plan.missing)) == len(answer.wanted):
        if plan.broken:
            return mark(task, "wrong", note=f"The cell can't be run: {plan.broken[0][1]}.")
        return mark(task, "not found", note=f"No cell defines {' or '.join(answer.wanted)}.")
    try:
        with sessions.task(until, answer.hidden) as session:
            errors = _run(answer, plan, session)
            answer.facts.task = task.id
            tried = tuple(_try(test, answer, session) for test in answer.tests)
        share = sum(each.share for each in tried if not each.wrong)
        better = task.points * share > than
        says = _public_check(answer, plan, sessions, until) if share < 0.999 and better else ""
    except Broken as broken:
        return mark(task, "stopped", note=f"Stopped: {STOPPED[broken.reason]}.")
    outcome = "right" if share > 0.999 else "partly right" if share else "wrong"
    note = "" if share > 0.999 else _note(answer, plan, errors)
    return mark(task, outcome, round(task.points * share, 4), tried, says, note)


def _run(answer: Answer, plan: Plan, session: Session) -> list[tuple[int, dict]]:
    """Run the plan's cells in the session and return the errors as (cell index, error)."""
    notebook, facts = answer.notebook, answer.facts
    session.cell(notebook.preamble)
    names = [name for name in plan.provided if name in facts.names(notebook.name)]
    if names:
        session.provide(facts.bundle(notebook.name), names)
    return [(index, error) for index in plan.cells if (error := session.cell(answer.submission.cells[index].source))]


def _note(answer: Answer, plan: Plan, errors: list[tuple[int, dict]]) -> str:
    """Return a note on a cell that isn't Python, or on the first error raised while the cells ran."""
    submission = answer.submission
    if plan.broken and plan.missing:
        return f"A cell can't be run: {plan.broken[0][1]}."
    in_answer = [error for index, error in errors if submission.names[index].binds & set(answer.wanted)]
    error = next(iter(in_answer or [error for _, error in errors]), None)
    return f"While your cells ran: {in_words(error, submission)}" if error else ""


def _try(test: HiddenTest, answer: Answer, session: Session) -> Tried:
    facts = answer.facts
    answers: dict = {}
    wrong = ""
    for question in test.questions:
        more, blob = facts.given(question.arrays)
        reply, arrays = session.ask(facts.questions, question.name, {**question.given, **more}, blob)
        if reply.get("error") is not None:
            wrong = in_words(reply["error"], answer.submission, answer.wanted)
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


def _public_check(answer: Answer, plan: Plan, sessions: Sandboxes, until: float) -> str:
    """Return what the notebook's own check says, run in an interpreter that has seen no hidden input."""
    facts = answer.facts
    check = facts.hidden_tests.CHECKS.get(answer.task.id)
    if check is None:
        return ""
    try:
        with sessions.task(until) as session:
            _run(answer, plan, session)
            reply, _ = session.ask(facts.questions, "public_check", {"check": check, "names": list(answer.wanted)})
    except Broken:  # the hidden tests' points are earned all the same
        return ""
    told = reply.get("answer")
    says = told.get("says") if isinstance(told, dict) else None
    return says[:1000] if isinstance(says, str) else ""


def mark(
    task: Task, outcome: str, points: float = 0.0, tried: tuple[Tried, ...] = (), says: str = "", note: str = ""
) -> TaskMark:
    """Return a task's mark."""
    return TaskMark(task.id, outcome, points, task.points, task.bonus, tried, says, note)
