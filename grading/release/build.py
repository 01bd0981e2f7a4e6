"""Build notebooks from masters: ``python -m grading.release.build [--no-execute] [NAME...]``, or ``make release``.

Each master ``solutions/NN_name.py`` (:mod:`grading.release.masters` describes the format) becomes two notebooks:

- ``solutions/NN_name.ipynb`` has everything, executed, with outputs (``--no-execute``: without);
- ``notebooks/NN_name.ipynb`` is for students: stubs replace the solutions, rubrics are left out, nothing is executed.

Cells carry nbgrader's metadata, so a course with nbgrader can release the student notebooks. They also carry
``metadata.homework`` with task and role for this grader. The same master always gives the same bytes, except for
outputs. If the student notebook shows a line of a solution, the build fails and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import CheckCellMetadata, ClearSolutions, ComputeChecksums, LockCells
from tqdm.auto import tqdm

from grading.release.execute import describe_failure, execute, task_name
from grading.release.masters import HIDDEN_ROLES, ReleaseError, find_masters, grade_id, read_master, solution_lines
from helpers.files import write_text

ANSWER_STUB = "*Your answer here.*"
_SHORTEST = 8  # characters: a shorter solution line gives nothing away
# Lines that any two pieces of Python may share: imports, block headers, a bare name returned, brackets.
_GLUE = re.compile(r"(import|from) .*|.*:|return [\w., ]*|[\W_]*|(pass|continue|break)")


def build_solution(master: Path) -> NotebookNode:
    """Return the master's notebook with solutions and nbgrader's metadata, not executed.

    Raises:
        ReleaseError: the master breaks a convention.
    """
    book = read_master(master)
    for cell in book.cells:
        mark = cell.metadata.get("homework", {})
        if mark.get("role") in ("solution", "check", "written"):
            cell.metadata["nbgrader"] = _nbgrader(mark, book)
    CheckCellMetadata().preprocess(book, {})
    return book


def build_student(master: Path) -> NotebookNode:
    """Return the student's notebook: stubs in place of solutions, no rubrics or instructor cells, no outputs.

    Raises:
        ReleaseError: the master breaks a convention.
    """
    book = build_solution(master)
    book.cells = [cell for cell in book.cells if cell.metadata.get("homework", {}).get("role") not in HIDDEN_ROLES]
    for index, cell in enumerate(book.cells):
        mark = cell.metadata.get("homework", {})
        if mark.get("role") in ("solution", "written"):
            clear = ClearSolutions(code_stub={"python": f'raise NotDone("{mark.task}")'}, text_stub=ANSWER_STUB)
            clear.preprocess_cell(cell, {"language": "python"}, index)
    for preprocessor in (LockCells(), ComputeChecksums(), CheckCellMetadata()):
        book, _ = preprocessor.preprocess(book, {})
    return book


def leaks(solution: NotebookNode, student: NotebookNode) -> list[str]:
    """Return the lines of solutions and rubrics that occur in the student's notebook, outputs and metadata included.

    Spaces are ignored. Comments, lines under 8 characters and lines that give nothing away (imports, block headers, a
    returned name) are skipped.
    """
    shown = [_squeeze(text) for text in _strings(student)]
    found = []
    for line in map(_squeeze, _secrets(solution)):
        if len(line) < _SHORTEST or line.startswith(("#", "<!--")) or _GLUE.fullmatch(line):
            continue
        whole = re.compile(rf"(?<!\w){re.escape(line)}(?!\w)")
        if any(whole.search(text) for text in shown):
            found.append(line)
    return list(dict.fromkeys(found))


def write_notebook(book: NotebookNode, path: Path) -> None:
    """Write the notebook atomically."""
    write_text(path, nbformat.writes(book) + "\n")


def _nbgrader(mark: NotebookNode, book: NotebookNode) -> NotebookNode:
    """Return nbgrader's cell metadata. The points are on a code task's check, or on the written answer itself."""
    meta = NotebookNode(
        schema_version=3,
        grade_id=grade_id(mark),
        grade=mark.role in ("check", "written"),
        solution=mark.role in ("solution", "written"),
        locked=mark.role == "check",
        task=False,
    )
    if meta.grade:
        of_task = [cell.metadata.get("homework", {}) for cell in book.cells]
        meta.points = next(each.points for each in of_task if each.get("task") == mark.task and "points" in each)
    return meta


def _secrets(solution: NotebookNode) -> Iterator[str]:
    for cell in solution.cells:
        rubric = cell.metadata.get("homework", {}).get("role") == "rubric"
        lines = cell.source.split("\n") if rubric else solution_lines(cell)
        # Drop trailing comments: the line would leak without its comment too.
        yield from (line.split("  # ")[0] for line in lines) if cell.cell_type == "code" else lines


def _strings(value: object) -> Iterator[str]:
    """Yield every string in a notebook: sources, outputs, metadata."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _execute(book: NotebookNode, name: str) -> None:
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    with tqdm(total=len(code), desc=name, unit="cell") as bar:

        def step(cell: NotebookNode) -> None:
            bar.set_description(f"{name} {task_name(cell)}")
            bar.update()

        result = execute(book, Path.cwd(), step)
    if result.failed_cell is not None:
        raise ReleaseError(describe_failure(name, book, result))
    for cell in code:
        cell.metadata.pop("execution", None)  # times differ in every build
        cell.outputs = _without_paths(cell.outputs)


def _without_paths(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return the outputs without this machine's folders (in warnings, say), because the notebooks are published."""
    text = json.dumps(outputs)
    for folder, short in ((Path.cwd(), "."), (Path(sys.prefix), "<python>"), (Path.home(), "~")):
        if folder != Path("/"):
            text = text.replace(json.dumps(str(folder))[1:-1], short)
    return [nbformat.from_dict(output) for output in json.loads(text)]


def release(masters: list[Path], folder: Path, solutions: str = "executed") -> None:
    """Write each master's student notebook to ``folder``, and its solution next to the master.

    Args:
        solutions: ``"executed"``, ``"built"`` without outputs, or ``"none"``.

    Raises:
        ReleaseError: a master is broken or leaks (then nothing is written), or a solution fails.
    """
    built = [(master, build_solution(master), build_student(master)) for master in masters]
    for master, solution, student in built:
        if found := leaks(solution, student):
            raise ReleaseError(
                f"{master.name}: students would see {len(found)} line(s) of its solutions, such as {found[0]!r}. "
                "Change the line in the solution, or wherever else it occurs."
            )
    for master, _, student in built:
        write_notebook(student, folder / f"{master.stem}.ipynb")
    for master, solution, _ in built if solutions != "none" else ():
        if solutions == "executed":
            _execute(solution, master.stem)
        write_notebook(solution, master.with_suffix(".ipynb"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m grading.release.build", description=__doc__.split("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="masters to build, such as 01_sentiment_steering (all)"
    )
    parser.add_argument("--masters", type=Path, default=Path("solutions"), help="folder of the masters (solutions)")
    parser.add_argument(
        "--notebooks", type=Path, default=Path("notebooks"), help="folder for student notebooks (notebooks)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--no-execute",
        action="store_const",
        dest="solutions",
        const="built",
        help="write the solutions without outputs",
    )
    how.add_argument("--students-only", action="store_const", dest="solutions", const="none", help="write no solutions")
    parser.set_defaults(solutions="executed")
    options = parser.parse_args(arguments)
    try:
        release(find_masters(options.masters, options.names), options.notebooks, options.solutions)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
