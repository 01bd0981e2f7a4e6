"""Write a report's CSV files: marks, written answers, and the format of Canvas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from grading.course import Course
from grading.marks import Marks
from grading.reports.matching import match_rows
from grading.reports.spreadsheets import MergeError, read_table, write_rows

WRITTEN_FIELDS = ("student", "task", "points", "most", "comment", "answer")
MAX_ANSWER = 30_000  # characters; spreadsheets hold 32,767 in a cell
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def grades(marks: Sequence[Marks], course: Course, written: dict[tuple[str, str], float]) -> str:
    """Return the CSV ``student,status,<task>…,total,max``, a row per student. Unmarked written tasks are empty."""
    rows = [("student", "status", *course.tasks, "total", "max")]
    for each in marks:
        cells = ["" if value is None else f"{value:g}" for value in points_of(each, course, written).values()]
        rows.append(
            (cell(each.student), each.status, *cells, f"{total_of(each, course, written):g}", f"{course.most:g}")
        )
    return write_rows(rows)


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
            if kept["points"] and not _same(kept["answer"], shown) and "(answer changed)" not in comment:
                comment = f"{comment} (answer changed)".strip()
            rows.append((name, task, kept["points"], f"{course.tasks[task].points:g}", comment, shown))
    for row in old.values():  # marked, but the answer is gone: keep the instructor's work
        if row["points"] or row["comment"]:
            rows.append(tuple(row[name] for name in WRITTEN_FIELDS))
    return write_rows(rows)


def read_written(path: Path, known: Iterable[Marks] = ()) -> list[dict]:
    """Return the rows of a table of written answers, in any encoding and with any delimiter that spreadsheets use.

    Args:
        known: the marks that the table was written from. They decide between encodings.

    Raises:
        MergeError: a column is missing, or the encoding can't be told.
    """
    if not path.exists():
        return []
    texts = [text for each in known for text in (each.student, *each.written.values())]
    header, *rows = read_table(path, texts) or [[]]
    columns = [name.strip().lower() for name in header]
    missing = [name for name in WRITTEN_FIELDS[:3] if rows and name not in columns]
    if missing:
        raise MergeError(f"{path.name} has no column {' and '.join(missing)}. Restore its original first line.")
    found = [dict(zip(columns, row, strict=False)) for row in rows]
    return [{name: row.get(name, "") for name in WRITTEN_FIELDS} for row in found]


def matched(rows: Iterable[dict], course: Course, students: Iterable[str]) -> list[dict]:
    """Return the rows with exact students and tasks, whatever a spreadsheet program has made of them."""
    return match_rows(rows, [cell(student) for student in students], list(course.written))


def written_points(rows: Iterable[dict], course: Course, students: Iterable[str]) -> dict[tuple[str, str], float]:
    """Return the points by (student, task), from the rows that have points.

    Raises:
        MergeError: a student or task is unknown, points aren't a number in range, or a row occurs twice.
    """
    found: dict[tuple[str, str], float] = {}
    problems = []
    for number, row in enumerate(matched(rows, course, students), 2):
        key, text = (row["student"], row["task"]), row["points"].strip()
        if not text:
            continue
        problem = _problem(row, course, text) or ("this row occurs twice" if key in found else "")
        if problem:
            problems.append(f"line {number} ({row['student'][:30]}, {row['task'][:6]}): {problem}")
        else:
            found[key] = float(text.replace(",", "."))
    if problems:
        raise MergeError(
            "Fix these lines in the table of written answers, then merge again:\n  " + "\n  ".join(problems)
        )
    return found


def _problem(row: dict, course: Course, text: str) -> str:
    task = course.tasks.get(row["task"])
    if row["problem"]:
        return row["problem"]
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
        name = each.full_name or each.student
        rows.append((cell(name), each.student_id, "", "", "", f"{total_of(each, course, written):g}"))
    return write_rows(rows)


def cell(text: str) -> str:
    """Return the text so that no spreadsheet reads it as a formula.

    See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    text = text.encode("utf-8", "replace").decode().replace("\x00", "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _same(kept: str, answer: str) -> bool:
    """Return whether the answer is the one that was marked, though a program may have put "?" for its characters."""
    if " ".join(kept.split()) == " ".join(answer.split()):
        return True
    ascii_only = [" ".join(re.sub(r"[^\x00-\x7f]|\?", " ", text).split()) for text in (kept, answer)]
    return "?" in kept and ascii_only[0] == ascii_only[1]
