"""Shared fixtures: the facts of the tiny model, the course, and a function that grades notebooks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from grading.course import read_course
from grading.judging import reference
from grading.judging.submission import grade
from grading.sandbox.isolation import Limits, Place
from grading.submissions.collect import Handed
from tests import tiny
from tests.grading import local
from tests.submissions import books


@pytest.fixture(scope="session")
def place(request, tiny_folder, tmp_path_factory) -> Place:
    """Return the tiny model and text in its language, in pytest's cache if possible so that facts are kept."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("tiny-text") if cache else tmp_path_factory.mktemp("tiny-text")
    text = Path(folder) / "documents.txt"
    text.write_text("\n".join(tiny.documents(1500, seed=9)), encoding="utf-8")
    return Place(str(tiny_folder), str(text), "quick", threads=1)


@pytest.fixture(scope="session")
def facts(place) -> reference.Facts:
    known = reference.facts(books.MASTERS, place, say=lambda text: None, cache=Path(place.text).parent)
    files = tuple(known.bundle(name) for name in known.record["bundles"])
    return reference.Facts(known.folder, books.MASTERS, dataclasses.replace(place, files=files))


@pytest.fixture(scope="session")
def course():
    return read_course(books.MASTERS)


@pytest.fixture
def graded(facts, course, tmp_path):
    """Return ``graded(*books)``, which grades harmless answers in this process and returns marks by task."""

    def run(*contents: dict, sessions=local.Sessions):
        files = [books.put(tmp_path, content, f"{number}") for number, content in enumerate(contents)]
        marks = grade(Handed("anna", files), course, facts, Limits(), sessions)
        return {mark.task: mark for mark in marks.tasks}

    return run
