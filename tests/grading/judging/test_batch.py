"""Grade whole classes in sandboxes with the command line, as an instructor does. ``make test-grading`` runs these."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from grading.__main__ import main
from grading.marks import STATUSES
from grading.sandbox.isolation import available
from tests.grading.cluster import cluster
from tests.submissions import books
from tests.submissions.hostile import NAMES, hostile
from tests.submissions.right import right
from tests.submissions.wrong import by_task

pytestmark = [
    pytest.mark.submissions,
    pytest.mark.skipif(not available(), reason="bubblewrap isn't installed or may not create namespaces"),
]
FULL = {"1.1": 1, "1.2": 1, "1.3": 0.5, "2.1": 1, "2.2": 0.5, "2.3": 1, "2.4": 0.5, "2.6": 1, "2.7": 1}
LIMITS = ["--cell-seconds", "20", "--limit-seconds", "60", "--memory-gib", "2"]


@pytest.fixture(scope="module")
def grade_class(place, facts, tmp_path_factory) -> Callable:
    """Return ``grade_class(folder, *options)``, which returns grades.csv's rows by student, and the report's folder."""

    def run(folder: Path, *options: str, report: Path | None = None):
        report = report or tmp_path_factory.mktemp("report")
        common = ["--report", str(report), "--model", place.model, "--text", place.text, "--budget", "quick"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("grading.judging.reference.default_cache", lambda: facts.folder.parent)
            assert main(["grade", str(folder), *common, *options]) == 0
        with (report / "grades.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len({row["student"] for row in rows}) == len(rows)
        assert {row["status"] for row in rows} <= set(STATUSES)
        return {row["student"]: row for row in rows}, report

    return run


def points(row: dict) -> dict[str, float]:
    return {task: float(row[task] or 0) for task in FULL}


@pytest.fixture(scope="module")
def hostile_class(grade_class, tmp_path_factory):
    """Grade every hostile submission, with honest ones before, between and after them."""
    folder = tmp_path_factory.mktemp("hostile")
    cases = hostile()
    for number, case in enumerate(cases):
        case.put(folder / f"{number:03} {case.name}")
    for student in ("000 - honest", "050 - honest", "zz honest"):
        for name in books.NAMES:
            books.put(folder / student, books.book(name), name)
    rows, report = grade_class(folder, "--jobs", "2", *LIMITS)
    return cases, rows, report, folder


def test_hostile_submissions_get_one_row_each_and_only_earned_points(hostile_class):
    cases, rows, _, _ = hostile_class
    assert len(cases) >= 60 and len(rows) == len(cases) + 3
    wrong_rows = []
    for number, case in enumerate(cases):
        row = rows[f"{number:03} {case.name}"]
        earned = {task: FULL[task] if task in case.earned else 0 for task in FULL}
        if points(row) != earned or row["status"] not in case.statuses:
            wrong_rows.append((case.name, row["status"], points(row)))
    assert not wrong_rows


def test_hostile_submissions_dont_change_other_rows(hostile_class):
    _, rows, _, _ = hostile_class
    for student in ("000 - honest", "050 - honest", "zz honest"):
        assert points(rows[student]) == FULL and rows[student]["status"] == "graded"


def test_hostile_submissions_write_nothing_outside_the_report(hostile_class):
    _, _, report, folder = hostile_class
    assert not [
        path
        for path in map(Path, ("/owned", "/usr/owned", "/tmp/owned", "/tmp/owned.ipynb", "/tmp/full", "/root/owned"))
        if path.exists()
    ]
    assert not (folder.parent / "owned.ipynb").exists() and not (books.ROOT / "helpers" / "data" / "owned").exists()
    expected = {
        "grades.csv",
        "written.csv",
        "written.html",
        "summary.html",
        "canvas.csv",
        "moodle.csv",
        "marks.json",
        "feedback",
        "results",
    }
    assert {path.name for path in report.iterdir()} == expected


def test_pages_are_escaped_and_show_no_hidden_input(hostile_class):
    _, _, report, _ = hostile_class
    pages = [path.read_text(encoding="utf-8") for path in report.rglob("*.html")]
    assert all(
        "<script" not in page and "onerror=alert" not in page.replace("onerror=alert(1)&gt;", "") for page in pages
    )
    from grading.judging.reference import load_hidden_tests

    secrets = {
        text
        for test in load_hidden_tests(books.MASTERS).HIDDEN_TESTS
        for question in test.questions
        for text in question.given.get("sentences", [])
    }
    assert secrets and not [secret for secret in secrets for page in pages if secret in page]


def test_wrong_and_right_answers_in_sandboxes(grade_class, tmp_path_factory):
    """Wrong answers, several per notebook, lose points only in their own tasks. Right answers get full marks."""
    folder = tmp_path_factory.mktemp("packed")
    mistakes, packs = by_task(), []
    for number in range(max(map(len, mistakes.values()))):
        pack = {task: sources[number] for task, sources in mistakes.items() if number < len(sources)}
        if number % 2:  # every second pack has right answers in odd-numbered tasks
            pack = {task: source for task, source in pack.items() if int(task[-1]) % 2 == 0}
        pack = {task: source for task, source in pack.items() if task not in ("2.3",) or "2.1" not in pack}
        packs.append(pack)
        for name in books.NAMES:
            books.put(
                folder / f"wrong {number:02}",
                books.book(name, {t: s for t, s in pack.items() if books.name_of(t) == name}),
                name,
            )
    cases = right()
    for number, (_, make, _) in enumerate(cases):
        for part, content in enumerate(make()):
            books.put(folder / f"right {number:02}", content, f"{part}")
    rows, _ = grade_class(folder, "--jobs", "2")
    for number, pack in enumerate(packs):
        found = points(rows[f"wrong {number:02}"])
        lost = {task for task in FULL if found[task] < FULL[task]}
        assert set(pack) <= lost, (number, found)
        depend = {"2.3"} if {"2.1", "2.2"} & set(pack) else set()  # a wrong model or loss changes the trained SAE
        assert lost <= set(pack) | depend, (number, lost, set(pack))
    for number, (what, _, tasks) in enumerate(cases):
        assert all(points(rows[f"right {number:02}"])[task] == FULL[task] for task in tasks), what


def test_names_resuming_and_the_same_marks_twice(grade_class, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    answer = {"2.2": books.solutions()["2.2"]}
    for name in NAMES:
        if name == "petrova_17":  # as Canvas calls loose files
            books.put(folder, books.book(books.SECOND, answer, solved=False), f"petrova_LATE_17_99_{books.SECOND}-1")
        else:
            books.put(folder / name, books.book(books.SECOND, answer, solved=False), books.SECOND)
    rows, report = grade_class(folder)
    assert len(rows) == len(NAMES) and all(row["2.2"] == "0.5" for row in rows.values())
    assert "'=cmd|' C calc'!A0" in rows and "petrova_17" in rows
    before = (report / "grades.csv").read_bytes()
    records = {path: path.stat().st_mtime_ns for path in (report / "results").iterdir()}
    books.put(folder / "Иван Петров", books.book(books.SECOND, solved=False), books.SECOND)
    rows, _ = grade_class(folder, report=report)
    again = {path: path.stat().st_mtime_ns for path in (report / "results").iterdir()}
    assert rows["Иван Петров"]["status"] == "blank"
    assert len(again) == len(records) + 1  # only the changed submission was graded
    assert all(again[path] == time for path, time in records.items())
    books.put(folder / "Иван Петров", books.book(books.SECOND, answer, solved=False), books.SECOND)
    for path in records:
        path.unlink()
    grade_class(folder, report=report)
    assert (report / "grades.csv").read_bytes() == before  # everything was graded again


def test_the_report_says_what_the_marks_depend_on(hostile_class):
    _, _, report, _ = hostile_class
    about = json.loads((report / "marks.json").read_text())["about"]
    assert {"commit", "torch", "threads", "seed", "model", "limit: seconds"} <= set(about)
    assert about["sandbox"] == "bubblewrap"


def test_a_dask_cluster_gives_the_same_table_even_if_a_worker_is_killed(grade_class, tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for number, source in enumerate(by_task()["2.2"]):
        books.put(folder / f"student {number}", books.book(books.SECOND, {"2.2": source}, solved=False), books.SECOND)
    _, here = grade_class(folder, "--jobs", "2", "--threads", "1")
    report = tmp_path_factory.mktemp("cluster")
    with cluster(tmp_path_factory.mktemp("scheduler"), report, kill_after=2) as (address, victim):
        grade_class(folder, "--dask", address, "--threads", "1", report=report)
        assert victim.poll() is not None  # it was killed in the middle
    assert (report / "grades.csv").read_bytes() == (here / "grades.csv").read_bytes()
