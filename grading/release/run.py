"""Run the solutions end to end: ``python -m grading.release.run``, or ``make run``.

The command builds the solutions from their masters, executes them, prints one row per task, and writes to ``build/``:

- ``run/NN_name.ipynb``: the executed notebook, up to the first cell that failed;
- ``run/NN_name.html``: the same as a page with its pictures inside. Formulas need MathJax from the internet, and
  stay TeX without it;
- ``run.json``: the figures that the cells reported (:func:`helpers.report.report`).

The exit status is 0 only if every cell ran and no check failed. Relative paths in ``HOMEWORK_MODEL`` and
``HOMEWORK_TEXT`` start in the current folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from nbconvert import HTMLExporter
from nbformat import NotebookNode
from tqdm.auto import tqdm

from grading.release.build import build_solution, write_notebook
from grading.release.execute import describe_failure, execute, task_name
from grading.release.masters import ReleaseError, find_masters
from grading.release.run_summary import environment, summarise, table
from helpers.settings import SettingsError


def run(masters: list[Path], out: Path) -> dict:
    """Execute the masters' solutions, write the results under ``out``, and return the content of ``run.json``.

    If a notebook fails, the end of its traceback is printed to stderr and the next notebook runs.

    Raises:
        ReleaseError: a master breaks a convention; then nothing is run.
    """
    books = {master.stem: build_solution(master) for master in masters}
    started, clock = datetime.now(UTC), time.perf_counter()
    surroundings = environment()
    notebooks = {}
    cells = sum(cell.cell_type == "code" for book in books.values() for cell in book.cells)
    with tqdm(total=cells, unit="cell") as bar:
        for name, book in books.items():
            notebooks[name] = _run_one(name, book, out / "run", bar)
    found = {task: entry for part in notebooks.values() for task, entry in part.pop("tasks").items()}
    record = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
        "ok": all(part["ok"] for part in notebooks.values()),
        "environment": surroundings,
        "notebooks": notebooks,
        "tasks": found,
        "total_points": sum(entry["points"] for entry in found.values() if not entry["bonus"]),
        "bonus_points": sum(entry["points"] for entry in found.values() if entry["bonus"]),
    }
    text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)
    (out / "run.json").write_text(text + "\n", encoding="utf-8")
    return record


def _run_one(name: str, book: NotebookNode, folder: Path, bar: tqdm) -> dict:
    def step(cell: NotebookNode) -> None:
        bar.set_description(f"{name} {task_name(cell)}")
        bar.update()

    try:
        result = execute(book, Path.cwd(), step)
    finally:  # write the notebook also after an interruption
        write_notebook(book, folder / f"{name}.ipynb")
    if result.failed_cell is not None:
        bar.write(describe_failure(name, book, result), file=sys.stderr)
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(book, {"metadata": {"name": name}})
    (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return summarise(book, result)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m grading.release.run", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="masters to run, such as 01_sentiment_steering (all)")
    parser.add_argument("--masters", type=Path, default=Path("solutions"), help="folder of the masters (solutions)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder for the results (build)")
    options = parser.parse_args(arguments)
    try:
        record = run(find_masters(options.masters, options.names), options.out)
    except (ReleaseError, SettingsError) as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    print(table(record["tasks"]))
    print(f"{record['total_points']:g} points and {record['bonus_points']:g} bonus; {record['seconds']:.0f} seconds")
    if not record["ok"]:
        bad = [name for name, part in record["notebooks"].items() if not part["ok"]]
        print(f"run: cells or checks failed in {', '.join(bad)}; see {options.out / 'run'}.", file=sys.stderr)
    return 0 if record["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
