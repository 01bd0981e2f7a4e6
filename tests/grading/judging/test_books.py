"""The latest attempt with all notebooks counts; without one, the latest file of each notebook."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from grading.judging.books import choose_books
from grading.submissions.collect import Handed
from tests.submissions.books import FIRST, SECOND, book, put

WANTED = {"1.1": ("collect_average_residuals",), "2.2": ("sae_loss",)}


@pytest.fixture
def chosen(course, tmp_path):
    """Return ``chosen(latest, …)``, which returns each notebook's marker and the notes; attempts are {name: marker}."""
    facts = SimpleNamespace(hidden_tests=SimpleNamespace(WANTED=WANTED), names=lambda notebook: [])

    def files(number: int, attempt: dict[str, str | None]):
        for name, marker in attempt.items():
            answers = {
                "1.1" if name == FIRST else "2.2": f"{WANTED['1.1' if name == FIRST else '2.2'][0]} = {marker!r}"
            }
            yield put(tmp_path / str(number), book(name, answers if marker else {}, solved=False), name)

    def run(*attempts):
        latest, *earlier = [list(files(*each)) for each in enumerate(attempts)]
        notes: list[str] = []
        books = choose_books(Handed("anna", latest, [], earlier), course, facts, notes)
        sources = {name: " ".join(cell.source for cell in each.cells) for name, each in books.items()}
        return {name: next((m for m in "abcd" if f"= '{m}'" in text), None) for name, text in sources.items()}, notes

    return run


def test_the_latest_complete_attempt_counts_as_a_whole(chosen):
    assert chosen({FIRST: "a", SECOND: "b"}, {FIRST: "c", SECOND: "d"}) == ({FIRST: "a", SECOND: "b"}, [])


@pytest.mark.parametrize("latest", [{SECOND: "b"}, {}, {FIRST: None, SECOND: None}])
def test_an_incomplete_or_unanswered_attempt_gives_way_to_a_complete_one(chosen, latest):
    books, notes = chosen(latest, {FIRST: "c", SECOND: "d"})
    assert books == {FIRST: "c", SECOND: "d"} and "latest attempt with all notebooks counts" in notes[-1]


def test_without_a_complete_attempt_the_latest_file_of_each_notebook_counts(chosen):
    books, notes = chosen({SECOND: "b"}, {SECOND: "d"}, {FIRST: "c"})
    assert books == {FIRST: "c", SECOND: "b"} and "latest file of each notebook" in notes[-1]


def test_an_answered_notebook_counts_before_a_later_untouched_one(chosen):
    assert chosen({SECOND: None}, {SECOND: "d"})[0] == {SECOND: "d"}


def test_a_complete_attempt_may_lack_answers_in_a_notebook(chosen):
    assert chosen({FIRST: "a", SECOND: None}, {FIRST: "c", SECOND: "d"})[0] == {FIRST: "a", SECOND: None}
