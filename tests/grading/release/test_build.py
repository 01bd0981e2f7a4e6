"""Small masters build the right notebooks, and the committed notebooks match their masters."""

from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator

from grading.release import build
from grading.release.masters import ReleaseError, find_masters, read_master, tasks

ROOT = Path(__file__).parents[3]
MASTERS = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))

MASTER = '''# %% [markdown]
# # A small homework

# %%
from helpers.checks.notdone import NotDone

# %% task="1.1" points=1
def add(first, second):
    """Their sum."""
    ### BEGIN SOLUTION
    total = first + second  # the whole secret
    return total
    ### END SOLUTION


class Box:
    def put(self, thing):
        if thing:
            ### BEGIN SOLUTION
            self.thing = thing
            ### END SOLUTION

# %% task="1.1" role="check"
assert add(2, 3) == 5

# %% task="1.2" points=0.5 bonus=true
### BEGIN SOLUTION
answer = add(20, 22)
### END SOLUTION

# %% task="1.2" role="check"
assert answer == 42

# %% [markdown] task="1.3" points=0.5 role="written"
# Why is it so?
#
# <!-- BEGIN SOLUTION -->
# Because addition is what it is.
# <!-- END SOLUTION -->

# %% [markdown] task="1.3" role="rubric"
# Half a point for the word addition.

# %% role="instructor"
print("for instructors only")
'''


@pytest.fixture
def master(tmp_path):
    """Return a function that writes the small master with replacements and returns its path."""

    def make(*replacements, text=MASTER, name="01_small"):
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        folder = tmp_path / "solutions"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.py"
        path.write_text(text)
        return path

    return make


def source(book):
    return "\n".join(cell.source for cell in book.cells)


def by_id(book, cell_id):
    return next(cell for cell in book.cells if cell.id == cell_id)


def test_stubs_replace_solution_regions_in_place(master):
    student = build.build_student(master())
    assert by_id(student, "solution-1-1").source == (
        'def add(first, second):\n    """Their sum."""\n    raise NotDone("1.1")\n\n\n'
        'class Box:\n    def put(self, thing):\n        if thing:\n            raise NotDone("1.1")'
    )
    assert by_id(student, "solution-1-2").source == 'raise NotDone("1.2")'


def test_students_see_the_prompt_but_no_answer_rubric_or_instructor_cell(master):
    student = build.build_student(master())
    assert by_id(student, "written-1-3").source == "Why is it so?\n\n*Your answer here.*"
    for hidden in ("what it is", "Half a point", "instructors only", "secret", "SOLUTION"):
        assert hidden not in source(student)
    assert "# A small homework" in source(student) and "assert add(2, 3) == 5" in source(student)
    assert all(cell.get("outputs", []) == [] for cell in student.cells)


def test_the_solution_keeps_everything(master):
    solution = build.build_solution(master())
    for kept in ("### BEGIN SOLUTION", "total = first + second", "Half a point", "instructors only", "what it is"):
        assert kept in source(solution)


def test_cells_have_nbgraders_metadata_and_the_homeworks(master):
    path = master()
    for book in (build.build_solution(path), build.build_student(path)):
        nbformat.validate(book)
        MetadataValidator().validate_nb(book)
        check = by_id(book, "check-1-1").metadata
        assert check.homework == {"task": "1.1", "role": "check"}
        assert (check.nbgrader.grade, check.nbgrader.locked, check.nbgrader.points) == (True, True, 1)
        code = by_id(book, "solution-1-1").metadata.nbgrader
        assert (code.grade, code.solution, code.locked) == (False, True, False) and "points" not in code
        written = by_id(book, "written-1-3").metadata.nbgrader
        assert (written.grade, written.solution, written.points) == (True, True, 0.5)


