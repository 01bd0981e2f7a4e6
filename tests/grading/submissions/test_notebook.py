"""Any notebook with cells is read; for any other file the error says what is wrong."""

from __future__ import annotations

import json
import os

import pytest

from grading.submissions.notebook import Unreadable, parse, read_notebook
from tests.submissions.books import SECOND, book, code


def cells(*cells, **more) -> bytes:
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": list(cells), **more}).encode()


def test_sources_types_and_marks_are_read():
    found = parse(json.dumps(book(SECOND)).encode())
    marks = {(cell.task, cell.role) for cell in found if cell.task}
    assert {("2.1", "solution"), ("2.1", "check"), ("2.5", "written")} <= marks
    assert any(cell.code and cell.source.startswith("class SAE") for cell in found)


def test_a_mark_may_come_from_nbgrader_or_the_cells_id():
    (first,) = parse(cells(code("x", metadata={"nbgrader": {"grade_id": "solution-1-2", "points": 99}})))
    (second,) = parse(cells(code("x", id="check-2-4")))
    assert (first.task, first.role, second.task, second.role) == ("1.2", "solution", "2.4", "check")


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        "x",
        {"homework": 3},
        {"homework": {"task": 5}},
        {"homework": {"task": "1.1<script>"}},
        {"nbgrader": []},
    ],
)
def test_marks_of_the_wrong_type_are_ignored(meta):
    (cell,) = parse(cells(code("x", metadata=meta)))
    assert (cell.task, cell.role) == ("", "")


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "empty"), (b"\x00\x00", "empty"), (b"{", "isn't JSON"), (b"[" * 10**6, "nested"),
        (b"[]", "not a notebook"), (b'{"cells": 3}', "no cells"), (b"{}", "no cells"), (b'{"worksheets": [3]}', None),
        (cells(*[code("x")] * 2001), "2001 cells"),
    ],
)  # fmt: skip
def test_a_file_that_isnt_a_notebook_is_rejected_with_the_reason(raw, word):
    if word is None:
        assert parse(raw) == []
        return
    with pytest.raises(Unreadable, match=word):
        parse(raw)


def test_line_ends_null_bytes_surrogates_and_encodings_are_normalised():
    (cell,) = parse(cells(code("a\r\nb\rc\x00\ud800")))
    assert cell.source == "a\nb\nc?"
    accent = json.dumps({"cells": [code("é")]}, ensure_ascii=False)
    for raw in (accent.encode(), b"\xef\xbb\xbf" + accent.encode(), accent.encode("utf-16"), accent.encode("latin-1")):
        assert parse(raw)[0].source == "é"


def test_older_notebook_formats_are_read():
    sheet = {"cells": [{"cell_type": "code", "input": ["x = 1\n", "y = 2"]}, {"cell_type": "markdown", "source": "t"}]}
    found = parse(json.dumps({"nbformat": 3, "worksheets": [sheet]}).encode())
    assert [(cell.source, cell.code) for cell in found] == [("x = 1\ny = 2", True), ("t", False)]


def test_links_folders_and_pipes_are_rejected(tmp_path):
    os.symlink("/etc/passwd", tmp_path / "link.ipynb")
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    for name in ("link", "pipe", "folder", "missing"):
        with pytest.raises(Unreadable):
            read_notebook(tmp_path / f"{name}.ipynb")
