"""Right answers get full marks, however they are written and however damaged the file is."""

from __future__ import annotations

import pytest

from tests.submissions.right import right

pytestmark = pytest.mark.submissions
RIGHT = right()


def test_there_are_enough_right_answers():
    assert len(RIGHT) >= 25


@pytest.mark.parametrize(("what", "make", "tasks"), RIGHT, ids=[what for what, *_ in RIGHT])
def test_a_right_answer_gets_full_marks(what, make, tasks, graded):
    found = graded(*make())
    for task in tasks:
        mark = found[task]
        assert mark.points == mark.most, (task, mark.outcome, mark.note, mark.says, [each.wrong for each in mark.tried])
