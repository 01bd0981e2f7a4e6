"""A right answer gets its points whatever changes its state, and a wrong one gets none from a second attempt."""

from __future__ import annotations

import time

import pytest

from grading.judging import answers, submission
from grading.judging.sandboxes import Sandboxes
from grading.sandbox.isolation import Limits, available
from grading.sandbox.session import Broken
from tests.grading import local
from tests.submissions import books
from tests.submissions.books import changed

LOSS = "(x - x_hat).pow(2).sum(-1).mean()"
SHIFTED = changed("2.2", (LOSS, "((x - x_hat).pow(2) * shift).sum(-1).mean()"))
TABLED = changed("2.2", (LOSS, "TABLE['error'](x, x_hat)"))
ERROR = "lambda x, x_hat: (x - x_hat).pow(2).sum(-1).mean()"
METHODS = "def encode(self, x):\n    return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)"
HOLED = changed("2.1", ("torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)", "1 / 0"))
IMPORTS = "import torch\nfrom jaxtyping import Float\nfrom torch import Tensor\n\n"
MINE = "%%writefile mine.py\n" + IMPORTS + books.solutions()["2.2"]

# Each state is right only if a cell ran that binds none of the names that the answer needs.
CHANGES = {
    "a loop changes the elements": ["shift = 0 * torch.ones(1)", "for s in shift.split(1): s += 1", SHIFTED],
    "an out argument": ["shift = 0 * torch.ones(1)", "torch.add(shift, 1, out=shift)", SHIFTED],
    "an initialiser": ["shift = 0 * torch.ones(1)", "nn.init.ones_(shift)", SHIFTED],
    "another name for the object": ["shift = torch.zeros(1)\nalias = shift", "alias += 1", SHIFTED],
    "a function fills a table": [
        "TABLE = {}\ndef register():\n    TABLE['error'] = " + ERROR, "register()", TABLED
    ],
    "a decorator fills a table": [
        "TABLE = {}\ndef register(function):\n    TABLE[function.__name__] = function\n    return function",
        "@register\ndef error(x, x_hat):\n    return (x - x_hat).pow(2).sum(-1).mean()",
        TABLED,
    ],
    "update": ["TABLE = dict()", f"TABLE.update(error={ERROR})", TABLED],
    "a callback": ["TABLE = {}\nput = TABLE.__setitem__", f"put('error', {ERROR})", TABLED],
    "globals": [f"globals().update(TABLE={{'error': {ERROR}}})", TABLED],
    "a patched library": [
        f"import torch.nn.functional as F\nF.mine = {ERROR}", changed("2.2", (LOSS, "nn.functional.mine(x, x_hat)"))
    ],
    "exec": ["exec('shift = 1')", SHIFTED],
}  # fmt: skip


def _loss_book(cells: list[str]) -> dict:
    return books.book(books.SECOND, {"2.2": "\n# %%\n".join(cells)}, solved=False)


@pytest.mark.parametrize("cells", CHANGES.values(), ids=CHANGES)
def test_a_cell_that_changes_state_without_binding_a_name_counts(cells, graded):
    mark = graded(_loss_book(cells))["2.2"]
    assert mark.points == mark.most, (mark.note, [each.wrong for each in mark.tried])


@pytest.mark.parametrize(
    "patch",
    [f"{METHODS}\n\nSAE.encode = encode", f"{METHODS}\n\nsetattr(SAE, 'encode', encode)",
     f"{METHODS}\n\nclasses = [SAE]\nfor one in classes:\n    one.encode = encode",
     f"{METHODS}\n\ntype.__setattr__(SAE, encode.__name__, encode)"],
)  # fmt: skip
def test_a_patched_method_counts(patch, graded):
    mark = graded(books.book(books.SECOND, {"2.1": f"{HOLED}\n# %%\n{patch}"}, solved=False))["2.1"]
    assert mark.points == mark.most, (mark.note, [each.wrong for each in mark.tried])


@pytest.mark.parametrize("name", ["filter", "sum", "round", "type", "iter"])
def test_a_redefined_builtin_counts(name, graded):
    answer = changed("2.2", (LOSS, f"{name}(x, x_hat)"))
    error = f"def {name}(x, x_hat):\n    return (x - x_hat).pow(2).sum(-1).mean()"
    mark = graded(_loss_book([error, answer]))["2.2"]
    assert mark.points == mark.most, mark.note


