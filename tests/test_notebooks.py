"""Run the notebooks: solutions to the end, student notebooks to their first open task."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from grading.release.build import build_solution, build_student, write_notebook
from grading.release.masters import read_master, tasks
from helpers.checks.notdone import NotDone

ROOT = Path(__file__).parent.parent
WIKITEXT = (ROOT / ".." / "shared" / "data" / "wikitext-2.valid.txt").resolve()
MASTERS = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))
GRADED = [path for path in MASTERS if tasks(read_master(path))]


def test_not_done_is_one_line():
    error = NotDone("1.1")
    assert error.task == "1.1" and isinstance(error, NotImplementedError)
    assert (
        error._render_traceback_()
        == [str(error)]
        == ['Task 1.1 is not done yet: replace the line raise NotDone("1.1") with your solution.']
    )


def test_not_done_says_which_of_several_lines_is_meant():
    cells = {
        "def hooks(): pass\ndef generate():\n    raise NotDone('1.2')\nhooks(); generate()": "in generate, ",
        "class SAE:\n    def decode(self):\n        raise NotDone('2.1')\nSAE().decode()": "in SAE.decode, ",
        "def make():\n    def push():\n        raise NotDone('2.6')\n    return push\nmake()()": "in push, ",
        "x = 1\nraise NotDone('2.6')": "in line 2 of its cell, ",
    }
    for source, place in cells.items():
        with pytest.raises(NotDone) as caught:
            exec(compile(source, "<cell>", "exec"), {"NotDone": NotDone})
        assert f"is not done yet: {place}replace the line" in str(caught.value)
        assert str(caught.value) == caught.value._render_traceback_()[0]


@pytest.fixture
def quick(monkeypatch):
    """Give notebook kernels the quick budget, and put this repository on their import path."""
    monkeypatch.setenv("HOMEWORK_BUDGET", "quick")
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), path] if path else [str(ROOT)]))


@pytest.mark.slow
@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_solutions_run_to_the_end(master, quick):
    run_with_nbmake(master, ROOT / "build" / "test" / f"{master.stem}.ipynb")


@pytest.mark.slow
@pytest.mark.skipif(not WIKITEXT.is_file(), reason=f"{WIKITEXT.name} is missing")
def test_the_sae_notebook_runs_on_real_wikitext_lines(quick, monkeypatch):
    monkeypatch.setenv("HOMEWORK_TEXT", str(WIKITEXT))
    run_with_nbmake(ROOT / "solutions" / "02_sparse_autoencoder.py", ROOT / "build" / "test" / "02_on_wikitext.ipynb")


def run_with_nbmake(master: Path, notebook: Path) -> None:
    """Build the solution's notebook and run it. Fail if a cell raises."""
    write_notebook(build_solution(master), notebook)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=600"]
    process = subprocess.run([*command, str(notebook)], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-2000:]
    assert "1 passed" in process.stdout


@pytest.mark.parametrize("master", GRADED, ids=lambda path: path.stem)
def test_student_notebooks_stop_at_the_first_open_task_with_one_line(master, quick):
    first = next(iter(tasks(read_master(master))))
    student = build_student(master)
    with pytest.raises(CellExecutionError) as stopped:
        NotebookClient(student, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert stopped.value.ename == "NotDone"
    cell, error = next(
        (cell, output) for cell in student.cells for output in cell.get("outputs", []) if output.output_type == "error"
    )
    assert cell.metadata.homework.task == first
    function = {"1.1": "collect_average_residuals", "2.1": "SAE.encode"}[first]
    assert error.traceback == [
        f'Task {first} is not done yet: in {function}, replace the line raise NotDone("{first}") with your solution.'
    ]


def test_notebook_3_asks_for_the_functions_of_notebook_1(quick):
    student = build_student(ROOT / "solutions" / "03_steering_further.py")
    code = "\n".join(cell.source for cell in student.cells if cell.cell_type == "code")
    assert "def collect_average_residuals" not in code and "def make_steering_hooks" not in code
    with pytest.raises(CellExecutionError) as stopped:
        NotebookClient(student, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert stopped.value.ename == "NameError"
    assert "Paste collect_average_residuals from notebook 1" in stopped.value.evalue
