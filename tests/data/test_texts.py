"""Lines of text from a file, the hub and the repository."""

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


def test_a_files_non_blank_lines_are_returned(file):
    assert data.lines(file) == data.lines(str(file)) == ["first", " second, éàü ", "third"]
    assert data.lines(file, 2) == ["first", " second, éàü "]
    assert data.lines(file, n=99) == data.lines(file)


def test_only_line_feeds_end_a_line(tmp_path):
    """Form feeds and Unicode separators don't end a line."""
    path = tmp_path / "odd.txt"
    path.write_bytes("a\x0cb\u2028c\nd\r\n".encode())
    assert [line.strip() for line in data.lines(path)] == ["a\x0cb\u2028c", "d"]


def test_a_file_must_be_utf8(tmp_path):
    path = tmp_path / "old.txt"
    path.write_bytes("caf\xe9".encode("latin1"))
    with pytest.raises(TextError, match=r"old\.txt' isn't UTF-8 \(byte 3 is 0xe9\).*iconv"):
        data.lines(path)


@pytest.mark.parametrize("source", ["wikitext-103", "nowhere.txt", "/"])
def test_an_unknown_source_lists_the_choices(source):
    with pytest.raises(TextError) as error:
        data.lines(source)
    assert all(word in str(error.value) for word in (repr(source), "'written'", "'wikitext'", "HOMEWORK_TEXT"))


def test_a_file_without_text_is_rejected(tmp_path):
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
    """Replace WikiText's table; return a function that sets its columns and returns the requested file names."""
    asked = []

    def fetch(repo, names):
        asked.extend(names)
        return dict.fromkeys(names, tmp_path / "table.parquet")

    def put(**columns):
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "table.parquet")
        return asked

    monkeypatch.setattr(hub, "fetch", fetch)
    return put


def test_wikitext_is_raw_without_blank_lines(wikitext):
    asked = wikitext(text=["", " = Heading = \n", "One line .\n"])
    assert data.lines("wikitext", split="validation") == [" = Heading = \n", "One line .\n"]
    data.lines("wikitext")
    assert [name.split("-00000")[0] for name in asked] == ["wikitext-2-raw-v1/validation", "wikitext-2-raw-v1/train"]


def test_wikitext_with_a_missing_column_or_split_is_rejected(wikitext):
    wikitext(words=["x"])
    with pytest.raises(TextError, match="can't be read"):
        data.lines("wikitext")
    with pytest.raises(TextError, match="no split 'dev'"):
        data.lines("wikitext", split="dev")


def test_an_unreachable_hub_is_a_text_error(monkeypatch):
    def fetch(repo, names):
        raise hub.HubError("The hub can't be reached: use HOMEWORK_TEXT=written.")

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(TextError, match=r"WikiText-2 is unavailable\..*HOMEWORK_TEXT=written"):
        data.lines("wikitext")


def test_contrast_sentences_and_prompts_are_complete():
    assert len(data.POSITIVE) == len(data.NEGATIVE) == 5
    assert len(set(data.PROMPTS)) == len(data.PROMPTS) >= 40
    assert data.PROMPTS[0] == "The movie that I watched yesterday was"
    assert all(text.strip() == text and text for text in (*data.POSITIVE, *data.NEGATIVE, *data.PROMPTS))
