"""Write a report's CSV files: marks, written answers, and the formats of Canvas and Moodle."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from grading.course import Course
from grading.marks import Marks

WRITTEN_FIELDS = ("student", "task", "points", "most", "comment", "answer")
MAX_ANSWER = 30_000  # characters; spreadsheets hold 32,767 in a cell
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class MergeError(ValueError):
    """Raised when a report or its table of written answers can't be read; the message names every problem."""


def grades(marks: Sequence[Marks], course: Course, written: dict[tuple[str, str], float]) -> str:
    """Return the CSV ``student,status,<task>…,total,max``, a row per student. Unmarked written tasks are empty."""
    rows = [("student", "status", *course.tasks, "total", "max")]
    for each in marks:
        cells = ["" if value is None else f"{value:g}" for value in points_of(each, course, written).values()]
        rows.append(
            (cell(each.student), each.status, *cells, f"{total_of(each, course, written):g}", f"{course.most:g}")
        )
    return _csv(rows)


def points_of(marks: Marks, course: Course, written: dict[tuple[str, str], float]) -> dict[str, float | None]:
    """Return the points per task, None for a written answer that isn't marked yet."""
    graded = {task.task: task.points for task in marks.tasks}
    result: dict[str, float | None] = {}
    for name, task in course.tasks.items():
        if task.written and name in marks.written:
            result[name] = written.get((cell(marks.student), name))
        else:
            result[name] = graded.get(name, 0.0)
    return result


def total_of(marks: Marks, course: Course, written: dict[tuple[str, str], float]) -> float:
    """Return the sum of all tasks' points. Written answers that aren't marked yet count as 0."""
    return round(sum(value or 0.0 for value in points_of(marks, course, written).values()), 4)


def written_table(marks: Sequence[Marks], course: Course, before: Sequence[dict]) -> str:
    """Return a CSV of all written answers, with columns for points and a comment.

    Points and comments in the earlier table are kept. If an answer changed after it was marked, its comment says so.
    """
    old = {(row["student"], row["task"]): row for row in before}
    rows: list[tuple] = [WRITTEN_FIELDS]
    for each in marks:
        for task, answer in each.written.items():
            name, shown = cell(each.student), cell(answer[:MAX_ANSWER])
            kept = old.pop((name, task), {"points": "", "comment": "", "answer": shown})
            comment = kept["comment"]
            if kept["points"] and _plain(kept["answer"]) != _plain(shown) and "(answer changed)" not in comment:
                comment = f"{comment} (answer changed)".strip()
            rows.append((name, task, kept["points"], f"{course.tasks[task].points:g}", comment, shown))
    for row in old.values():  # marked, but the answer is gone: keep the instructor's work
        if row["points"] or row["comment"]:
            rows.append(tuple(row[name] for name in WRITTEN_FIELDS))
    return _csv(rows)


def read_written(path: Path) -> list[dict]:
    """Return the rows of a table of written answers, in any encoding and with any delimiter that spreadsheets use.

    Raises:
        MergeError: a column is missing.
    """
    if not path.exists():
        return []
    raw = path.read_bytes()
    text = raw.decode("utf-16") if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else raw.decode("utf-8-sig", errors="replace")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    missing = [name for name in WRITTEN_FIELDS[:3] if rows and name not in rows[0]]
    if missing:
        raise MergeError(f"{path.name} has no column {' and '.join(missing)}. Restore its original first line.")
    return [{name: row.get(name) or "" for name in WRITTEN_FIELDS} for row in rows]


def written_points(rows: Iterable[dict], course: Course, students: Iterable[str]) -> dict[tuple[str, str], float]:
    """Return the points by (student, task), from the rows that have points.

    Raises:
        MergeError: a student or task is unknown, points aren't a number in range, or a row occurs twice.
    """
    known = {cell(student) for student in students}
    found: dict[tuple[str, str], float] = {}
    problems = []
    for number, row in enumerate(rows, 2):
        key, text = (row["student"], row["task"]), row["points"].strip()
        if not text:
            continue
        problem = _problem(row, course, known, text) or ("this row occurs twice" if key in found else "")
        if problem:
            problems.append(f"line {number} ({row['student'][:30]}, {row['task'][:6]}): {problem}")
        else:
            found[key] = float(text.replace(",", "."))
    if problems:
        raise MergeError(
            "Fix these lines in the table of written answers, then merge again:\n  " + "\n  ".join(problems)
        )
    return found


def _problem(row: dict, course: Course, known: set[str], text: str) -> str:
    task = course.tasks.get(row["task"])
    if row["student"] not in known:
        return "no such student"
    if task is None or not task.written:
        return f"not a written task; choose from {', '.join(course.written)}"
    if not re.fullmatch(r"\d+([.,]\d+)?", text):
        return f"points are {text[:20]!r}, not a number such as 0.5"
    if float(text.replace(",", ".")) > task.points:
        return f"points are {text}, more than {task.points:g}"
    return ""


def canvas(marks: Sequence[Marks], course: Course, written: dict, title: str) -> str:
    """Return the marks in Canvas' gradebook format. The ID is the one in the names of files downloaded from Canvas."""
    header = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", title)
    rows = [header, ("    Points Possible", "", "", "", "", f"{course.most:g}")]
    for each in marks:
        name, number = _name_and_id(each.student)
        rows.append((cell(name), number, "", "", "", f"{total_of(each, course, written):g}"))
    return _csv(rows)


def moodle(marks: Sequence[Marks], course: Course, written: dict) -> str:
    """Return Moodle's offline grading worksheet. The identifier is the number in Moodle's folder names."""
    rows = [("Identifier", "Full name", "Grade")]
    for each in marks:
        name, number = _name_and_id(each.student)
        rows.append((f"Participant {number}" if number else "", cell(name), f"{total_of(each, course, written):g}"))
    return _csv(rows)


def _name_and_id(student: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)_(\d+)", student)
    return (match[1], match[2]) if match else (student, "")


def cell(text: str) -> str:
    """Return the text so that no spreadsheet reads it as a formula.

    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    text = text.encode("utf-8", "replace").decode().replace("\x00", "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return " ".join(text.split())


def _csv(rows: Sequence[Sequence]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
