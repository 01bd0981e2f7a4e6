"""A wrong answer loses points in its own task only, and the feedback says what is wrong."""

from __future__ import annotations

import re

import pytest

from tests.submissions import books
from tests.submissions.wrong import wrong

pytestmark = pytest.mark.submissions
WRONG = wrong()
IDS = [f"{task} {what}" for task, what, _, _ in WRONG]


def test_there_are_enough_wrong_answers_and_some_for_every_task():
    assert len(WRONG) >= 60 and {task for task, *_ in WRONG} == set(books.CODE_TASKS)
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize(("task", "what", "source", "word"), WRONG, ids=IDS)
def test_a_wrong_answer_loses_points_and_is_told_why(task, what, source, word, graded):
    name = books.name_of(task)
    only = {task: source} if task not in ("2.3",) else {"2.1": books.solutions()["2.1"], task: source}
    if task == "1.3":
        only["1.1"] = books.solutions()["1.1"]
    found = graded(books.book(name, only, solved=False))
    mark = found[task]
    assert mark.points < mark.most and mark.outcome in ("wrong", "partly right")
    said = " ".join([mark.says, mark.note, *(each.wrong for each in mark.tried)])
    assert re.search(word if "|" in word else re.escape(word), said), said
    others = [each for each in found.values() if each.task not in only]
    assert all(each.outcome in ("untouched", "not found") for each in others)
