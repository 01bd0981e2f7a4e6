"""Write a report's pages: one per student, the written answers with their rubrics, and the class summary."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from grading.course import Course
from grading.marks import Marks, TaskMark
from grading.reports.tables import cell, points_of, total_of

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
_PAGES.filters["points"] = lambda value: f"{value:g}"
# For the course's own prompts and rubrics. Any HTML in them is escaped.
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")
BAR = 0.5  # points per bar of the distribution


def feedback(marks: Marks, course: Course, written: dict, comments: dict) -> str:
    """Return a student's page. It shows no hidden input and no expected value."""
    points = points_of(marks, course, written)
    name = cell(marks.student)
    return _PAGES.get_template("feedback.html").render(
        marks=marks,
        points=points,
        most=course.most,
        total=total_of(marks, course, written),
        open=any(value is None for value in points.values()),
        comments={task: comments.get((name, task), "") for task in course.tasks},
    )


def written_page(marks: Sequence[Marks], course: Course) -> str:
    """Return the page with all written answers by task, each task with its question and rubric."""
    parts = [
        {
            "task": task,
            "question": _MARKDOWN.render(written.prompt),
            "rubric": _MARKDOWN.render(written.rubric),
            "answers": [(each.student, each.written[task]) for each in marks if task in each.written],
        }
        for task, written in course.written.items()
    ]
    return _PAGES.get_template("written.html").render(parts=parts)


def summary(marks: Sequence[Marks], course: Course, written: dict, about: dict) -> str:
    """Return the page that sums up the class."""
    totals = [total_of(each, course, written) for each in marks]
    return _PAGES.get_template("summary.html").render(
        marks=marks,
        statuses=Counter(each.status for each in marks),
        bars=_distribution(totals, max(course.most, max(totals, default=0))),
        mean=sum(totals) / max(1, len(totals)),
        most=course.most,
        tasks=[_task_row(name, marks, course, written) for name in course.tasks],
        mistakes=_mistakes(marks),
        slowest=sorted(marks, key=lambda each: -each.seconds)[:10],
        failed=[
            each
            for each in marks
            if each.status in ("failed", "unreadable") or any(task.outcome == "stopped" for task in each.tasks)
        ],
        pages={each.student: file_name(each.student) for each in marks},
        about=about,
    )


def _distribution(totals: Sequence[float], top: float) -> list[dict]:
    n = math.floor(top / BAR) + 1
    counts = Counter(min(n - 1, math.floor(total / BAR)) for total in totals)
    highest = max(counts.values(), default=1)
    return [{"from": i * BAR, "count": counts[i], "height": round(100 * counts[i] / highest)} for i in range(n)]


def _task_row(name: str, marks: Sequence[Marks], course: Course, written: dict) -> dict:
    task = course.tasks[name]
    points = [points_of(each, course, written)[name] for each in marks]
    known = [value for value in points if value is not None]
    outcomes = Counter(mark.outcome for each in marks for mark in each.tasks if mark.task == name)
    mean = sum(known) / max(1, len(known))
    return {"name": name, "task": task, "mean": mean, "share": round(100 * mean / task.points), "outcomes": outcomes}


def _mistakes(marks: Sequence[Marks]) -> list[tuple[str, str, int]]:
    """Return (task, mistake, number of students), most common first. Texts that differ only in figures count as one."""
    found = defaultdict(list)
    for task in (task for each in marks for task in each.tasks):
        if text := mistake(task):
            found[task.task, _NUMBER.sub("0", text)].append(_NUMBER.split(text))
    commonest = sorted(found.items(), key=lambda item: -len(item[1]))[:15]
    return [
        (task, "".join(_shared(parts) for parts in zip(*texts, strict=True)), len(texts))
        for (task, _), texts in commonest
    ]


def _shared(parts: tuple[str, ...]) -> str:
    return parts[0] if len(set(parts)) == 1 else "…"


def mistake(task: TaskMark) -> str:
    """Return what went wrong: what the check says, else the first failed hidden test, else the note."""
    if task.outcome in ("right", "untouched", "to be marked", "not found"):
        return ""
    wrong = next((each for each in task.tried if each.wrong), None)
    text = task.says or (wrong and f"{wrong.tried}: {wrong.wrong}") or task.note
    return text[:200]


def file_name(student: str) -> str:
    """Return a readable file name for a student's page, safe on every system and different for every student."""
    plain = unicodedata.normalize("NFC", student)
    safe = re.sub(r"[^\w .()-]", "_", plain).strip(" .")[:60]
    digest = hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()[:6]
    return f"{safe or 'student'}-{digest}.html"
