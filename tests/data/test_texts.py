"""Lines of text from a file, from the hub and from the repo."""

from __future__ import annotations

import pyarrow
import pyarrow.parquet
import pytest

from helpers import data, hub
from helpers.data.texts import TextError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("first\n\n  \t\n second, éàü \nthird".encode())
    return path


def test_a_file(file):
    assert data.lines(file) == data.lines(str(file)) == ["first", " second, éàü ", "third"]
    assert data.lines(file, 2) == ["first", " second, éàü "]
    assert data.lines(file, n=99) == data.lines(file)


def test_unusual_line_ends(tmp_path):
    """Only line feeds end a line; a form feed or a Unicode separator within one doesn't."""
    path = tmp_path / "odd.txt"
    path.write_bytes("a\x0cb\u2028c\nd\r\n".encode())
    assert [line.strip() for line in data.lines(path)] == ["a\x0cb\u2028c", "d"]


def test_a_file_that_is_not_utf8(tmp_path):
    path = tmp_path / "old.txt"
    path.write_bytes("caf\xe9".encode("latin1"))
    with pytest.raises(TextError, match=r"old\.txt' isn't UTF-8 \(byte 3 is 0xe9\).*iconv"):
        data.lines(path)


@pytest.mark.parametrize("source", ["wikitext-103", "nowhere.txt", "/"])
def test_a_source_that_is_not_there(source):
    with pytest.raises(TextError) as error:
        data.lines(source)
    assert all(word in str(error.value) for word in (repr(source), "'written'", "'wikitext'", "HOMEWORK_TEXT"))


def test_a_file_without_text(tmp_path):
    path = tmp_path / "blank.txt"
    path.write_text("\n \n\t\n")
    with pytest.raises(TextError, match="no line with text"):
        data.lines(path)


@pytest.mark.parametrize("n", [0, -3])
def test_n_must_be_positive(file, n):
    with pytest.raises(TextError, match=f"n={n}"):
        data.lines(file, n)


@pytest.fixture
def wikitext(monkeypatch, tmp_path):
    """A table in the place of WikiText's, and the names that were asked for."""
    asked = []

    def fetch(repo, names):
        asked.extend(names)
        return {name: tmp_path / "table.parquet" for name in names}

    def put(**columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
        return asked

    monkeypatch.setattr(hub, "fetch", fetch)
    return put


def test_wikitext_is_raw_and_its_blank_lines_are_left_out(wikitext):
    asked = wikitext(text=["", " = Heading = \n", "One line .\n"])
    assert data.lines("wikitext", split="validation") == [" = Heading = \n", "One line .\n"]
    data.lines("wikitext")
    assert [name.split("-00000")[0] for name in asked] == ["wikitext-2-raw-v1/validation", "wikitext-2-raw-v1/train"]


def test_wikitext_without_its_column_or_split(wikitext):
    wikitext(words=["x"])
    with pytest.raises(TextError, match="can't be read"):
        data.lines("wikitext")
    with pytest.raises(TextError, match="no split 'dev'"):
        data.lines("wikitext", split="dev")


def test_no_hub_is_one_sentence(monkeypatch):
    def fetch(repo, names):
        raise hub.HubError("The hub can't be reached: use HOMEWORK_TEXT=written.")

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(TextError, match="WikiText-2 can't be had.*HOMEWORK_TEXT=written"):
        data.lines("wikitext")


def test_sentences_of_the_homework():
    assert len(data.POSITIVE) == len(data.NEGATIVE) == 5
    assert len(set(data.PROMPTS)) == len(data.PROMPTS) >= 40
    assert data.PROMPTS[0] == "The movie that I watched yesterday was"
    assert all(text.strip() == text and text for text in (*data.POSITIVE, *data.NEGATIVE, *data.PROMPTS))
