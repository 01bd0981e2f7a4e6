"""Lines of text from a file, from the hub and from the repo."""

from __future__ import annotations

import datasets
import pytest

from helpers import data
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


def test_wikitext_is_asked_for_by_its_full_name(monkeypatch):
    """The bare name "wikitext" is no longer served by the hub."""
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return {"text": ["", " = Heading = \n", "One line .\n"]}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert data.lines("wikitext", split="validation") == [" = Heading = \n", "One line .\n"]
    data.lines("wikitext")
    assert asked == [
        (("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "validation"}),
        (("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "train"}),
    ]


def test_no_hub_is_one_sentence(monkeypatch):
    def load_dataset(*_, **__):
        raise ConnectionError("Couldn't reach 'Salesforce/wikitext' on the Hub" + " (and so on)" * 100)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(TextError) as error:
        data.lines("wikitext")
    said = str(error.value)
    assert all(word in said for word in ("ConnectionError", "Couldn't reach", "go online", "HOMEWORK_TEXT=written"))
    assert len(said) < 400


def test_sentences_of_the_homework():
    assert len(data.POSITIVE) == len(data.NEGATIVE) == 5
    assert len(set(data.PROMPTS)) == len(data.PROMPTS) >= 40
    assert data.PROMPTS[0] == "The movie that I watched yesterday was"
    assert all(text.strip() == text and text for text in (*data.POSITIVE, *data.NEGATIVE, *data.PROMPTS))
