"""Lines of text from a file, the hub and the repository."""

from __future__ import annotations

import gzip
import itertools

import pyarrow
import pyarrow.parquet
import pytest
import torch

from grading.judging.reference import load_hidden_tests
from grading.paths import ROOT
from helpers import data, harvest, hub, sentiment
from helpers.data.texts import TextError
from helpers.settings import FULL


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
    with pytest.raises(TextError, match=r"old\.txt' isn't UTF-8 \(byte 3 is 0xe9\).*iconv -f cp1252 -t utf-8 old\.txt"):
        data.lines(path)


TEXT = "Der Bär\nβ and 漢字\n\nlast 🎉\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_byte_order_marks_are_read_and_removed(tmp_path, encoding, ending):
    path = tmp_path / "text.txt"
    mark = "\ufeff" if encoding.endswith("be") else ""
    path.write_bytes((mark + TEXT).replace("\n", ending).encode(encoding))
    assert data.lines(path) == ["Der Bär", "β and 漢字", "last 🎉"]


def test_marks_inside_a_file_of_joined_files_are_removed(tmp_path):
    path = tmp_path / "joined.txt"
    path.write_bytes("one\n".encode("utf-8-sig") + "two\n".encode("utf-8-sig") + "\n".encode("utf-8-sig"))
    assert data.lines(path) == ["one", "two"]


@pytest.mark.parametrize("line", ["\ufeff", "\u200b", "\x0c", " \t\u00a0", "\u3000\ufeff \u200e"])
def test_a_line_that_shows_nothing_is_blank(tmp_path, line, tiny_model):
    path = tmp_path / "text.txt"
    path.write_text(f"one\n{line}\ntwo", encoding="utf-8")
    assert data.lines(path) == ["one", "two"]
    rows = harvest(tiny_model, ["the food", line, "was great"], "blocks.1.hook_resid_pre", blank="skip", progress=False)
    assert set(rows.text_ids.tolist()) == {0, 2}


@pytest.mark.parametrize("content", ["food".encode("utf-16-le"), "food".encode("utf-16-be"), b"GIF8\0\0", b"a\0b"])
def test_a_file_with_nul_characters_is_refused(tmp_path, content):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(TextError, match=r"holds NUL characters.*iconv -f utf-16le"):
        data.lines(tmp_path / "text.txt")


@pytest.mark.parametrize("content", [gzip.compress(b"some text"), "caf\xe9".encode("utf-16")[:-1], b"\xff\xfe\x00\xd8"])
def test_broken_or_compressed_files_are_refused(tmp_path, content):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(TextError, match="isn't UTF-"):
        data.lines(tmp_path / "text.txt")


def test_a_mark_does_not_change_the_activations(tmp_path, tiny_model):
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text("the food was great", encoding="utf-8")
    marked.write_text("the food was great", encoding="utf-8-sig")
    rows = [
        harvest(tiny_model, data.lines(path), "blocks.1.hook_resid_pre", progress=False) for path in (plain, marked)
    ]
    assert torch.equal(rows[0].values, rows[1].values)


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
    assert data.TRIAL_PROMPTS[0] == "The movie that I watched yesterday was"
    prompts = (*data.TRIAL_PROMPTS, *data.HELD_OUT_PROMPTS)
    assert all(text.strip() == text and text for text in (*data.POSITIVE, *data.NEGATIVE, *prompts))


def test_no_prompt_stands_in_two_sets():
    """Nor does one continue another: what is chosen on one set must be new to the others."""
    hidden = load_hidden_tests(ROOT / "solutions").PROMPTS
    sets = [[prompt.lower() for prompt in prompts] for prompts in (data.TRIAL_PROMPTS, data.HELD_OUT_PROMPTS, hidden)]
    assert [len(prompts) for prompts in sets] == [FULL.prompts, FULL.held_out, FULL.graded] == [40, 120, 60]
    together = sorted(prompt for prompts in sets for prompt in prompts)
    assert not [pair for pair in itertools.pairwise(together) if pair[1].startswith(pair[0])]


def test_held_out_and_hidden_prompts_do_not_lean_by_themselves():
    prompts = (*data.HELD_OUT_PROMPTS, *load_hidden_tests(ROOT / "solutions").PROMPTS)
    assert sentiment.vader(prompts).abs().max() <= sentiment.VADER_NEUTRAL
