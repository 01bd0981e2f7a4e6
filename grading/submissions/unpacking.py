"""List what a folder or a zip file holds, and unpack single files of it, whatever their names and sizes.

Each unpacked file gets a folder of its own, so no two files can collide: not names that differ only after their 80th
character, not equal names, not a name that is both a file and a folder. Links aren't followed.
"""

from __future__ import annotations

import errno
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from grading.submissions.notebook import MAX_BYTES

MAX_STUDENT_BYTES = 1 << 30  # unpacked for one student
MAX_NAME_BYTES = 150  # file systems allow 255, and eCryptfs 143 characters
# Folders that aren't a student's work: of systems, editors and package managers. Folders with a dot are skipped, too.
SKIPPED_FOLDERS = ("__MACOSX", "__pycache__", "site-packages", "node_modules")
SKIPPED_FILES = ("Thumbs.db", "desktop.ini")
GIVEN = ("grading", "given")  # in the handout: the notebooks as students got them
# What zipfile and its decompressors raise on damaged bytes; found by changing bytes at random.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, RuntimeError, ValueError, EOFError,
    OverflowError, IndexError, KeyError,
)  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT)


class CantUnpack(Exception):
    """Raised for a file that can't be unpacked; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or link in a folder or zip file.

    Attributes:
        parts: its path inside the folder or zip file, as names: the folders', and its own last.
        kind: "file", "folder", "repository" (a folder ``.git``), "link", "unreadable" (a folder without
            permission to read it, a pipe or a device), or "outside" (its path leads out of the zip file).
        source: where it is on disk, or the zip file and the place in it.
    """

    parts: tuple[str, ...]
    kind: str
    source: Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]

    @property
    def name(self) -> str:
        return self.parts[-1]

    def below(self, depth: int) -> Entry:
        """Return the entry as seen from a folder that is ``depth`` levels further down."""
        return Entry(self.parts[depth:], self.kind, self.source)


@dataclass
class Budget:
    """What may still be unpacked for one student, in bytes."""

    left: int = MAX_STUDENT_BYTES


class Unpacker:
    """Lists folders and zip files, and unpacks single entries into ``workspace``."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.count = workspace, 0

    @contextmanager
    def listing(self, path: Path) -> Iterator[list[Entry]]:
        """Yield the files and folders in a folder or zip file, at any depth, without those to skip.

        Raises:
            CantUnpack: the zip file is damaged as a whole.
        """
        if path.is_dir():
            yield list(_on_disk(path, ()))
            return
        try:
            archive = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise CantUnpack(f"it is damaged or locked ({_reason(error)})") from None
        with archive:
            if _is_cut_off(path, archive):
                raise CantUnpack("it was cut off, or part of its list of files is missing")
            yield list(_in_archive(archive))

    def file(self, entry: Entry, budget: Budget) -> Path:
        """Return a path of the entry's content, unpacked if it is in a zip file.

        Raises:
            CantUnpack: the entry is too large or damaged.
        """
        if isinstance(entry.source, Path):
            return entry.source
        archive, info = entry.source
        self.count += 1
        target = self.workspace / str(self.count) / short(entry.name)
        target.parent.mkdir(parents=True)
        try:
            with archive.open(info) as source, target.open("wb") as copy:
                size = 0
                while part := source.read(1 << 20):
                    size += len(part)
                    if size > MAX_BYTES:
                        raise CantUnpack(f"it is larger than {MAX_BYTES >> 20} MB")
                    if size > budget.left:
                        raise CantUnpack(f"the files are larger than {MAX_STUDENT_BYTES >> 20} MB together")
                    copy.write(part)
        except CantUnpack:
            target.unlink()
            raise
        except _DAMAGED as error:
            target.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _FULL:  # not the student's fault
                raise
            raise CantUnpack(f"it is damaged or locked ({_reason(error)})") from None
        budget.left -= size
        return target


def _on_disk(folder: Path, parents: tuple[str, ...]) -> Iterator[Entry]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        yield Entry(parents or (folder.name,), "unreadable", folder)
        return
    for path in paths:
        parts = (*parents, path.name)
        if path.is_symlink():
            yield Entry(parts, "link", path)
        elif path.is_dir():
            if path.name == ".git":
                yield Entry(parts, "repository", path)
            if not _is_skipped(parts, folder=True) and not (path / "pyvenv.cfg").is_file():
                yield Entry(parts, "folder", path)
                yield from _on_disk(path, parts)
        elif not _is_skipped(parts, folder=False):
            yield Entry(parts, "file" if path.is_file() else "unreadable", path)


def _in_archive(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """Yield the files, links and empty folders. Folders with contents needn't be entries of a zip file."""
    listed = []
    for info in archive.infolist():
        if parts := _parts(real_name(info)):
            listed.append((info, parts))
        elif info.filename and not info.is_dir():
            yield Entry(
                (PurePosixPath(real_name(info).replace("\\", "/")).name or "a file",), "outside", (archive, info)
            )
    environments = {parts[:-1] for _, parts in listed if parts[-1] == "pyvenv.cfg"}
    repositories = set()
    for info, parts in listed:
        if ".git" in parts and (place := parts[: parts.index(".git") + 1]) not in repositories:
            repositories.add(place)
            yield Entry(place, "repository", (archive, info))
        if _is_skipped(parts, info.is_dir()) or any(parts[:depth] in environments for depth in range(1, len(parts))):
            continue
        mode = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            yield Entry(parts, "folder", (archive, info))
        else:
            yield Entry(parts, "file" if mode in (0, stat.S_IFREG) else "link", (archive, info))


