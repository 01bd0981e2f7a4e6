"""``python -m helpers.grading grade|check|handout …``: a class, one's own notebook, and what students get."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from . import batch, checking, handout, pages, tables
from .collect import CollectError, collect
from .course import Course
from .isolation import GIVEN, Limits, Place, SandboxError, demand
from .marks import Marks
from .masters import ReleaseError
from .reference import FactsError


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.grading", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _grade_options(commands.add_parser("grade", help="grade a folder or zip file of submissions"))
    check = commands.add_parser("check", help="for students: can these notebooks be graded? Says no marks")
    check.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    check.add_argument("--given", type=Path, default=GIVEN, help="the notebooks as they were given (a copy that lies beside this program)")
    give = commands.add_parser("handout", help="the zip file that students get")
    give.add_argument("--out", type=Path, default=Path("build/handout.zip"), help="(build/handout.zip)")
    options = parser.parse_args(arguments)
    run = {"grade": _grade, "check": _check, "handout": _handout}[options.command]
    try:
        return run(options)
    except (CollectError, FactsError, ReleaseError, SandboxError, tables.MergeError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1


def _grade_options(parser: argparse.ArgumentParser) -> None:
    usual = Limits()
    parser.add_argument("submissions", type=Path, nargs="?", help="a folder (a folder, .ipynb or .zip per student) or a zip file")
    parser.add_argument("--report", type=Path, default=Path("build/grades"), help="where the report goes (build/grades)")
    parser.add_argument("--merge", action="store_true", help="put the points in written.csv into the totals; grades nothing")
    parser.add_argument("--model", default=os.environ.get("HOMEWORK_MODEL") or "smollm2", help="smollm2, gpt2 or a folder")
    parser.add_argument("--text", default=os.environ.get("HOMEWORK_TEXT") or "written", help="written, wikitext or a file")
    parser.add_argument("--budget", default=os.environ.get("HOMEWORK_BUDGET") or "full", choices=("full", "quick"))
    parser.add_argument("--jobs", type=int, default=1, help="submissions at a time (1)")
    parser.add_argument("--dask", default="", metavar="ADDRESS", help="a Dask scheduler, tcp://HOST:8786, in place of --jobs")
    parser.add_argument("--threads", type=int, default=0, help="of each submission (cores divided by jobs)")
    parser.add_argument("--limit-seconds", type=float, default=usual.seconds, help=f"for a submission ({usual.seconds:g})")
    parser.add_argument("--cell-seconds", type=float, default=usual.cell_seconds, help=f"for a cell ({usual.cell_seconds:g})")
    parser.add_argument("--memory-gib", type=float, default=usual.memory_gib, help=f"for a submission ({usual.memory_gib:g})")
    parser.add_argument("--processes", type=int, default=usual.processes, help=f"for a submission ({usual.processes})")
    parser.add_argument("--masters", type=Path, default=Path("solutions"), help="folder of the solutions (solutions)")
    parser.add_argument("--title", default="Mechanistic interpretability", help="the assignment's name in canvas.csv")
    parser.add_argument("--no-sandbox", action="store_true", help="run submissions with all that you may do: only for files you trust")


def _grade(options: argparse.Namespace) -> int:
    if options.submissions is None and not options.merge:
        raise CollectError("Name a folder or zip file with submissions, or pass --merge.")
    if options.merge:
        return _merge(options)
    demand(sandboxed=not options.no_sandbox)
    before = tables.read_written(options.report / "written.csv")  # first: a table that can't be read stops us before the work
    threads = options.threads or max(1, (os.cpu_count() or 1) // max(1, options.jobs))
    model, text = (str(Path(value).resolve()) if Path(value).exists() else value for value in (options.model, options.text))
    place = Place(model, text, options.budget, threads, sandboxed=not options.no_sandbox)
    limits = Limits(options.limit_seconds, options.cell_seconds, options.memory_gib, processes=options.processes)
    job, course, known = batch.prepare(options.masters.resolve(), place, limits)
    with tempfile.TemporaryDirectory(prefix="submissions-") as workspace:
        names = [notebook.name for notebook in course.notebooks]
        handed = collect(options.submissions, names, Path(workspace))
        marks = batch.grade_all(job, handed, options.report / "results", options.jobs, options.dask)
    about = batch.circumstances(job, known)
    batch.remember(options.report, marks, about, options.masters)
    written = tables.written_points(before, course, [each.student for each in marks])
    tables.write(options.report / "written.csv", tables.written_table(marks, course, before))
    _report(options, marks, course, written, before, about)
    failed = [each.student for each in marks if each.status == "failed"]
    for student in failed:
        print(f"grade: the grader failed on {student}; see its page.", file=sys.stderr)
    return 1 if failed else 0


def _merge(options: argparse.Namespace) -> int:
    marks, about, masters = batch.recall(options.report)
    course = batch.read_course(masters)
    rows = tables.read_written(options.report / "written.csv")
    written = tables.written_points(rows, course, [each.student for each in marks])
    _report(options, marks, course, written, rows, about)
    return 0


def _report(options: argparse.Namespace, marks: list[Marks], course: Course, written: dict, rows: list[dict], about: dict) -> None:
    """Every file of the report but the table of written answers, which is the instructor's."""
    out = options.report
    comments = {(row["student"], row["task"]): row["comment"] for row in rows}
    for each in marks:
        tables.write(out / "feedback" / pages.file_name(each.student), pages.feedback(each, course, written, comments))
    tables.write(out / "written.html", pages.written_page(marks, course))
    tables.write(out / "summary.html", pages.summary(marks, course, written, about))
    tables.write(out / "grades.csv", tables.grades(marks, course, written))
    tables.write(out / "canvas.csv", tables.canvas(marks, course, written, options.title))
    tables.write(out / "moodle.csv", tables.moodle(marks, course, written))
    answers = sum(len(each.written) for each in marks)
    print(f"{len(marks)} submissions: {out / 'grades.csv'}, {out / 'summary.html'}, a page each in {out / 'feedback'}")
    if answers > len(written):
        print(f"{answers - len(written)} of {answers} written answers to mark: {out / 'written.html'}, {out / 'written.csv'}; then grade --merge")


def _check(options: argparse.Namespace) -> int:
    return checking.check(options.notebooks, options.given)


def _handout(options: argparse.Namespace) -> int:
    print(f"{handout.write(options.out)} files in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
