"""What code in the sandbox can see and do. Most tests share one sandbox."""

from __future__ import annotations

import os
import re
import shutil
import sys

import pytest
import torch

from grading.sandbox import isolation, worker
from grading.sandbox.isolation import Limits, Place, SandboxError, available
from grading.sandbox.session import Broken, Session
from tests.submissions import books

pytestmark = pytest.mark.skipif(not available(), reason="bubblewrap isn't installed or may not create namespaces")


@pytest.fixture(scope="module")
def session():
    with Session(Place("none", "written", "quick", 1), Limits(cell_seconds=60, memory_gib=2)) as found:
        yield found


@pytest.fixture
def value(session):
    """Return ``value(expression, *statements)``, which evaluates the expression in a fresh interpreter."""
    session.begin()

    def run(expression: str, *statements: str):
        for statement in statements:
            assert session.cell(statement) is None
        reply, _ = session.ask(
            f"def question(student, given):\n    return {{'found': eval({expression!r}, student)}}", "question", {}
        )
        return reply["answer"]["found"] if "answer" in reply else reply["error"]["type"]

    yield run
    session.end()


def test_only_tmp_is_writable(value):
    places = [
        "/",
        "/usr",
        str(books.ROOT),
        str(books.ROOT / "helpers"),
        str(books.ROOT / "grading" / "sandbox"),
        "/proc/sys/kernel",
        "/etc",
    ]
    assert value(f"[p for p in {places!r} if os.access(p, os.W_OK)]", "import os") == []
    assert value("open('/tmp/mine', 'w').write('x')") == 1


def test_solutions_hidden_tests_and_the_grader_cant_be_seen(value):
    seen = value(
        f"[sorted(os.listdir({str(books.ROOT)!r})), os.listdir({str(books.ROOT / 'grading' / 'sandbox')!r})]",
        "import os",
    )
    assert "solutions" not in seen[0] and "tests" not in seen[0] and ".git" not in seen[0] and seen[1] == ["worker.py"]
    assert value("__import__('grading.judging.reference')") == "ModuleNotFoundError"


def test_there_is_no_network_and_there_are_no_other_processes(value):
    assert value("[name for _, name in __import__('socket').if_nameindex()]") == ["lo"]
    assert value("len([p for p in os.listdir('/proc') if p.isdigit()])", "import os") <= 4


def test_the_environment_holds_the_settings_and_no_secrets(value):
    names = value("sorted(os.environ)", "import os")
    assert {"HOMEWORK_MODEL", "HOMEWORK_BUDGET"} <= set(names) and not [
        n for n in names if "KEY" in n or "TOKEN" in n or "SECRET" in n
    ]


def test_each_task_gets_a_fresh_interpreter_and_leaves_nothing_running(session):
    session.begin()
    assert (
        session.cell(
            "import torch, subprocess; torch.marked = 1; subprocess.Popen(['sleep', '100']); open('/tmp/left', 'w')"
        )
        is None
    )
    session.end()
    session.begin()
    reply, _ = session.ask(
        "def question(s, g):\n    import torch, os\n"
        "    return {'x': [hasattr(torch, 'marked'), len([p for p in os.listdir('/proc') if p.isdigit()])]}",
        "question",
        {},
    )
    session.end()
    assert reply["answer"]["x"][0] is False and reply["answer"]["x"][1] <= 4


def test_errors_come_with_the_students_line(session):
    session.begin()
    error = session.cell("def f():\n    return 1 / 0\n\nf()")
    session.end()
    assert (error["type"], error["line"], error["text"]) == ("ZeroDivisionError", 2, "return 1 / 0")


@pytest.mark.submissions  # a sandbox for each
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os; os._exit(0)", "died"),
        ("while True: pass", "time"),
        ("import numpy; x = [numpy.ones(1 << 27) for _ in range(9)]", "memory"),
        (
            "import subprocess; x = [subprocess.Popen(['sleep', '9']) for _ in range(99)]; import time; time.sleep(9)",
            "processes",
        ),
        ("import os; os.write(19, b'x' * 100)", "answer"),
    ],
)
def test_code_that_exceeds_a_limit_is_stopped_with_the_reason(source, reason):
    with Session(Place("none", "written", "quick", 1), Limits(cell_seconds=12, memory_gib=2)) as found:
        found.begin()
        with pytest.raises(Broken) as caught:
            found.cell(source)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (["bwrap", "--nonsense"], "bwrap: Unknown option --nonsense"),
        (["bwrap", "--bind", "/nowhere", "/nowhere", "true"], "bwrap: Can't find source path /nowhere"),
        ([sys.executable, "-c", "raise ImportError('no torch here')"], "ImportError: no torch here"),
        (["true"], "it ended without a message"),
    ],
)
def test_a_sandbox_that_cant_be_started_is_an_error_of_the_grader_that_says_why(run, why, monkeypatch):
    monkeypatch.setattr(isolation, "command", lambda *arguments: (run, dict(os.environ)))
    with pytest.raises(SandboxError, match=re.escape(why)):
        Session(Place("none", "written", "quick", 1), Limits())


def test_a_limit_that_is_too_low_for_the_sandbox_itself_is_an_error_of_the_grader():
    with pytest.raises(SandboxError, match="memory limit is too low"):
        Session(Place("none", "written", "quick", 1), Limits(memory_gib=0.01))


def test_the_sandbox_works_from_site_packages_and_hides_the_grader_there(tmp_path, monkeypatch):
    """As installed by pip: helpers and grading lie below this Python's prefix, among what helpers import."""
    site = tmp_path / "lib" / "site-packages"
    for package in ("helpers", "grading"):
        shutil.copytree(books.ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(isolation, "ROOT", site)
    monkeypatch.setattr(isolation, "INSTALLED", True)
    monkeypatch.setattr(isolation, "HIDDEN", site / "grading")
    monkeypatch.setattr(worker, "__file__", str(site / "grading" / "sandbox" / "worker.py"))
    # What helpers import lies elsewhere in this test.
    place = Place("none", "written", "quick", 1, files=(sys.prefix,))
    monkeypatch.setattr(isolation.sys, "prefix", str(tmp_path))
    with Session(place, Limits()) as found:
        found.begin()
        seen = found.cell(
            f"import os, helpers\nraise KeyError(os.listdir({str(site / 'grading')!r}), helpers.__file__)"
        )
    assert seen["message"] == f"(['sandbox'], '{site}/helpers/__init__.py')"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_code_for_a_gpu_runs_on_the_cpu(value):
    made = (
        "[t.device.type for t in (torch.zeros(2, device=torch.device('cuda')), torch.ones(2).cuda(), "
        "torch.ones(2).to('cuda:0'), torch.nn.Linear(2, 2).cuda().weight)]"
    )
    assert value(made, "import torch") == ["cpu"] * 4
    # fork_rng looks up torch's device module by the name 'cuda'.
    forked = "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(1)"
    assert value("1", forked, "torch.set_default_device('cuda')", "torch.zeros(2) + 1") == 1
