"""CSV files have one row per student and no formulas, and keep the instructor's points."""

from __future__ import annotations

import csv
import io

import pytest

from grading.marks import Marks, TaskMark
from grading.reports import tables
from grading.reports.tables import MergeError


def marks(student: str, course, right=("1.1", "2.2"), **written: str) -> Marks:
    found = tuple(
        TaskMark(
            name, "right" if name in right else "wrong", task.points if name in right else 0.0, task.points, task.bonus
        )
        for name, task in course.tasks.items()
    )
    return Marks(student, "graded", found, {name.replace("_", "."): text for name, text in written.items()})


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def anna(course):
    return marks("anna", course, **{"1.4": 'Steering\nmoves, "moods".', "2.5": "=SUM(A1)"})


@pytest.fixture
def written(tmp_path, anna, course):
    """Return a function that writes the table of written answers with replacements and reads it back."""

    def run(*replacements, encoding="utf-8"):
        text = tables.written_table([anna], course, [])
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "written.csv"
        path.write_bytes(text.encode(encoding))
        return tables.read_written(path)

    return run


def test_grades_have_a_row_per_student_and_the_documented_columns(course, anna):
    text = tables.grades([anna, marks("=cmd|'x'", course)], course, {})
    assert text.splitlines()[0] == "student,status,1.1,1.2,1.3,1.4,2.1,2.2,2.3,2.4,2.5,2.6,2.7,total,max"
    first, second = rows(text)
    assert (first["1.1"], first["2.2"], first["2.1"], first["1.4"], first["total"], first["max"]) == (
        "1",
        "0.5",
        "0",
        "",
        "1.5",
        "7",
    )
    assert second["student"] == "'=cmd|'x'" and second["1.4"] == "0"  # no answer, no points


def test_written_points_are_added_to_the_totals(course, anna, written):
    table = written(("anna,1.4,,0.5", "anna,1.4,0.35,0.5"), ("anna,2.5,,1", 'anna,2.5,"0,5",1'))
    points = tables.written_points(table, course, ["anna"])
    (row,) = rows(tables.grades([anna], course, points))
    assert (row["1.4"], row["2.5"], row["total"]) == ("0.35", "0.5", "2.35")


def test_answers_are_complete_and_not_formulas(course, anna):
    first, second = rows(tables.written_table([anna], course, []))
    assert first["answer"] == 'Steering\nmoves, "moods".' and second["answer"] == "'=SUM(A1)"


def test_a_second_grading_keeps_points_and_comments(course, anna, written):
    before = written(("anna,1.4,,0.5,", "anna,1.4,0.3,0.5,good"))
    (first, _) = rows(tables.written_table([anna], course, before))
    assert (first["points"], first["comment"]) == ("0.3", "good")
    other = marks("anna", course, **{"1.4": "Something else."})
    first, *_ = rows(tables.written_table([other], course, before))
    assert (first["points"], first["comment"]) == ("0.3", "good (answer changed)")
    (kept,) = [row for row in rows(tables.written_table([], course, before)) if row["points"]]
    assert kept["student"] == "anna"  # no longer in the class, but marked


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_spreadsheets_are_read(course, anna, written, encoding):
    assert len(written(encoding=encoding)) == 2


def test_semicolons_and_decimal_commas_are_read(tmp_path, course):
    path = tmp_path / "written.csv"
    path.write_text("student;task;points;most;comment;answer\nanna;1.4;0,25;0,5;;text\n")
    assert tables.written_points(tables.read_written(path), course, ["anna"]) == {("anna", "1.4"): 0.25}


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("boris,1.4,0.1,0.5,,x", "no such student"), ("anna,1.1,0.1,0.5,,x", "not a written task"),
        ("anna,1.4,much,0.5,,x", "not a number"), ("anna,1.4,0.6,0.5,,x", "more than 0.5"),
        ("anna,1.4,-1,0.5,,x", "not a number"), ("anna,1.4,nan,0.5,,x", "not a number"),
        ("anna,1.4,1e9,0.5,,x", "not a number"), ("anna,1.4,0.1,0.5,,x\nanna,1.4,0.2,0.5,,x", "occurs twice"),
    ],
)  # fmt: skip
def test_invalid_points_are_reported_by_line(tmp_path, course, row, word):
    path = tmp_path / "written.csv"
    path.write_text(f"student,task,points,most,comment,answer\n{row}\n")
    with pytest.raises(MergeError, match=word) as caught:
        tables.written_points(tables.read_written(path), course, ["anna"])
    assert "line " in str(caught.value)


def test_a_table_without_its_first_line_is_rejected(tmp_path):
    path = tmp_path / "written.csv"
    path.write_text("anna,1.4,0.1\nanna,1.4,0.1\n")
    with pytest.raises(MergeError, match="no column"):
        tables.read_written(path)


def test_canvas_and_moodle_get_names_and_ids(course):
    both = [marks("petrovivan_123", course), marks("ada", course)]
    canvas = rows(tables.canvas(both, course, {}, "Homework"))
    assert canvas[0]["Homework"] == "7" and (canvas[1]["Student"], canvas[1]["ID"], canvas[1]["Homework"]) == (
        "petrovivan",
        "123",
        "1.5",
    )
    moodle = rows(tables.moodle(both, course, {}))
    assert (moodle[0]["Identifier"], moodle[0]["Grade"], moodle[1]["Identifier"]) == ("Participant 123", "1.5", "")
