"""Tables are read as they were typed, whatever a spreadsheet program saved them as."""

from __future__ import annotations

import pytest

from grading.reports.spreadsheets import MergeError, decode, read_table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "mac_roman"])
@pytest.mark.parametrize("text", ["Größe, naïve", "déjà vu: ça va", "El Niño – «sí»", "“it’s” ‘so’ …", "plain"])
def test_comments_are_read_without_knowing_any_word(encoding, text):
    assert decode(f"comment\n{text}\n".encode(encoding)) == f"comment\n{text}\n"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("mac_roman", "König"), ("cp1252", "Kšnig"), ("cp1251", "Иван Петров"), ("mac_cyrillic", "Иван Петров"),
        ("cp1250", "Jiří Dvořák"), ("gb18030", "李小龙"), ("cp932", "山田太郎"), ("cp949", "김철수"), ("cp850", "José"),
    ],
)  # fmt: skip
def test_known_names_decide_between_encodings(encoding, name):
    assert decode(f"{name};1.4;0,5\n".encode(encoding), [name, "anna"]) == f"{name};1.4;0,5\n"


def test_what_cant_be_told_is_rejected(tmp_path):
    (tmp_path / "written.csv").write_bytes(b"student,comment\nanna,seg\x9cn\n")  # según or segœn
    with pytest.raises(MergeError, match=r"written\.csv: its encoding can't be told: is it 'según' or 'segœn'"):
        read_table(tmp_path / "written.csv")


def test_line_ends_of_old_mac_programs_tell_the_encoding():
    assert decode(b"student,comment\ranna,K\x9anig\r") == "student,comment\ranna,König\r"


@pytest.mark.parametrize("wrong", ["cp1252", "mac_roman"])
def test_text_that_was_opened_as_another_encoding_is_repaired(wrong):
    shown = "José Müller,1.4".encode().decode(wrong)
    assert shown != "José Müller,1.4"
    assert decode(f"{shown},schön".encode(), ["José Müller"]) == "José Müller,1.4,schön"


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\r\n', ""])
def test_excels_hint_is_no_row(tmp_path, line):
    (tmp_path / "a.csv").write_text(f"{line}a;b\n1;2,5\n", newline="")
    assert read_table(tmp_path / "a.csv") == [["a", "b"], ["1", "2,5"]]