def _is_cut_off(path: Path, archive: zipfile.ZipFile) -> bool:
    """Return whether the archive holds files that aren't in its list.

    Python takes the last list that it finds. After an interrupted download, that is the list of another zip file,
    stored inside this one.
    """
    entries = archive.infolist()
    with path.open("rb") as file:
        starts_with_entry = file.read(4) == b"PK\x03\x04"
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    expected = int.from_bytes(tail[at + 10 : at + 12], "little") if at >= 0 else len(entries)
    return (starts_with_entry and min((entry.header_offset for entry in entries), default=1) > 0) or (
        expected not in (0xFFFF, len(entries) % 0x10000)  # 0xFFFF: the number stands elsewhere
    )


def _is_skipped(parts: tuple[str, ...], folder: bool) -> bool:
    folders = parts if folder else parts[:-1]
    if any(name in SKIPPED_FOLDERS or name.startswith(".") for name in folders) or GIVEN in pairwise(folders):
        return True
    return not folder and (parts[-1] in SKIPPED_FILES or parts[-1].startswith("._") or parts[-1] == ".DS_Store")


def real_name(info: zipfile.ZipInfo) -> str:
    """Return the entry's name, decoded as UTF-8 if possible: many zip programs don't set the UTF-8 flag."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _parts(name: str) -> tuple[str, ...]:
    """Return the names in a path that stays inside the folder, or () for a path that leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or re.match(r"[A-Za-z]:", path.parts[0]):
        return ()
    return path.parts


def short(name: str) -> str:
    """Return a file name that every file system takes, with the same suffix."""
    name = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", name.encode("utf-8", "replace").decode())
    stem, suffix = os.path.splitext(name)
    suffix = suffix if len(suffix.encode()) <= 16 else ""
    stem = (stem if suffix else name).encode()[: MAX_NAME_BYTES - len(suffix.encode())].decode("utf-8", "ignore")
    return (stem + suffix) or "file"


def _reason(error: Exception) -> str:
    """Return the error's words without the file's name, which the report gives already and which may be long."""
    if "encrypted" in str(error):
        return "it needs a password"
    return re.sub(r" for file .*", "", str(error), flags=re.DOTALL)[:80] or type(error).__name__
