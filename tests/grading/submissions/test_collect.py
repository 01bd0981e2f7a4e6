"""Collecting turns a folder or zip file into one entry per student."""

from __future__ import annotations

import os
import zipfile

import pytest

from grading.submissions import unpacking
from grading.submissions.collect import CollectError, collect
from tests.submissions.books import FIRST, NAMES, SECOND


@pytest.fixture
def found(tmp_path):
    """Return ``found(path)``, which returns file names by student."""

    def run(path):
        workspace = tmp_path / "unpacked"
        workspace.mkdir(exist_ok=True)
        return {handed.student: [file.name for file in handed.files] for handed in collect(path, NAMES, workspace)}

    return run


def make(root, *names: str):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return root


def zipped(path, **files: bytes):
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in files.items():
            archive.writestr(name.replace("__", "/"), raw)
    return path


def test_folders_loose_files_and_archives_are_students(tmp_path, found):
    root = make(
        tmp_path / "class",
        f"anna/{FIRST}.ipynb",
        f"anna/deep/er/{SECOND}.ipynb",
        "anna/readme.txt",
        f"boris_{FIRST}.ipynb",
        f"boris_{SECOND}(1).ipynb",
    )
    with zipfile.ZipFile(root / "clara.zip", "w") as archive:
        archive.writestr(f"work/{FIRST}.ipynb", "{}")
        archive.writestr("__MACOSX/._x.ipynb", "{}")
    assert found(root) == {
        "anna": [f"{FIRST}.ipynb", f"{SECOND}.ipynb"],
        "boris": [f"boris_{FIRST}.ipynb", f"boris_{SECOND}(1).ipynb"],
        "clara": [f"{FIRST}.ipynb"],
    }


def test_file_names_of_learning_platforms_are_understood(tmp_path, found):
    root = make(
        tmp_path / "class", f"petrovivan_123_456_{FIRST}.ipynb", f"petrovivan_123_457_{SECOND}-2.ipynb",
        f"ada_LATE_9_8_{FIRST}.ipynb", f"Ivan Petrov_77_assignsubmission_file_/{FIRST}.ipynb", f"{FIRST}.ipynb",
    )  # fmt: skip
    assert set(found(root)) == {"petrovivan_123", "ada_9", "Ivan Petrov_77", FIRST}
    assert len(found(root)["petrovivan_123"]) == 2


def test_a_zip_of_the_class_may_have_names_in_any_alphabet(tmp_path, found):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for student in ("Иван Петров", "李 小龍 🎓", "=1+1", "O'Brien"):
            archive.writestr(f"export/{student}/{FIRST}.ipynb", "{}")
    assert set(found(path)) == {"Иван Петров", "李 小龍 🎓", "=1+1", "O'Brien"}


def test_names_that_differ_only_in_case_are_two_students(tmp_path, found):
    root = make(tmp_path / "class", f"anna/{FIRST}.ipynb", f"Anna/{FIRST}.ipynb", f"ANNA_{FIRST}.ipynb")
    assert len(found(root)) == 3


def test_control_characters_are_removed_and_long_names_cut(tmp_path, found):
    root = make(tmp_path / "class", f"a\nb\x1b[31m/{FIRST}.ipynb", f"{'x' * 250}/{FIRST}.ipynb")
    assert set(found(root)) == {"a b [31m", "x" * 120}


def test_an_archive_stays_in_its_folder(tmp_path, found):
    root = tmp_path / "class"
    root.mkdir()
    with zipfile.ZipFile(root / "eve.zip", "w") as archive:
        for name in ("../../up.ipynb", "/abs.ipynb", "C:\\win.ipynb", "good.ipynb", "..\\..\\back.ipynb"):
            archive.writestr(name, "{}")
        link = zipfile.ZipInfo("link.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert found(root) == {"eve": ["good.ipynb"]}
    (handed,) = collect(root, NAMES, tmp_path / "unpacked" / "more")
    assert "up.ipynb isn't read: its path leads out of the archive." in handed.notes
    assert not list(tmp_path.glob("*.ipynb"))


def test_an_archive_cant_fill_the_disk(tmp_path, found, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    root = tmp_path / "class"
    root.mkdir()
    with zipfile.ZipFile(root / "eve.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.ipynb", b"0" * 10**6)
    assert found(root) == {"eve": []}
    (handed,) = collect(root, NAMES, tmp_path / "unpacked" / "more")
    assert "larger than" in handed.notes[0]
    assert sum(path.stat().st_size for path in (tmp_path / "unpacked").rglob("*") if path.is_file()) <= 1000


def test_links_and_broken_archives_are_students_without_files(tmp_path, found):
    root = tmp_path / "class"
    root.mkdir()
    os.symlink("/etc", root / "link")
    (root / "broken.zip").write_bytes(b"PK nothing")
    assert found(root) == {"broken": [], "link": []}


@pytest.mark.parametrize("make_it", [lambda p: p / "missing", lambda p: p])
def test_without_submissions_the_error_says_what_was_expected(tmp_path, make_it):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CollectError, match="There is no"):
        collect(make_it(empty), NAMES, tmp_path / "unpacked")
