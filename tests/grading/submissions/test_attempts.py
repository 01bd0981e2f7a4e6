"""Attempts are told apart, and a file that can't be read costs only its student."""

from __future__ import annotations

import errno
import io
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest

from grading.submissions import unpacking
from grading.submissions.attempts import MAX_NOTEBOOKS
from grading.submissions.collect import CollectError, collect
from tests.submissions.books import FIRST, NAMES, SECOND

A, B = f"{FIRST}.ipynb", f"{SECOND}.ipynb"


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return out.getvalue()


@pytest.fixture
def handed(tmp_path):
    """Return ``handed({name: content})``, which collects a zip file of a class and returns entries by student."""

    def run(files: dict[str, bytes | str], change=lambda raw: raw):
        path = tmp_path / "class.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        path.write_bytes(change(path.read_bytes()))
        return {each.student: each for each in collect(path, NAMES, Path(tempfile.mkdtemp(dir=tmp_path)))}

    return run


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_two_zip_files_are_two_attempts_and_the_later_upload_is_the_latest(handed):
    found = handed({"last_55_1000_a.zip": zipped(A), "last_55_999_b.zip": zipped(A, B)})
    assert names(found["last_55"].files) == [A] and list(map(names, found["last_55"].earlier)) == [[A, B]]


def test_a_notebook_beside_a_zip_file_is_the_same_attempt(handed):
    found = handed({"last_55_901_w.zip": zipped(A, B), f"last_55_902_{B}": "{}"})
    assert names(found["last_55"].files) == [A, B, f"last_55_902_{B}"] and not found["last_55"].earlier


def test_times_in_names_tell_attempts_apart(handed):
    head = "HW_ann_attempt_2024-11-0"
    found = handed({f"{head}5-10-00-00_{A}": "{}", f"{head}6-10-00-00_{A}": "{}", f"{head}6-10-00-00_{B}": "{}"})
    assert len(found["ann"].files) == 2 and len(found["ann"].earlier) == 1
    folder = "1-9 - Ann - Nov {}, 2025 933 {}/" + A
    found = handed({folder.format(9, "PM"): "9", folder.format(10, "AM"): "10", folder.format(9, "AM"): "early"})
    assert [path.read_text() for path in found["Ann_1"].files] == ["10"]
    assert [path.read_text() for (path,) in found["Ann_1"].earlier] == ["9", "early"]


def test_a_later_attempt_without_a_notebook_is_reported(handed):
    head = "HW_ann_attempt_2024-11-0"
    found = handed({f"{head}5-10-00-00_{A}": "{}", f"{head}6-10-00-00_work.rar": "x"})["ann"]
    assert len(found.files) == 1 and not found.earlier
    assert found.notes == ["The latest attempt holds no notebook, only work.rar. So an earlier one counts."]


def test_files_of_equal_names_dont_collide(handed):
    long = "x" * 90
    found = handed(
        {f"anna/{long}1.ipynb": "1", f"anna/{long}2.ipynb": "2", f"{long * 2}1/{A}": "", f"{long * 2}2/{A}": ""}
    )
    assert [path.read_text() for path in found["anna"].files] == ["1", "2"]
    assert len(found) == 3


@pytest.mark.parametrize(
    "bad",
    [
        f"eve/{'😀' * 70}.ipynb", "eve/" + "😀" * 70 + f"/{A}", f"eve/{'x' * 240}/{'y' * 240}/{A}", "eve/con:.ipynb",
        "eve/a\x01b.ipynb",
    ],
)  # fmt: skip
def test_no_name_stops_a_class(handed, bad):
    found = handed({f"anna/{A}": "{}", bad: "{}"})
    assert len(found["anna"].files) == 1 and len(found["eve"].files) == 1


def test_a_name_may_be_both_a_file_and_a_folder(handed):
    found = handed({"eve": "x", f"eve/{A}": "{}", f"eve/{A}/{B}": "{}", f"anna/{A}": "{}"})
    assert len(found["eve"].files) == 2 and len(found["anna"].files) == 1