def test_students_cannot_delete_graded_cells_nor_edit_checks(master):
    student = build.build_student(master())
    check = by_id(student, "check-1-1").metadata
    assert (check.deletable, check.editable) == (False, False)
    solution = by_id(student, "solution-1-1").metadata
    assert solution.deletable is False and solution.get("editable", True)


def test_tasks_have_the_points_from_the_master(master):
    found = tasks(read_master(master()))
    assert {name: (task.points, task.written, task.bonus) for name, task in found.items()} == {
        "1.1": (1, False, False),
        "1.2": (0.5, False, True),
        "1.3": (0.5, True, False),
    }


def test_rebuilding_gives_the_same_bytes(master, tmp_path):
    path = master()
    outputs = [tmp_path / "notebooks" / "01_small.ipynb", path.with_suffix(".ipynb")]
    build.release([path], tmp_path / "notebooks", "built")
    first = [output.read_bytes() for output in outputs]
    build.release([path], tmp_path / "notebooks", "built")
    assert [output.read_bytes() for output in outputs] == first
    assert first[0] != first[1]
    ids = [cell.id for cell in nbformat.read(outputs[1], 4).cells]
    assert len(set(ids)) == len(ids)


BROKEN = {
    "unclosed region": (("    return total\n    ### END SOLUTION", "    return total"), "close the"),
    "end without begin": (("### BEGIN SOLUTION\nanswer", "answer"), "END SOLUTION without BEGIN"),
    "nested region": (("    return total", "    ### BEGIN SOLUTION\n    return total"), "second BEGIN SOLUTION"),
    "region in a plain cell": (('# %% task="1.1" points=1', "# %%"), "isn't a graded task's"),
    "no region": (
        ("### BEGIN SOLUTION\nanswer = add(20, 22)\n### END SOLUTION", "answer = 1"),
        "no solution region",
    ),
    "unknown role": (('role="check"\nassert answer', 'role="chek"\nassert answer'), "unknown role 'chek'"),
    "two solutions": (('task="1.2" points=0.5 bonus=true', 'task="1.1" points=1'), "has a solution in cell 3"),
    "two checks": (('task="1.2" role="check"', 'task="1.1" role="check"'), "has a check in cell 4"),
    "no check": (('# %% task="1.2" role="check"\nassert answer == 42\n', ""), "task 1.2 has no check"),
    "no rubric": (('[markdown] task="1.3" role="rubric"', "[markdown]"), "task 1.3 has no rubric"),
    "a check for nothing": (('task="1.2" role="check"', 'task="9.9" role="check"'), "task"),
    "no points": (('task="1.1" points=1', 'task="1.1"'), "task 1.1 has no points"),
    "points of zero": (('task="1.1" points=1', 'task="1.1" points=0'), "task 1.1 has no points"),
    "points in words": (('task="1.1" points=1', 'task="1.1" points="one"'), "task 1.1 has no points"),
    "a task that is a number": (('task="1.1" points=1', "task=1.1 points=1"), "in quotes"),
    "a role without a task": (('task="1.1" role="check"', 'role="check"'), "in quotes"),
    "a written code cell": (("[markdown] task", "task"), "can't be a code cell"),
    "a forbidden tag": (('task="1.1" role="check"', 'task="1.1" role="check" tags=["raises-exception"]'), "unnoticed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_error_names_the_broken_master_and_cell(master, case):
    replacement, expected = BROKEN[case]
    path = master(replacement)
    with pytest.raises(ReleaseError) as error:
        build.build_student(path)
    assert str(error.value).startswith("01_small.py, cell ") and expected in str(error.value)


def test_masters_can_be_chosen_by_name(master):
    path = master()
    other = master(name="02_other")
    assert find_masters(path.parent) == [path, other]
    assert find_masters(path.parent, ["02_other"]) == find_masters(path.parent, ["02_other.py"]) == [other]
    with pytest.raises(ReleaseError, match="'03_none': choose from 01_small, 02_other"):
        find_masters(path.parent, ["03_none"])
    with pytest.raises(ReleaseError, match="no master"):
        find_masters(path.parent.parent)


def test_nothing_leaks_from_a_sound_master(master):
    path = master()
    assert build.leaks(build.build_solution(path), build.build_student(path)) == []


def _in_markdown(student, line):
    student.cells[0].source += f"\nHint: `{line}`."


def _in_code(student, line):
    by_id(student, "check-1-1").source += f"\n        {line}"


def _in_output(student, line):
    text = nbformat.v4.new_output("stream", text=f"{line}\n")
    by_id(student, "check-1-1").outputs.append(text)


def _in_metadata(student, line):
    student.cells[1].metadata["note"] = line


@pytest.mark.parametrize("plant", [_in_markdown, _in_code, _in_output, _in_metadata])
@pytest.mark.parametrize(
    "line",
    [
        "total = first + second",
        "answer = add(20, 22)",
        "Because addition is what it is.",
        "Half a point for the word addition.",
    ],
)
def test_a_planted_line_is_found(master, plant, line):
    path = master()
    student = build.build_student(path)
    plant(student, line)
    assert build.leaks(build.build_solution(path), student) == [line]


def test_common_python_lines_are_no_leak(master):
    path = master(
        ("    total = first", "    import math\n    for part in (first, second):\n        ...\n    total = first")
    )
    student = build.build_student(path)
    student.cells[1].source += "\nimport math\nfor part in (first, second):\n    ..."
    assert build.leaks(build.build_solution(path), student) == []


def test_a_leaking_master_writes_nothing(master, tmp_path, capsys):
    path = master(("# # A small homework", "# # A small homework\n# Try `answer = add(20, 22)`."))
    arguments = ["--masters", str(path.parent), "--notebooks", str(tmp_path / "notebooks"), "--no-execute"]
    assert build.main(arguments) == 1
    assert "01_small.py: students would see 1 line" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ipynb"))


def test_the_command_executes_the_solution_and_not_the_student_notebook(master, tmp_path, monkeypatch):
    path = master(('print("for instructors only")', "import os\nprint(6 * 7, os.getcwd())"))
    monkeypatch.chdir(tmp_path)
    assert build.main([]) == 0
    solution = nbformat.read(path.with_suffix(".ipynb"), 4)
    assert solution.cells[-1].outputs[0].text == "42 .\n"  # the machine's folder is removed before publishing
    assert all("execution" not in cell.metadata for cell in solution.cells)
    student = nbformat.read(tmp_path / "notebooks" / "01_small.ipynb", 4)
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in student.cells)


def test_a_failing_solution_is_reported_and_not_written(master, tmp_path, monkeypatch, capsys):
    path = master(("assert answer == 42", "assert answer == 43, 'off by one'"))
    monkeypatch.chdir(tmp_path)
    assert build.main(["01_small"]) == 1
    error = capsys.readouterr().err
    assert "cell 6 (1.2 check" in error and "AssertionError: off by one" in error
    assert not path.with_suffix(".ipynb").exists()


def _sources(book):
    return [(cell.id, cell.cell_type, cell.source, dict(cell.metadata.get("homework", {}))) for cell in book.cells]


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_committed_notebooks_match_their_masters(path):
    """If this fails, run ``make release``."""
    solution = nbformat.read(path.with_suffix(".ipynb"), 4)
    student = nbformat.read(ROOT / "notebooks" / f"{path.stem}.ipynb", 4)
    assert _sources(solution) == _sources(build.build_solution(path))
    assert student == build.build_student(path)
    assert build.leaks(build.build_solution(path), student) == []
    code = [cell for cell in solution.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "the committed solution was not executed"


def test_every_built_notebook_has_a_master():
    built = {path.stem for folder in (ROOT / "solutions", ROOT / "notebooks") for path in folder.glob("*.ipynb")}
    assert built <= {path.stem for path in MASTERS}