def test_a_builtin_that_a_scratch_cell_redefined_doesnt_spoil_an_answer(graded):
    answer = changed("2.2", (LOSS, "sum((x - x_hat).pow(2).unbind(-1)).mean()"))
    mark = graded(_loss_book(["sum = 0\nfor i in range(3): sum += i", answer]))["2.2"]
    assert mark.points == mark.most, mark.note


@pytest.mark.parametrize(
    ("task", "function", "pairs"),
    [
        ("1.2", "generate_with_steering", [("tokens = model.to_tokens(prompt)", "raise NotDone('1.2')")]),
        ("2.1", "SAE.decode", [("return h @ self.W_dec", "raise NotDone('2.1')\n        return h @ self.W_dec")]),
        ("2.1", "SAE.forward", [("h = self.encode(x)", "raise NotDone('2.1')")]),
    ],
)
def test_the_feedback_names_the_function_that_isnt_done(task, function, pairs, graded):
    source = changed(task, *pairs)
    mark = graded(books.book(books.name_of(task), {task: source}, solved=False))[task]
    assert mark.points < mark.most and f"{function} isn't done yet" in [each.wrong for each in mark.tried]


@pytest.mark.parametrize("effect", ["print(1)", "def f(): pass", "torch.manual_seed(3)", "while True: raise KeyError"])
def test_a_wrong_answer_stays_wrong_from_the_top(effect, graded):
    wrong = changed("2.2", (LOSS, "(x - x_hat).abs().sum(-1).mean()"))
    mark = graded(_loss_book([effect, wrong]))["2.2"]
    assert mark.outcome in ("wrong", "partly right") and mark.points < mark.most and mark.says
    assert mark.note != answers.FROM_THE_TOP


def test_only_a_cell_with_effects_makes_the_notebook_run_again(facts, course, tmp_path, graded):
    def cells_run(*cells):
        count = []

        class Counting(local.Sessions):
            def task(self, *args, **options):
                count.append(args)
                return super().task(*args, **options)

        graded(_loss_book(list(cells)), sessions=Counting)
        return len(count)

    wrong, right = changed("2.2", (LOSS, "0 * x.sum()")), books.solutions()["2.2"]
    once = cells_run(wrong)
    assert cells_run("def f(x):\n    return x\nclass K:\n    size = 3\nSEED = 4\nimport numpy as np", wrong) == once
    assert cells_run("torch.manual_seed(4)", wrong) > once
    assert cells_run("torch.manual_seed(4)", right) == 1


def test_whole_notebooks_run_after_all_tasks_and_only_in_their_share_of_the_time(graded, monkeypatch):
    """A loop without end in one task's second attempt can't cost another task its time."""
    asked = []
    monkeypatch.setattr(
        submission, "judge_from_the_top", lambda answer, found, sessions, until: (asked.append(until), found)[1]
    )
    marks = graded(_loss_book(["torch.manual_seed(4)", "sae_loss = None"]))
    assert marks["2.2"].points == 0 and len(set(asked)) == 1


@pytest.mark.skipif(not available(), reason="bubblewrap isn't installed or may not create namespaces")
@pytest.mark.submissions
@pytest.mark.parametrize(
    "imported", ["from mine import sae_loss", "from mine import *", "import mine\nsae_loss = mine.sae_loss"]
)
def test_a_module_that_a_cell_writes_counts(imported, graded):
    mark = graded(_loss_book([MINE, imported]), sessions=Sandboxes)["2.2"]
    assert mark.points == mark.most, (mark.note, [each.wrong for each in mark.tried])


@pytest.mark.skipif(not available(), reason="bubblewrap isn't installed or may not create namespaces")
def test_a_task_that_is_stopped_early_leaves_the_others_their_time(facts):
    with Sandboxes(facts, Limits()) as sessions:
        with pytest.raises(Broken, match="time"), sessions.task(until=time.monotonic() - 1):
            pass
        with sessions.task():
            pass
        with pytest.raises(Broken, match="time"), sessions.task(until=time.monotonic() + 1) as session:
            session.cell("while True: pass")
        with sessions.task() as session:
            assert session.cell("1") is None and session.until == sessions.until


@pytest.mark.skipif(not available(), reason="bubblewrap isn't installed or may not create namespaces")
def test_a_second_attempt_cant_use_what_the_first_one_saved(facts):
    with Sandboxes(facts, Limits()) as sessions:
        with sessions.task(hidden=True) as session:
            assert session.cell("open('/tmp/seen', 'w').write('hidden')") is None
        with sessions.task(hidden=True) as session:
            assert session.cell("open('/tmp/seen')")["type"] == "FileNotFoundError"