def test_an_entry_over_the_limit_costs_only_its_student(handed, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    found = handed({f"anna/{A}": "{}", f"eve/{A}": b"0" * 1001, f"eve/{B}": "{}", "zoe_1_2_w.zip": b"0" * 1001})
    assert len(found["anna"].files) == 1 and names(found["eve"].files) == [B] and not found["zoe_1"].files
    assert found["eve"].notes[0].startswith(f"{A} can't be read: it is larger than")
    assert "can't be unpacked: it is larger than" in found["zoe_1"].notes[0]
    assert found["zoe_1"].notes[1] == "No notebook could be read."


def test_one_student_cant_use_up_the_space_of_the_class(handed, monkeypatch):
    monkeypatch.setattr(unpacking.Budget, "__init__", lambda self: setattr(self, "left", 1500))
    found = handed({**{f"eve/{i}.ipynb": b"0" * 600 for i in range(4)}, f"zoe/{A}": b"0" * 600})
    assert len(found["eve"].files) == 2 and "larger than" in found["eve"].notes[0] and len(found["zoe"].files) == 1


def test_a_bad_checksum_costs_only_its_student(handed):
    def flip(raw: bytes) -> bytes:
        at = raw.index(struct.pack("<I", 0x04034B50), 1)  # the second entry
        return (
            raw[: at + 14]
            + bytes(b ^ 0xFF for b in raw[at + 14 : at + 18])
            + raw[at + 18 :].replace(raw[at + 14 : at + 18], bytes(b ^ 0xFF for b in raw[at + 14 : at + 18]))
        )

    found = handed({f"anna/{A}": "{}", f"eve/{A}": "[1, 2]", f"zoe/{A}": "{}"}, flip)
    assert [len(found[name].files) for name in ("anna", "eve", "zoe")] == [1, 0, 1]
    assert "damaged" in found["eve"].notes[0] and "Bad CRC-32" in found["eve"].notes[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_bytes_cost_only_their_student(tmp_path, method):
    text = str(list(range(300))).encode()
    with zipfile.ZipFile(tmp_path / "class.zip", "w", method) as archive:
        for student in ("anna", "eve", "zoe"):
            archive.writestr(f"{student}/{A}", text)
    raw = bytearray((tmp_path / "class.zip").read_bytes())
    second = raw.index(b"PK\x03\x04", 1)
    third = raw.index(b"PK\x03\x04", second + 1)
    raw[second + 80 : third - 20] = b"\xff" * (third - second - 100)
    (tmp_path / "class.zip").write_bytes(raw)
    found = {each.student: each for each in collect(tmp_path / "class.zip", NAMES, tmp_path / "unpacked")}
    assert [len(found[name].files) for name in ("anna", "eve", "zoe")] == [1, 0, 1]
    assert "it is damaged" in found["eve"].notes[0]


def test_an_interrupted_download_is_rejected(tmp_path):
    """Python would take the list of the last zip file inside, so that one student's work would be the class."""
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"anna_{number}1_5_w.zip", zipped(A, B))
    raw = (tmp_path / "class.zip").read_bytes()
    (tmp_path / "class.zip").write_bytes(raw[: raw.rindex(b"PK\x05\x06") - 80])
    with pytest.raises(CollectError, match="it was cut off"):
        collect(tmp_path / "class.zip", NAMES, tmp_path / "unpacked")


def test_a_full_disk_is_no_students_fault(handed, monkeypatch):
    def full(self, size=-1):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", full)
    with pytest.raises(CollectError, match="No space left on device"):
        handed({f"anna/{A}": "{}"})


def test_a_locked_entry_costs_only_its_student(handed):
    def lock(raw: bytes) -> bytes:
        at = raw.rindex(b"PK\x01\x02")
        return raw[: at + 8] + struct.pack("<H", 1) + raw[at + 10 :]

    found = handed({f"anna/{A}": "{}", f"eve/{A}": "{}"}, lock)
    assert len(found["anna"].files) == 1 and "needs a password" in found["eve"].notes[0]


def test_too_many_notebooks_cost_only_their_student(handed):
    found = handed({f"anna/{A}": "{}", **{f"eve/{i}.ipynb": "{}" for i in range(MAX_NOTEBOOKS + 1)}})
    assert len(found["anna"].files) == 1 and len(found["eve"].files) == MAX_NOTEBOOKS
    assert "more than" in found["eve"].notes[0]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("report.pdf", "only report.pdf"), ("work.rar", "only .zip can be read"), ("w.tar.gz", "only .zip can be read"),
        ("main.py", "only main.py"), (f"{A}.txt", "rename it so that it ends in .ipynb"),
        (f"{A}.json", "rename it"), ("empty/", "No notebook was handed in."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["anna/{}", "anna_1_2_{}", "Anna_1_assignsubmission_file_/{}"])
def test_who_handed_in_no_notebook_has_an_entry_that_says_what_is_needed(handed, place, file, words):
    found = handed({place.format(file): "x", f"zoe/{A}": "{}"})
    (student,) = set(found) - {"zoe"}
    said = " ".join(found[student].notes)
    assert words in said and f"Hand in {A} and {B}" in said and not found[student].files


@pytest.mark.parametrize("file", ["anna.pdf", "anna.rar", "anna.tar.gz", "anna.py", f"anna_{A}.txt", "anna.docx"])
def test_a_loose_file_of_any_kind_is_a_student(handed, file):
    assert set(handed({file: "x", f"zoe/{A}": "{}"})) == {"anna", "zoe"}
