"""A report's pages escape everything, and every student's page has its own safe file name."""

from __future__ import annotations

from grading.marks import Marks, TaskMark, Tried
from grading.reports import pages

EVIL = "<script>alert(1)</script>"


def evil(course) -> Marks:
    tried = (Tried("a", "three sentences", 0.5, EVIL), Tried("b", "one sentence", 0.5, ""))
    tasks = [
        TaskMark(
            name, "to be marked" if task.written else "partly right", 0.25, task.points, task.bonus, tried, EVIL, EVIL
        )
        for name, task in course.tasks.items()
    ]
    return Marks(EVIL, "graded", tuple(tasks), {"1.4": EVIL, "2.5": "text"}, (EVIL,))


def test_everything_is_escaped(course):
    marks = evil(course)
    comments = {(marks.student, "1.4"): EVIL}
    shown = [
        pages.feedback(marks, course, {}, comments),
        pages.written_page([marks], course),
        pages.summary([marks], course, {}, {"model": EVIL}),
    ]
    for page in shown:
        assert "<script" not in page and "&lt;script&gt;" in page
        assert "Content-Security-Policy" in page


def test_a_students_page_shows_the_hidden_tests_and_their_results(course):
    page = pages.feedback(evil(course), course, {}, {})
    assert "three sentences" in page and "✗" in page and "✓" in page and "written answers not marked yet" in page


def test_an_unreadable_submission_has_a_page(course):
    page = pages.feedback(Marks("anna", "unreadable", (), notes=("x.ipynb: the file is empty.",)), course, {}, {})
    assert "the file is empty" in page and "No notebook could be read" in page


def test_the_summary_counts_mistakes_and_outcomes(course):
    wrong = [
        Marks(f"s{i}", "graded", (TaskMark("1.1", "wrong", 0.0, 1.0, says="BOS is averaged in."),)) for i in range(3)
    ]
    page = pages.summary(wrong, course, {}, {})
    assert "BOS is averaged in." in page and '<td class="number">3</td>' in page and "3 submissions" in page


def test_mistakes_that_differ_only_in_figures_count_as_one(course):
    said = [
        "FVU is 0.71, at most 0.38",
        "FVU is 1.98, at most 0.38",
        "FVU is 0.4, at most 0.38",
        "FVU is NaN, at most 0.38",
    ]
    wrong = [Marks(f"s{i}", "graded", (TaskMark("2.3", "wrong", 0.0, 1.0, says=text),)) for i, text in enumerate(said)]
    page = pages.summary(wrong, course, {}, {})
    assert "FVU is …, at most 0.38" in page and "FVU is NaN" in page and "0.71" not in page
    assert page.index("FVU is …") < page.index("FVU is NaN")


def test_an_empty_class_has_a_page(course):
    assert "0 submissions" in pages.summary([], course, {}, {})


def test_file_names_are_safe_and_differ():
    names = ["../../etc/passwd", "..", "a/b", "Иван Петров", "anna", "Anna", "x" * 500, "con", "=1+1", ""]
    found = [pages.file_name(name) for name in names]
    assert len({name.casefold() for name in found}) == len(names)
    assert all(
        "/" not in name and not name.startswith(".") and len(name.encode()) < 200 and name.endswith(".html")
        for name in found
    )
