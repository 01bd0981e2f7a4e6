"""``python -m grading grade``: grade a class and write the report."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from grading.course import Course, read_course
from grading.judging import batch
from grading.judging.reference import FactsError
from grading.marks import Marks
from grading.release.masters import ReleaseError
from grading.reports import moodle, pages, store, tables
from grading.sandbox.isolation import Limits, Place, SandboxError, demand
from grading.submissions.collect import CollectError, collect
from helpers.files import write_bytes, write_text

WORKSHEET = "moodle-worksheet.csv"  # in the report: the worksheet as downloaded


def add_command(commands) -> None:
    """Add ``grade`` to a command line's subparsers."""
    parser = commands.add_parser("grade", help="grade a folder or zip file of submissions")
    parser.set_defaults(run=_grade)
    defaults = Limits()
    parser.add_argument(
        "submissions", type=Path, nargs="?", help="a folder (a folder, .ipynb or .zip per student) or a zip file"
    )
    parser.add_argument("--report", type=Path, default=Path("build/grades"), help="folder of the report (build/grades)")
    parser.add_argument(
        "--merge", action="store_true", help="add the points in written.csv to the totals, without grading"
    )
    parser.add_argument(
        "--model", default=os.environ.get("HOMEWORK_MODEL") or "smollm2", help="smollm2, gpt2 or a folder"
    )
    parser.add_argument(
        "--text", default=os.environ.get("HOMEWORK_TEXT") or "written", help="written, wikitext or a file"
    )
    parser.add_argument("--budget", default=os.environ.get("HOMEWORK_BUDGET") or "full", choices=("full", "quick"))
    parser.add_argument("--jobs", type=int, default=1, help="submissions graded at a time (1)")
    parser.add_argument(
        "--dask", default="", metavar="ADDRESS", help="a Dask scheduler (tcp://HOST:8786), instead of --jobs"
    )
    parser.add_argument("--threads", type=int, default=0, help="threads per submission (cores divided by jobs)")
    parser.add_argument(
        "--limit-seconds", type=float, default=defaults.seconds, help=f"per submission ({defaults.seconds:g})"
    )
    parser.add_argument(
        "--cell-seconds", type=float, default=defaults.cell_seconds, help=f"per cell ({defaults.cell_seconds:g})"
    )
    parser.add_argument(
        "--memory-gib", type=float, default=defaults.memory_gib, help=f"per submission ({defaults.memory_gib:g})"
    )
    parser.add_argument(
        "--processes", type=int, default=defaults.processes, help=f"per submission ({defaults.processes})"
    )
    parser.add_argument("--masters", type=Path, default=Path("solutions"), help="folder of the solutions (solutions)")
    parser.add_argument(
        "--worksheet", type=Path, metavar="FILE", help="Moodle's grading worksheet, to fill in as moodle.csv"
    )
    parser.add_argument("--title", default="Mechanistic interpretability", help="the assignment's name in canvas.csv")
    parser.add_argument(
        "--no-sandbox",
        action="store_true",
        help="run submissions with your own permissions: only if you trust them all",
    )


def _grade(options: argparse.Namespace) -> int:
    try:
        return _merge(options) if options.merge else _grade_all(options)
    except (CollectError, FactsError, ReleaseError, SandboxError, tables.MergeError) as error:
        print(f"grade: {error}", file=sys.stderr)
        return 1


def _grade_all(options: argparse.Namespace) -> int:
    if options.submissions is None:
        raise CollectError("No submissions were given. Name a folder or zip file, or pass --merge.")
    demand(sandboxed=not options.no_sandbox)
    # Read this first: a broken table should stop the command before the long work.
    before = tables.read_written(options.report / "written.csv", store.earlier_marks(options.report))
    _keep_worksheet(options)
    threads = options.threads or max(1, (os.cpu_count() or 1) // max(1, options.jobs))
    model, text = (
        str(Path(value).resolve()) if Path(value).exists() else value for value in (options.model, options.text)
    )
    place = Place(model, text, options.budget, threads, sandboxed=not options.no_sandbox)
    limits = Limits(options.limit_seconds, options.cell_seconds, options.memory_gib, processes=options.processes)
    job, course, known = batch.prepare(options.masters.resolve(), place, limits)
    with tempfile.TemporaryDirectory(prefix="submissions-") as workspace:
        names = [notebook.name for notebook in course.notebooks]
        handed = collect(options.submissions, names, Path(workspace))
        marks = batch.grade_all(job, handed, options.report / "results", options.jobs, options.dask)
    about = batch.circumstances(job, known)
    store.remember(options.report, marks, about, options.masters)
    before = tables.matched(before, course, [each.student for each in marks])
    written = tables.written_points(before, course, [each.student for each in marks])
    # With a byte order mark, Excel reads UTF-8.
    write_text(options.report / "written.csv", "\ufeff" + tables.written_table(marks, course, before))
    _report(options, marks, course, written, before, about)
    failed = [each.student for each in marks if each.status == "failed"]
    for student in failed:
        print(f"grade: the grader failed on {student}; the student's feedback page says why.", file=sys.stderr)
    return 1 if failed else 0


def _merge(options: argparse.Namespace) -> int:
    marks, about, masters = store.recall(options.report)
    course = read_course(masters)
    _keep_worksheet(options)
    rows = tables.read_written(options.report / "written.csv", marks)
    rows = tables.matched(rows, course, [each.student for each in marks])
    written = tables.written_points(rows, course, [each.student for each in marks])
    _report(options, marks, course, written, rows, about)
    return 0


def _keep_worksheet(options: argparse.Namespace) -> None:
    """Copy Moodle's worksheet into the report, so that --merge needs no option to fill it in again."""
    if options.worksheet is None:
        return
    try:
        content = options.worksheet.read_bytes()
        moodle.check_worksheet(options.worksheet)
    except OSError as error:
        raise tables.MergeError(f"{options.worksheet} can't be read ({error.strerror}).") from None
    write_bytes(options.report / WORKSHEET, content)


def _write_moodle(out: Path, marks: list[Marks], course: Course, written: dict) -> None:
    if not (out / WORKSHEET).is_file():
        write_text(out / "moodle.csv", moodle.moodle(marks, course, written))
        return
    text, remarks = moodle.fill_worksheet(out / WORKSHEET, marks, course, written)
    write_text(out / "moodle.csv", text)
    for remark in remarks:
        print(f"moodle.csv: {remark}")


def _report(
    options: argparse.Namespace, marks: list[Marks], course: Course, written: dict, rows: list[dict], about: dict
) -> None:
    """Write every file of the report except written.csv, which the instructor edits."""
    out = options.report
    comments = {(row["student"], row["task"]): row["comment"] for row in rows}
    for each in marks:
        write_text(out / "feedback" / pages.file_name(each.student), pages.feedback(each, course, written, comments))
    write_text(out / "written.html", pages.written_page(marks, course))
    write_text(out / "summary.html", pages.summary(marks, course, written, about))
    write_text(out / "grades.csv", tables.grades(marks, course, written))
    write_text(out / "canvas.csv", tables.canvas(marks, course, written, options.title))
    _write_moodle(out, marks, course, written)
    answers = sum(len(each.written) for each in marks)
    print(
        f"{len(marks)} submissions: {out / 'grades.csv'}, {out / 'summary.html'}, "
        f"and a page per student in {out / 'feedback'}"
    )
    if answers > len(written):
        print(
            f"{answers - len(written)} of {answers} written answers are to be marked: read {out / 'written.html'}, "
            f"fill in {out / 'written.csv'}, then run grade --merge."
        )
