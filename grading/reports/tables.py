"""The CSV files of a report: marks, written answers, and what Canvas and Moodle read."""

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
    """A table of written points that can't be taken over; every problem is named, and nothing was changed."""


def grades(marks: Sequence[Marks], course: Course, written: dict[tuple[str, str], float]) -> str:
    """``student,status,<task>…,total,max``: one row per student. A written task that isn't marked yet is empty."""
    rows = [("student", "status", *course.tasks, "total", "max")]
    for each in marks:
        cells = ["" if value is None else f"{value:g}" for value in points_of(each, course, written).values()]
        rows.append(
            (cell(each.student), each.status, *cells, f"{total_of(each, course, written):g}", f"{course.most:g}")
        )
    return _csv(rows)


def points_of(marks: Marks, course: Course, written: dict[tuple[str, str], float]) -> dict[str, float | None]:
    """Points per task; None for a written answer that nobody has marked."""
    found = {task.task: task.points for task in marks.tasks}
    result: dict[str, float | None] = {}
    for name, task in course.tasks.items():
        if task.written and name in marks.written:
            result[name] = written.get((cell(marks.student), name))
        else:
            result[name] = found.get(name, 0.0)
    return result


def total_of(marks: Marks, course: Course, written: dict[tuple[str, str], float]) -> float:
    """Points of all tasks; what nobody has marked counts as nothing."""
    return round(sum(value or 0.0 for value in points_of(marks, course, written).values()), 4)


def written_table(marks: Sequence[Marks], course: Course, before: Sequence[dict]) -> str:
    """Every written answer, with room for points and a comment; those of an earlier table are kept.

    Where an answer has changed since it was marked, its comment says so.
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
    for row in old.values():  # marked, but no longer there: never throw an instructor's work away
        if row["points"] or row["comment"]:
            rows.append(tuple(row[name] for name in WRITTEN_FIELDS))
    return _csv(rows)


def read_written(path: Path) -> list[dict]:
    """The rows of a table of written answers, as a spreadsheet may have saved it.

    Raises:
        MergeError: it isn't such a table.
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
        raise MergeError(f"{path.name} has no column {' and '.join(missing)}: keep the first line as it was written.")
    return [{name: row.get(name) or "" for name in WRITTEN_FIELDS} for row in rows]


def written_points(rows: Iterable[dict], course: Course, students: Iterable[str]) -> dict[tuple[str, str], float]:
    """Points by (student, task), of rows that have some.

    Raises:
        MergeError: unknown students or tasks, points that are no number or out of range, a row that is there twice.
    """
    known = {cell(student) for student in students}
    found: dict[tuple[str, str], float] = {}
    problems = []
    for number, row in enumerate(rows, 2):
        key, text = (row["student"], row["task"]), row["points"].strip()
        if not text:
            continue
        problem = _problem(row, course, known, text) or ("it is there twice" if key in found else "")
        if problem:
            problems.append(f"line {number} ({row['student'][:30]}, {row['task'][:6]}): {problem}")
        else:
            found[key] = float(text.replace(",", "."))
    if problems:
        raise MergeError("The table of written answers isn't taken over:\n  " + "\n  ".join(problems))
    return found


def _problem(row: dict, course: Course, known: set[str], text: str) -> str:
    task = course.tasks.get(row["task"])
    if row["student"] not in known:
        return "no such student"
    if task is None or not task.written:
        return f"no written task; these are {', '.join(course.written)}"
    if not re.fullmatch(r"\d+([.,]\d+)?", text):
        return f"points are {text[:20]!r}, not a number"
    if float(text.replace(",", ".")) > task.points:
        return f"{text} points are more than {task.points:g}"
    return ""


def canvas(marks: Sequence[Marks], course: Course, written: dict, title: str) -> str:
    """Canvas' gradebook format; the ID is what Canvas puts into the names of downloaded files."""
    header = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", title)
    rows = [header, ("    Points Possible", "", "", "", "", f"{course.most:g}")]
    for each in marks:
        name, number = _name_and_id(each.student)
        rows.append((cell(name), number, "", "", "", f"{total_of(each, course, written):g}"))
    return _csv(rows)


def moodle(marks: Sequence[Marks], course: Course, written: dict) -> str:
    """Moodle's offline grading worksheet; the identifier is what Moodle puts into the names of folders."""
    rows = [("Identifier", "Full name", "Grade")]
    for each in marks:
        name, number = _name_and_id(each.student)
        rows.append((f"Participant {number}" if number else "", cell(name), f"{total_of(each, course, written):g}"))
    return _csv(rows)


def _name_and_id(student: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+?)_(\d+)", student)
    return (match[1], match[2]) if match else (student, "")


def cell(text: str) -> str:
    """A text that a spreadsheet won't take for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    text = text.encode("utf-8", "replace").decode().replace("\x00", "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return " ".join(text.split())


def _csv(rows: Sequence[Sequence]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
