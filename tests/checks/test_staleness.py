"""A check warns if the cell that defines its answer failed when it last ran."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell

OLD = "def answer():\n    return 1"
CHECK = "task_9_9(answer)"
SETUP = """from helpers.checks.verdict import call, public_check
@public_check("9.9")
def task_9_9(answer):
    call(answer) if callable(answer) else None
"""


@pytest.fixture
def warned(capsys):
    """Return ``warned(*cells)``, which runs cells as a notebook does and says whether the last one warns."""
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False

    def run(*cells: str) -> bool:
        for cell in (SETUP, *cells):
            capsys.readouterr()
            shell.run_cell(cell, store_history=True)
        said = capsys.readouterr().out
        assert "Task 9.9: public checks passed" in said
        return "⚠ 9.9 The cell that defines answer failed when it last ran" in said

    yield run
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    "failing",
    [
        "def answer():\n    return 1 +",
        "def answer(:\n    return 2",
        "def answer():\nreturn 2",
        "  x = 1\ndef answer():\n    return 2",
        "1 / 0\n\ndef answer():\n    return 2",
        "import no_such_module\ndef answer():\n    return 2",
        "async def answer():\n    return 'a",
        "class answer:\n    x = (",
    ],
)
def test_an_older_function_is_noticed(failing, warned):
    assert warned(OLD, failing, CHECK)
    assert not warned(OLD, failing, OLD, CHECK)  # the old cell ran again
    assert not warned(failing, "def answer():\n    return 2", CHECK)


@pytest.mark.parametrize("failing", ["class answer:\n    def f(self)\n        pass", "1 / 0\nclass answer:\n    pass"])
def test_an_older_class_is_noticed(failing, warned):
    old = "class answer:\n    size = 3\n    def f(self):\n        return 1"
    assert warned(old, failing, CHECK)
    assert not warned(old, CHECK)
    assert not warned(old, "def f(self):\n    return 2\nanswer.f = f", CHECK)


def test_an_older_value_is_noticed_if_its_cell_isnt_python(warned):
    assert warned("answer = 3", "answer = (4", CHECK)
    assert warned("answer: float = 3", "best = 2\nanswer: float = 4)", CHECK)
    assert not warned("answer = (4", "answer = 3", CHECK)
    assert not warned("answer = 3", "answer == (4", CHECK)


@pytest.mark.parametrize(
    "cells",
    [
        (OLD,),
        (OLD, OLD),
        (OLD, "%%time\ndef answer():\n    return 2"),
        (OLD, "%%capture\ndef answer():\n    return 2"),
        (OLD, "print('def answer')", "answer()", "# def answer(:"),
        (OLD, "def answer2(:\n    return 2", "def other(:"),
        ("from math import tau as answer", "answer = 3"),
        ("import functools\n" + OLD, "answer = functools.wraps(answer)(lambda: 3)"),
        (
            "class Odd:\n    def __getattr__(self, name): return self\n    def __call__(self): return 1",
            "answer = Odd()",
        ),
        ("answer = len", "answer = lambda: 2"),
        (OLD + "\nraise ValueError",),
    ],
)
def test_a_current_answer_brings_no_warning(cells, warned):
    assert not warned(*cells, CHECK)
