"""Let students check whether a notebook can be graded: which tasks are answered, and whether their cells run.

The self-check shows no marks.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from grading.marks import STOPPED
from grading.paths import GIVEN, ROOT
from grading.sandbox.isolation import Limits, Place, SandboxError, available
from grading.sandbox.session import Broken, Session
from grading.submissions.cell_names import BUILTINS, names_of
from grading.submissions.notebook import Cell, Unreadable, read_notebook
from grading.submissions.slicing import Plan, Submission, squeeze

Wanted = dict[str, list[str]]


def add_command(commands) -> None:
    """Add ``check`` to a command line's subparsers."""
    parser = commands.add_parser("check", help="for students: can these notebooks be graded? Shows no marks")
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument(
        "--given", type=Path, default=GIVEN, help="folder of the unedited notebooks (in the handout: grading/given)"
    )
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    """Print a line per task. Return 1 if a file can't be graded or a task's cells don't run, else 0."""
    with TemporaryDirectory() as folder:
        given = options.given
        # The instructors' repository has no unedited notebooks, so they are built from the masters.
        if given == GIVEN and not given.is_dir() and (ROOT / "solutions").is_dir():
            given = Path(folder)
            command = [sys.executable, "-m", "grading.release.build", "--students-only", "--notebooks", str(given)]
            subprocess.run(command, cwd=ROOT, check=True)
        originals = {path.stem: read_notebook(path) for path in sorted(given.glob("[0-9][0-9]_*.ipynb"))}
    if not originals:
        print(
            f"check: there are no notebooks in {given}. Pass the folder of the unedited notebooks with --given.",
            file=sys.stderr,
        )
        return 1
    try:
        return max(_check_one(path, originals) for path in options.notebooks)
    except SandboxError as error:
        print(f"check: {error}", file=sys.stderr)
        return 1


def _check_one(path: Path, originals: dict[str, list[Cell]]) -> int:
    try:
        cells = read_notebook(path)
    except Unreadable as error:
        print(f"{path.name}: can't be graded: {error}.")
        return 1
    original = max(originals.values(), key=lambda candidate: _shared_cells(cells, candidate))
    wanted = _wanted(original)
    stubs = {cell.task: squeeze(cell.source) for cell in original if cell.code and cell.role == "solution"}
    given = {squeeze(cell.source) for cell in original if cell.role not in ("solution", "written")}
    submission = Submission(cells, given, stubs, have=())
    answered = [task for task in wanted if submission.answered(task, wanted[task])]
    print(f"{path.name}: {len(answered)} of {len(wanted)} coding tasks are answered.")
    if not answered:
        return 1
    preamble = next(cell.source for cell in original if cell.code)
    return max(_run(task, wanted[task], submission, preamble) for task in wanted if task in answered)


def _shared_cells(cells: list[Cell], original: list[Cell]) -> int:
    sources = {squeeze(cell.source) for cell in cells}
    return sum(squeeze(cell.source) in sources for cell in original)


def _wanted(original: list[Cell]) -> Wanted:
    """Return, per task, the names that its cell binds and the names that it reads but no given cell binds."""
    bound = {name for cell in original if cell.code for name in names_of(cell.source).binds}
    wanted = {}
    for cell in original:
        if cell.code and cell.role == "solution":
            names = names_of(cell.source)
            wanted[cell.task] = sorted(names.binds | (names.needs - bound - BUILTINS))
    return wanted


def _run(task: str, wanted: list[str], submission: Submission, preamble: str) -> int:
    """Run the task's cells with the quick budget, print the result, and return 0 if they ran, else 1."""
    check = submission.check_of(task)
    plan = submission.plan(task, wanted, check)
    if plan.broken:
        print(f"  {task}: the cell isn't Python: {plan.broken[0][1]}")
        return 1
    started = time.monotonic()
    try:
        error = _error(plan, wanted, submission, preamble)
        plan_of_all = submission.plan_from_the_top(wanted, check)
        # The cells of the plan may lack what another cell changes. The grader runs all cells then, too.
        if error and submission.adds_effects(plan_of_all, to=plan):
            error = error if _error(plan_of_all, wanted, submission, preamble, only_answer=True) else ""
    except Broken as broken:
        print(f"  {task}: stopped: {STOPPED[broken.reason]}")
        return 1
    if error:
        print(f"  {task}: its cells don't run: {error}")
        return 1
    still_open = _still_open([submission.cells[index].source for index in plan.cells])
    but = f", but {' and '.join(still_open)} isn't done: it still raises NotDone" if still_open else ""
    print(f"  {task}: runs, in {time.monotonic() - started:.0f} s{but}")
    return 0


def _error(plan: Plan, wanted: list[str], submission: Submission, preamble: str, only_answer: bool = False) -> str:
    """Run the plan's cells and return the first error in words, or "".

    Args:
        only_answer: whether only errors count that leave a wanted name undefined.
    """
    with Session(Place("smollm2", "written", "quick", 2, sandboxed=available()), Limits()) as session:
        session.begin()
        sources = [preamble, *(submission.cells[index].source for index in plan.cells)]
        for source in sources:
            if (error := session.cell(source)) and not only_answer:
                return f"{error['type']}: {error['message'][:200]}"
        missing = [name for name in wanted if session.cell(name)] if only_answer else plan.missing
    return f"{' and '.join(missing)} isn't defined" if missing else ""


def _still_open(sources: list[str]) -> list[str]:
    """Return the functions and methods whose last definition raises NotDone."""
    still_open: dict[str, bool] = {}
    for source in sources:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError):  # magics
            continue
        for outer in body:
            prefix = f"{outer.name}." if isinstance(outer, ast.ClassDef) else ""
            for function in outer.body if isinstance(outer, ast.ClassDef) else [outer]:
                if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    still_open[prefix + function.name] = any(map(_raises_not_done, ast.walk(function)))
    return [name for name, is_open in still_open.items() if is_open]


def _raises_not_done(node: ast.AST) -> bool:
    if not isinstance(node, ast.Raise) or node.exc is None:
        return False
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return isinstance(raised, ast.Name) and raised.id == "NotDone"
