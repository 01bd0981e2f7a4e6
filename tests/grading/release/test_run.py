"""What ``make run`` writes, prints and returns, tested on tiny masters without a model."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from grading.release import run
from grading.release.run_summary import table
from helpers import report as report_module
from helpers.report import plain, report

MASTER = """# %%
import math
from helpers.report import report

# %% task="1.1" points=1
### BEGIN SOLUTION
value = 41 + 1
### END SOLUTION

# %% task="1.1" role="check"
assert value == 42
report("1.1", True, key=f"value {value}", value=value, undefined=math.nan)

# %% task="1.2" points=0.5 bonus=true
### BEGIN SOLUTION
import time
time.sleep(0.3)
### END SOLUTION

# %% task="1.2" role="check"
report("1.2", key="first", **{"share at +c": 0.25})
report("1.2", True, key="second", other=[1, 2])

# %% [markdown] task="1.3" points=0.5 role="written"
# Why $x^2$?
#
# <!-- BEGIN SOLUTION -->
# Because of the square.
# <!-- END SOLUTION -->

# %% [markdown] task="1.3" role="rubric"
# Marked by hand.
"""


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Return a function that runs masters in an empty folder and returns the exit status and ``run.json``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    for name in ("HOMEWORK_MODEL", "HOMEWORK_TEXT", "HOMEWORK_BUDGET"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "solutions").mkdir()

    def start(*replacements, **masters):
        for name, text in (masters or {"01_tiny": MASTER}).items():
            for old, new in replacements:
                assert old in text
                text = text.replace(old, new)
            (tmp_path / "solutions" / f"{name}.py").write_text(text)
        status = run.main([])
        record = tmp_path / "build" / "run.json"
        return status, json.loads(record.read_text()) if record.exists() else None

    return start


def test_a_good_run_writes_results_and_returns_zero(go, tmp_path, capsys):
    status, record = go()
    assert status == 0 and record["ok"]
    first, second, third = (record["tasks"][task] for task in ("1.1", "1.2", "1.3"))
    assert (first["points"], first["passed"], first["key"]) == (1, True, "value 42")
    assert first["figures"] == {"value": 42, "undefined": None}
    assert (second["passed"], second["key"]) == (True, "second")
    assert second["figures"] == {"share at +c": 0.25, "other": [1, 2]}
    assert 0.3 <= second["seconds"] < 5 and first["seconds"] < second["seconds"]
    assert (third["written"], third["passed"]) == (True, None)
    assert (record["total_points"], record["bonus_points"]) == (1.5, 0.5)
    executed = nbformat.read(tmp_path / "build/run/01_tiny.ipynb", 4)
    assert executed.cells[2].execution_count == 3 and "execution" in executed.cells[2].metadata
    html = (tmp_path / "build/run/01_tiny.html").read_text()
    assert "Task 1.1: public checks passed; value 42" in html and "Because of the square." in html
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[2:5]] == [["1.1", "1"], ["1.2", "0.5"], ["1.3", "0.5"]]
    assert "1.5 points and 0.5 bonus" in printed


def test_the_environment_of_the_run_is_recorded(go, monkeypatch):
    monkeypatch.setenv("HOMEWORK_BUDGET", "quick")
    around = go()[1]["environment"]
    assert around["HOMEWORK_BUDGET"] == "quick" and around["HOMEWORK_MODEL"] == "smollm2"
    assert around["torch"] == torch.__version__ and around["threads"] >= 1 and around["device"]
    assert around["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_cell_that_raises_fails_the_run_and_leaves_the_partial_notebook(go, tmp_path, capsys):
    status, record = go(("value = 41 + 1", "value = 1 / 0"), **{"01_bad": MASTER})
    assert status == 1 and not record["ok"]
    part = record["notebooks"]["01_bad"]
    assert (part["failed_cell"], part["failed_in"]) == (2, "1.1 solution")
    assert part["error"] == "ZeroDivisionError: division by zero"
    assert record["tasks"]["1.1"]["passed"] is False and record["tasks"]["1.2"]["passed"] is None
    error = capsys.readouterr().err
    assert "01_bad: cell 2 (1.1 solution" in error and "ZeroDivisionError: division by zero" in error
    executed = nbformat.read(tmp_path / "build/run/01_bad.ipynb", 4)
    assert executed.cells[1].outputs[0].ename == "ZeroDivisionError" and executed.cells[3].execution_count is None
    assert "ZeroDivisionError" in (tmp_path / "build/run/01_bad.html").read_text()


def test_the_next_notebook_runs_after_one_that_failed(go):
    text = MASTER.replace('"1.', '"2.')
    status, record = go(**{"01_bad": MASTER.replace("41 + 1", "41"), "02_good": text})
    assert status == 1
    assert not record["notebooks"]["01_bad"]["ok"] and record["notebooks"]["02_good"]["ok"]
    assert record["tasks"]["2.1"]["passed"] is True


def test_a_reported_failure_fails_the_run_and_is_not_overwritten(go, capsys):
    status, record = go(('report("1.2", key="first"', 'report("1.2", False, key="first"'))
    assert status == 1 and record["tasks"]["1.2"]["passed"] is False
    assert record["notebooks"]["01_tiny"]["failed_cell"] is None
    assert "FAILED" in capsys.readouterr().out


def test_a_kernel_that_dies_fails_the_run(go, capsys):
    status, record = go(("value = 41 + 1", "import os; os._exit(1)"))
    assert status == 1 and record["notebooks"]["01_tiny"]["failed_cell"] == 2
    assert "01_tiny: cell 2" in capsys.readouterr().err


def test_nothing_runs_with_a_broken_master_or_setting(go, monkeypatch, capsys):
    status, record = go(("points=1", ""))
    assert (status, record) == (1, None) and "task 1.1 has no points" in capsys.readouterr().err
    monkeypatch.setenv("HOMEWORK_BUDGET", "huge")
    status, record = go()
    assert (status, record) == (1, None) and "HOMEWORK_BUDGET='huge'" in capsys.readouterr().err


def test_the_command_line_exits_with_the_status(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "grading.release.run", "--masters", str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "no master NN_name.py there" in done.stderr


def test_the_tables_columns_are_aligned():
    entry = {"points": 0.5, "bonus": True, "written": False, "passed": True, "key": "key", "seconds": 1.25}
    lines = table({"2.6": entry, "1.10": entry | {"key": "longer key"}}).splitlines()
    assert lines[2].split() == ["1.10", "0.5", "bonus", "passed", "longer", "key", "1.2"]
    assert [lines[0].index("seconds")] * 2 == [line.index("1.2", 6) for line in lines[2:]]


def test_figures_become_plain_json_values():
    figures = {"a": np.float32("nan"), "b": torch.ones(2), "c": np.int64(3), "d": (1, float("inf")), "e": {1: None}}
    assert plain(figures) == {"a": None, "b": [1.0, 1.0], "c": 3, "d": [1, None], "e": {"1": None}}
    assert plain(np.bool_(True)) is True
    with pytest.raises(TypeError, match="type 'object' can't be reported"):
        report("1.1", thing=object())


def test_outside_a_kernel_a_report_is_a_line(capsys):
    report("1.3", True, key="93% positive")
    report("1.3", False)
    report("1.3")
    assert capsys.readouterr().out.splitlines() == [
        "Task 1.3: public checks passed; 93% positive",
        "Task 1.3: public checks failed",
        "Task 1.3: reported",
    ]
    assert report_module.MIME.endswith("+json")
