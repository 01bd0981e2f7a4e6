"""Write the totals for Moodle's "Upload grading worksheet", into the assignment's own worksheet if there is one.

Moodle finds the columns by their headings, in the language of the person who uploads: Identifier, Grade and Last
modified (grade) are required (mod/assign/feedback/offline/importgradeslib.php). A whole worksheet has Identifier,
Full name, Email address, Status, Grade, Maximum grade, Grade can be changed, Last modified (submission), Last modified
(grade) and Feedback comments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from grading.course import Course
from grading.marks import Marks
from grading.reports.spreadsheets import MergeError, read_table, write_rows
from grading.reports.tables import cell, total_of

# Without "Feedback comments": an empty one would delete the comments that are in Moodle.
HEADINGS = ("Identifier", "Full name", "Grade", "Maximum grade", "Last modified (grade)")
PREFIX = "Participant "  # Moodle's word in English; Moodle cuts off as many characters as its own language has
_IDENTIFIER = re.compile(r"\D*?(\d+)\s*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


def moodle(marks: Sequence[Marks], course: Course, written: dict) -> str:
    """Return a worksheet for a Moodle in English. The identifier's number is the one in Moodle's folder names."""
    rows: list[Sequence[str]] = [HEADINGS]
    for each in marks:
        identifier = f"{PREFIX}{each.student_id}" if each.student_id.isdecimal() else ""
        total = f"{total_of(each, course, written):g}"
        rows.append((identifier, cell(each.full_name or each.student), total, f"{course.most:g}", "-"))
    return write_rows(rows)


def fill_worksheet(path: Path, marks: Sequence[Marks], course: Course, written: dict) -> tuple[str, list[str]]:
    """Return Moodle's own worksheet with the totals as grades, and remarks. All other cells stay as they are.

    Raises:
        MergeError: the file has no column of identifiers or of grades.
    """
    header, rows = _read(path, [name for each in marks for name in (each.student, each.full_name)])
    identifiers, grades, most = _columns(path, header, rows)
    titles = [heading.strip().lower() for heading in header]
    names = titles.index("full name") if "full name" in titles else None
    remarks = []
    for each in marks:
        row = _row_of(each, rows, identifiers, names)
        total = total_of(each, course, written)
        if row is None:
            remarks.append(f"{each.student} isn't in {path.name}.")
            continue
        row[grades] = f"{total:g}"
        limit = _value(row[most]) if most is not None else None
        if limit is not None and total > limit:
            remarks.append(f"{each.student} has {total:g} points; Moodle takes at most {limit:g} in this assignment.")
    return write_rows([header, *rows]), remarks


def check_worksheet(path: Path) -> None:
    """Raise a MergeError unless the file is a grading worksheet."""
    _columns(path, *_read(path, ()))


def _read(path: Path, known: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    header, *rows = read_table(path, known) or [[]]
    return header, [row + [""] * (len(header) - len(row)) for row in rows if any(row)]


def _row_of(each: Marks, rows: list[list[str]], identifiers: int, names: int | None) -> list[str] | None:
    """Return the student's row: by number, or by name if the students' ids aren't Moodle's."""
    words = _words(each.full_name or each.student)
    alike = [row for row in rows if names is not None and words == _words(row[names])]
    if not each.student_id.isdecimal():
        return alike[0] if len(alike) == 1 else None
    same_id = (row for row in rows if _number(row[identifiers]) == int(each.student_id))
    row = next(same_id, None)
    # Another platform's id may be some other student's number in Moodle.
    other = row is not None and names is not None and not words & _words(row[names])
    return (alike[0] if len(alike) == 1 else None) if other else row


def _number(identifier: str) -> int | None:
    match = _IDENTIFIER.fullmatch(identifier)
    return int(match[1]) if match else None


def _columns(path: Path, header: list[str], rows: list[list[str]]) -> tuple[int, int, int | None]:
    """Return the columns of identifiers, grades and maximum grades.

    In other languages than English, the grade's column is the one before the maximum grade, which is the same in
    all rows.
    """
    titles = [heading.strip().lower() for heading in header]
    most = titles.index("maximum grade") if "maximum grade" in titles else None
    if "identifier" in titles and "grade" in titles:
        return titles.index("identifier"), titles.index("grade"), most
    columns = range(len(header))
    identifiers = [i for i in columns if rows and all(_IDENTIFIER.fullmatch(row[i]) for row in rows)]
    same = [i for i in columns if rows and len({row[i] for row in rows}) == 1 and _value(rows[0][i])]
    if not identifiers or not same or same[0] <= identifiers[0] + 1:
        raise MergeError(
            f"{path.name} isn't a grading worksheet: it needs the columns Identifier and Grade. Download it in Moodle: "
            "the assignment's submissions, Actions, Download grading worksheet."
        )
    return identifiers[0], same[0] - 1, same[0]


def _value(text: str) -> float | None:
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text.strip()) else None


def _words(name: str) -> set[str]:
    """Return a name's words, whatever their order: some platforms put last names first."""
    return set(re.findall(r"[^\W_]+", name.casefold()))
