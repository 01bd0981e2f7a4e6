"""Grading one submission without running code: its notebooks are parsed once and matched to tasks."""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

from grading.course import Notebook
from grading.judging.submission import grade
from grading.sandbox.isolation import Limits
from grading.submissions.collect import Handed
from tests.submissions import books


def test_each_notebook_is_parsed_once_with_the_names_that_the_grader_provides(course, tmp_path, monkeypatch):
    parsed = []
    parse = Notebook.submission

    def counted(notebook, cells, have):
        parsed.append((notebook.name, list(have)))
        return parse(notebook, cells, have)

    monkeypatch.setattr(Notebook, "submission", counted)
    facts = SimpleNamespace(
        hidden_tests=SimpleNamespace(WANTED=defaultdict(tuple)), names=lambda notebook: [f"provided for {notebook}"]
    )
    files = [books.put(tmp_path, books.book(name, solved=False), name) for name in books.NAMES]
    sessions = nullcontext(SimpleNamespace(cpu_seconds=0.0))
    marks = grade(Handed("anna", files), course, facts, Limits(), lambda facts, limits: sessions)
    assert parsed == [(name, [f"provided for {name}"]) for name in books.NAMES]
    assert marks.status == "blank" and {task.outcome for task in marks.tasks} == {"untouched"}
