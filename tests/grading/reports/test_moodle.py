"""Moodle's grading worksheet is filled in; without it, one for a Moodle in English is written."""

from __future__ import annotations

import csv
import io

import pytest

from grading.marks import Marks, TaskMark
from grading.reports import moodle
from grading.reports.spreadsheets import MergeError

ENGLISH = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum grade","Grade can be changed",\
"Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 77","Ivan Petrov",i@x.org,"Submitted for grading",,7.00,Yes,"Friday, 7 November 2025, 9:33 PM",-,
"Participant 78","Eva Li",e@x.org,"No submission",3.00,7.00,Yes,-,"Friday, 7 November 2025, 9:40 PM",keep
"""
GERMAN = """\
ID;"Vollständiger Name";Status;Bewertung;Bestwertung;"Zuletzt geändert (Bewertung)";"Feedback als Kommentar"
"Teilnehmer/in77";"Ivan Petrov";"Zur Bewertung abgegeben";;"7,00";-;
"Teilnehmer/in78";"Eva Li";"Keine Abgabe";"3,00";"7,00";-;
"""


def mark(student_id: str, name: str, points: float = 1.0) -> Marks:
    student = "_".join(filter(None, (name, student_id)))
    return Marks(student, "graded", (TaskMark("1.1", "right", points, 1.0),), student_id=student_id, full_name=name)


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def fill(tmp_path, course):
    """Return ``fill(worksheet, *marks)``, which returns the filled worksheet's rows and the remarks."""

    def run(worksheet: str, *marks: Marks, encoding="utf-8"):
        path = tmp_path / "Grades.csv"
        path.write_bytes(worksheet.encode(encoding))
        text, remarks = moodle.fill_worksheet(path, marks, course, {})
        return rows(text), remarks

    return run


def test_without_a_worksheet_the_columns_that_moodle_requires_are_there(course):
    first, second = rows(moodle.moodle([mark("77", "Ivan Petrov"), mark("", "ada")], course, {}))
    assert (first["Identifier"], first["Full name"], first["Grade"]) == ("Participant 77", "Ivan Petrov", "1")
    assert {"Identifier", "Grade", "Last modified (grade)"} <= set(first) and "Feedback comments" not in first
    assert (first["Last modified (grade)"], second["Identifier"]) == ("-", "")


def test_only_grades_change_in_a_worksheet(fill):
    before = rows(ENGLISH)
    after, remarks = fill(ENGLISH, mark("77", "Ivan Petrov", 0.5))
    assert after == [{**before[0], "Grade": "0.5"}, before[1]] and remarks == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_a_worksheet_in_another_language_keeps_its_words(fill, encoding):
    after, remarks = fill(GERMAN, mark("78", "Eva Li", 0.5), encoding=encoding)
    assert [row["Bewertung"] for row in after] == ["", "0.5"] and remarks == []
    assert after[1]["ID"] == "Teilnehmer/in78" and "Zuletzt geändert (Bewertung)" in after[1]


def test_students_of_another_platform_are_found_by_name_not_by_number(fill):
    after, remarks = fill(ENGLISH, mark("77", "Li, Eva", 0.5), mark("ivan", "Petrov Ivan", 0.25), mark("9", "Bo"))
    assert [row["Grade"] for row in after] == ["0.25", "0.5"] and remarks == ["Bo_9 isn't in Grades.csv."]


def test_points_above_moodles_maximum_are_reported(fill):
    assert "Moodle takes at most 7" in fill(ENGLISH, mark("77", "Ivan Petrov", 8.0))[1][0]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "Name,Points\nEva,3\n"])
def test_another_table_is_rejected(fill, text):
    with pytest.raises(MergeError, match="isn't a grading worksheet"):
        fill(text, mark("77", "Ivan"))
