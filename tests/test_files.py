"""Files appear whole or not at all."""

from __future__ import annotations

import pytest

from helpers import files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file"


def test_text_keeps_its_line_ends_and_loses_lone_surrogates(path):
    files.write_text(path, "ä\r\n\udcff")
    assert path.read_bytes() == "ä\r\n?".encode()


def test_bytes(path):
    files.write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


def test_an_error_in_between_leaves_the_old_file_and_nothing_else(path):
    files.write_bytes(path, b"old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    files.write_bytes(path, b"old")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
