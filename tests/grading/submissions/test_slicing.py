"""The cells that a task needs run, in an order that works, and no others."""

from __future__ import annotations

import pytest

from grading.submissions.cell_names import BUILTINS, names_of
from grading.submissions.notebook import Cell
from grading.submissions.slicing import Submission, squeeze


def plan(*sources: str, wanted=("answer",), given=(), have=(), stubs=None):
    cells = [Cell(source, code=True) for source in sources]
    return Submission(cells, {squeeze(text) for text in given}, stubs or {}, have).plan("1.1", wanted)


@pytest.mark.parametrize(
    ("source", "binds", "needs", "later"),
    [
        ("x = y + 1", "x", "y", ""),
        ("import a.b\nfrom c import d as e", "a e", "", ""),
        ("def f(a, b=z):\n    return a + g", "f", "z", "g"),
        ("class K(Base):\n    size = n\n    def m(self):\n        return helper(self)", "K", "Base n", "helper"),
        ("for i in rows:\n    total = i", "i total", "rows i", ""),
        ("[t for t in texts if t]", "", "texts", ""),
        ("with open(p) as f:\n    pass", "f", "p", ""),
        ("if (n := size) > 1:\n    pass", "n", "size n", ""),
        ("x: int = 3", "x", "int", ""),
        ("(lambda q: q + w)(1)", "", "", "w"),
        ("def f():\n    global count\n    count = 1", "f count", "", ""),
        ("%matplotlib inline\n!ls\nx = 1", "x", "", ""),
        ("del x", "", "", ""),
        ("%%time\ndef f():\n    return g", "f", "", "g"),
        ("%%capture out\nx = y", "x", "y", ""),
        ("%time x = y\nif x:\n    %time z = 1", "x z", "y", ""),
        ("%%writefile f.py\nx = 1", "", "", ""),
        ("%%bash\nls", "", "", ""),
    ],
)  # fmt: skip
def test_a_cells_names_are_found(source, binds, needs, later):
    found = names_of(source)
    assert set(binds.split()) <= found.binds
    assert found.needs - BUILTINS - found.binds == set(needs.split()) - found.binds - BUILTINS
    assert found.later - BUILTINS == set(later.split())


@pytest.mark.parametrize("source", ["x = (", "def f(:", "\x00", "x = " + "(" * 300])
def test_a_cell_that_isnt_python_has_no_names_and_an_error(source):
    found = names_of(source)
    assert found.error and not found.binds


def test_only_what_is_needed_runs_in_the_notebooks_order():
    found = plan("a = 1", "raise SystemExit", "b = a", "c = 3", "answer = b", "print(answer)")
    assert found.cells == (0, 2, 4, 5)  # the last cell might change the answer


def test_a_cell_that_only_calls_a_function_is_left_out():
    assert plan("def answer():\n    return 1", "print(answer())").cells == (0,)


def test_the_last_definition_before_the_end_counts():
    assert plan("answer = 1", "answer = 2").cells == (1,)


def test_all_cells_that_build_up_a_value_run():
    assert plan("answer = 1", "answer = answer + 1", "answer += 1").cells == (0, 1, 2)


def test_names_that_a_function_needs_when_called_are_included():
    assert plan("def answer():\n    return helper()", "def helper():\n    return SIZE", "SIZE = 3").cells in (
        (2, 1, 0),
        (0, 1, 2),
        (1, 2, 0),
        (2, 0, 1),
        (1, 0, 2),
    )


def test_later_definitions_run_first():
    cells = plan("answer = f()", "def f():\n    return g()", "def g():\n    return 1").cells
    assert cells.index(1) < cells.index(0)


def test_two_functions_that_call_each_other_are_both_included():
    assert set(plan("def answer():\n    return other()", "def other():\n    return answer()").cells) == {0, 1}


def test_cells_that_change_an_object_run():
    assert plan("answer = Module()", "train(answer)", "class Module: pass", "def train(m): pass").cells == (2, 0, 3, 1)
    assert plan("class answer:\n    pass", "answer.f = 3", "answer()").cells == (0, 1)


def test_given_cells_are_replaced_by_what_the_grader_provides():
    given = ["data = slow()", "def slow(): pass"]
    found = plan(*given, "answer = data", given=given, have=("data",))
    assert found.cells == (2,) and found.provided == ("data",)


def test_an_edited_given_cell_runs():
    found = plan("data = mine()", "def mine(): pass", "answer = data", given=["data = slow()"], have=("data",))
    assert found.cells == (1, 0, 2) and found.provided == ()


def test_a_given_cell_runs_if_the_grader_cant_provide_its_names():
    assert plan("data = 1", "answer = data", given=["data = 1"]).cells == (0, 1)


def test_stubs_never_run_and_missing_names_are_listed():
    stub = "def answer():\n    raise NotDone('1.1')"
    found = plan("x = 1", stub, stubs={"1.1": squeeze(stub)})
    assert found.cells == () and found.missing == ("answer",)


def test_a_stub_below_the_answer_is_ignored():
    stub = "def answer():\n    raise NotDone('1.1')"
    assert plan("def answer():\n    return 1", stub, stubs={"1.1": squeeze(stub)}).cells == (0,)


def test_a_cell_that_isnt_python_is_reported_as_broken():
    found = plan("def answer(:")
    assert found.missing == ("answer",) and found.broken and "SyntaxError" in found.broken[0][1]


def test_a_name_may_come_from_a_star_import():
    assert plan("from math import *", "answer = sqrt(2)").cells == (0, 1)


@pytest.mark.parametrize("name", ["filter", "sum", "min", "input", "type", "round", "iter", "print", "__build_class__"])
@pytest.mark.parametrize(
    "binding",
    ["def {}(*a):\n    return 3", "{} = 3", "from mine import {}", "for {} in (1, 2): pass", "from mine import *"],
)
def test_a_cell_that_redefines_a_builtin_runs_where_the_name_is_used(name, binding):
    binding = binding.format(name)
    assert plan(binding, f"answer = {name}").cells == (0, 1)
    assert plan("0", binding, f"def answer(x):\n    return {name}(x)").cells == (1, 2)


def test_a_builtin_keeps_its_meaning_before_the_cell_that_redefines_it():
    assert plan("answer = sum([1])", "sum = 0").cells == (0,)
    assert plan("x = max([1])", "from numpy import *", "answer = x").cells == (0, 1, 2)  # it may rebind x
    assert plan("def f():\n    return max(1, 2)", "answer = f", "max = 5").cells == (0, 1, 2)  # f is called at the end


def test_a_star_import_may_rebind_any_name_above_its_use():
    assert plan("size = 1", "from mine import *", "answer = size").cells == (0, 1, 2)
    assert plan("data = 1", "from mine import *", "answer = data", given=["data = 1"], have=["data"]).cells == (1, 2)
    assert plan("from mine import *", "data = 1", "answer = data", given=["data = 1"], have=["data"]).cells == (2,)
