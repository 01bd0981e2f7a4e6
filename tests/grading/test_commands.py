"""The command line apart from grading: the handout, the students' self-check, and error messages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile

import grimp
import pytest

from grading.__main__ import main
from grading.release import handout
from grading.release.build import build_solution, build_student, leaks
from grading.sandbox import isolation
from grading.selfcheck import _still_open
from tests.submissions import books


def test_the_handout_holds_what_students_need_and_no_solution(tmp_path):
    out = tmp_path / "handout.zip"
    assert main(["handout", "--out", str(out)]) == 0
    with zipfile.ZipFile(out) as archive:
        names = set(archive.namelist())
        everything = "\n".join(
            archive.read(name).decode("utf-8", "replace") for name in names if name.endswith((".py", ".md", ".ipynb"))
        )
        readme = archive.read("homework/README.md").decode()
    assert {
        "homework/notebooks/01_sentiment_steering.ipynb",
        "homework/helpers/checks/__init__.py",
        "homework/requirements.txt",
        "homework/README.md",
    } <= names
    assert not [
        name
        for name in names
        if "solutions" in name or "tests/" in name or "hidden" in name or ".git/" in name or "pycache" in name
    ]
    for path in (books.MASTERS / f"{name}.py" for name in books.NAMES):
        assert leaks(build_solution(path), build_student(path)) == []
    assert "BEGIN SOLUTION\n    total =" not in everything
    assert "make lab" in readme
    assert "0.85" not in readme and "results.md" not in readme  # figures give away a coefficient
    first = out.read_bytes()
    handout.write_handout(out)
    assert out.read_bytes() == first


def test_the_self_check_says_which_tasks_run_and_no_marks(tmp_path, capsys):
    wrong = books.changed("2.2", ("(x - x_hat).pow(2).sum(-1).mean()", "0 * x.sum()"))
    path = books.put(
        tmp_path, books.book(books.SECOND, {"2.2": wrong, "2.4": "top_contexts = 1 / 0"}, solved=False), "mine"
    )
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr().out
    assert (
        "2 of 6 coding tasks are answered" in said
        and "2.2: runs" in said
        and "2.4: its cells don't run: ZeroDivisionError" in said
    )
    assert "point" not in said and "right" not in said


def test_the_self_check_names_the_functions_that_are_still_open(tmp_path, capsys):
    stubs = {task: books.stub(task) for task in ("1.2", "2.1")}
    hooks, generate = books.solutions()["1.2"].split("\n\n\ndef generate_with_steering")
    half = hooks + "\n\n\ndef generate_with_steering" + stubs["1.2"].split("def generate_with_steering")[1]
    assert "NotDone" in half and generate
    path = books.put(tmp_path, books.book(books.FIRST, {"1.2": half}, solved=False), "mine")
    assert main(["check", str(path)]) == 0
    assert "but generate_with_steering isn't done" in capsys.readouterr().out
    assert _still_open([stubs["2.1"]]) == ["SAE.encode", "SAE.decode", "SAE.forward"]
    assert _still_open([stubs["1.2"], hooks]) == ["generate_with_steering"]
    assert _still_open([books.solutions()["2.1"], "%time x = ("]) == []


def test_the_self_check_runs_all_cells_if_those_of_the_task_fail(tmp_path, capsys):
    answer = "TABLE = {}\nfill = TABLE.update\n# %%\nfill(size=3)\n# %%\nsae_loss = TABLE['size']"
    path = books.put(tmp_path, books.book(books.SECOND, {"2.2": answer}, solved=False), "mine")
    assert main(["check", str(path)]) == 0
    assert "2.2: runs" in capsys.readouterr().out


def test_the_handout_holds_only_the_grader_modules_that_the_self_check_imports():
    graph = grimp.build_graph("grading", "helpers")
    needed = {"grading", "grading.__main__", "grading.selfcheck", *graph.find_upstream_modules("grading.selfcheck")}
    needed |= {name.rpartition(".")[0] for name in needed if name.count(".") > 1}
    handed = {
        path.with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in handout.contents()
        if path.match("grading/**/*.py") or path.match("grading/*.py")
    }
    assert handed == {name for name in needed if name.startswith("grading")}


def test_the_self_check_works_in_the_handout(tmp_path):
    out = tmp_path / "handout.zip"
    handout.write_handout(out)
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
    course = tmp_path / "homework"
    environment = {**os.environ, "PYTHONPATH": str(course)}
    command = [sys.executable, "-P", "-m", "grading"]
    done = subprocess.run(
        [*command, "check", f"notebooks/{books.FIRST}.ipynb"],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "0 of 3 coding tasks" in done.stdout, done.stderr
    done = subprocess.run([*command, "--help"], cwd=course, env=environment, capture_output=True, text=True)
    assert "check" in done.stdout and "grade a folder" not in done.stdout


def test_the_self_check_works_on_an_edited_given_notebook(tmp_path, capsys, monkeypatch):
    """Students edit notebooks/ in place, so the given notebooks are read from another folder."""
    monkeypatch.chdir(tmp_path)
    books.put(
        tmp_path / "notebooks",
        books.book(books.FIRST, {"1.1": "collect_average_residuals = 1 / 0"}, solved=False),
        books.FIRST,
    )
    assert main(["check", f"notebooks/{books.FIRST}.ipynb"]) == 1
    said = capsys.readouterr().out
    assert "1 of 3 coding tasks are answered" in said and "1.1: its cells don't run: ZeroDivisionError" in said


def test_the_self_check_says_why_a_file_cant_be_graded(tmp_path, capsys):
    path = books.put(tmp_path, b"{", "mine")
    assert main(["check", str(path)]) == 1
    assert "can't be graded: the file isn't JSON" in capsys.readouterr().out


def test_an_untouched_notebook_has_no_answered_tasks(tmp_path, capsys):
    path = books.put(tmp_path, books.book(books.FIRST, solved=False), "mine")
    assert main(["check", str(path)]) == 1
    assert "0 of 3 coding tasks" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["grade", "missing"], ["grade"], ["grade", "--merge", "--report", "nowhere"]])
def test_errors_say_what_to_do(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("grading.judging.command.demand", lambda sandboxed: None)
    monkeypatch.setattr(
        "grading.judging.batch.prepare", lambda masters, *a: (None, type("C", (), {"notebooks": ()})(), None)
    )
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("grade: ")


def test_without_a_sandbox_nothing_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(isolation.shutil, "which", lambda name: None)
    assert main(["grade", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "bubblewrap isn't installed" in said and "--no-sandbox" in said


@pytest.mark.skipif(not isolation.available(), reason="bubblewrap isn't installed or may not create namespaces")
@pytest.mark.parametrize("command", ["grade", "check"])
def test_a_sandbox_that_doesnt_start_stops_the_command(command, monkeypatch, capsys, tmp_path):
    """An error of the grader's own set-up is no student's 0."""
    monkeypatch.setattr(isolation, "command", lambda *a: ([sys.executable, "-c", "import no_such_module"], {}))
    path = books.put(tmp_path, books.book(books.SECOND, {"2.2": "sae_loss = 1"}, solved=False), "mine")
    assert main([command, str(path if command == "check" else tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        f"{command}: The sandbox can't be started: ModuleNotFoundError: No module named 'no_such"
    )
    assert "2.2" not in said.out


def test_away_from_a_course_each_command_says_what_to_do(tmp_path):
    """As installed by pip: the packages alone, run in an empty folder."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    for package in ("helpers", "grading"):
        shutil.copytree(books.ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__", "given"))
    empty.mkdir()
    path = books.put(tmp_path, books.book(books.FIRST, solved=False), "mine")
    advice = {
        "handout": "run the command in its folder",
        f"grade {tmp_path} --no-sandbox": "Pass the masters' folder with --masters",
        f"check {path}": "Pass the folder of the unedited notebooks with --given",
    }
    for command, said in advice.items():
        done = subprocess.run(
            [sys.executable, "-P", "-m", "grading", *command.split()],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith(command.split()[0]) and said in done.stderr
    assert not list(empty.iterdir())


def test_a_folder_without_hidden_tests_isnt_a_course(tmp_path, capsys):
    shutil.copy(books.MASTERS / f"{books.FIRST}.py", tmp_path)
    assert main(["grade", str(tmp_path), "--masters", str(tmp_path), "--no-sandbox"]) == 1
    assert "There are no hidden tests in" in capsys.readouterr().err
