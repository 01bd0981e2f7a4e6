"""CSV files have one row per student and no formulas, and keep the instructor's points."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

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


def test_canvas_gets_names_and_ids(course):
    both = [
        replace(marks("petrovivan_123", course), student_id="123", full_name="petrovivan"),
        marks("group_3", course),  # a name that students chose holds no id
    ]
    top, first, second = rows(tables.canvas(both, course, {}, "Homework"))
    assert top["Homework"] == "7" and (first["Student"], first["ID"], first["Homework"]) == ("petrovivan", "123", "1.5")
    assert (second["Student"], second["ID"]) == ("group_3", "")


def test_an_answer_isnt_changed_because_a_program_lost_its_characters(course, written):
    anna = marks("anna", course, **{"1.4": "naïve — yes"})
    table = tables.written_table([anna], course, [])
    before = [{**row, "points": "0.3", "answer": "na?ve ? yes", "comment": "ok"} for row in rows(table)]
    (row,) = rows(tables.written_table([anna], course, before))
    assert row["comment"] == "ok"
    (row,) = rows(tables.written_table([anna], course, [{**before[0], "answer": "no ?"}]))
    assert row["comment"] == "ok (answer changed)"


def table_of(path, course, text: str, encoding: str, known):
    path.write_bytes(text.encode(encoding))
    found = tables.read_written(path, known)
    return tables.matched(found, course, [each.student for each in known])


@pytest.mark.parametrize(
    ("encoding", "comment"),
    [
        ("cp1252", "schön, naïve"), ("mac_roman", "schön, naïve"), ("utf-8-sig", "schön 学"), ("utf-16", "schön 学"),
        ("utf-16-le", "schön 学"), ("cp850", "schön"), ("utf-8", "schön 学"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_comment_survives_every_encoding(tmp_path, course, encoding, comment, delimiter):
    known = [marks("José Müller_77", course, **{"1.4": "Größe"})]
    text = "student,task,points,most,comment,answer\nJosé Müller_77,1.4,0.25,0.5,,Größe\n".replace(",", delimiter)
    text = text.replace(f"0.5{delimiter}", f'0.5{delimiter}"{comment}"').replace("0.25", '"0,25"')
    (row,) = table_of(tmp_path / "written.csv", course, text, encoding, known)
    assert (row["student"], row["comment"], row["problem"]) == ("José Müller_77", comment, "")
    assert tables.written_points([row], course, ["José Müller_77"]) == {("José Müller_77", "1.4"): 0.25}
