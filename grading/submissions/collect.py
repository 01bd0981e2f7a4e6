"""From a folder or an archive of submissions to one entry per student.

A student is a folder, a zip file, or what loose files have in front of the notebook's name (``petrov_123_456_01_…ipynb``, as
Canvas calls them). Links are not followed, and an archive can't write outside its own folder or fill the disk.
"""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from grading.submissions.notebook import MAX_BYTES

MAX_ENTRIES, MAX_UNPACKED = 50_000, 8 << 30  # of one archive: a class of 500 with pictures in its outputs
MAX_DEPTH = 2  # archives in archives
SKIPPED = ("__MACOSX", ".ipynb_checkpoints")
_MOODLE = re.compile(r"_assignsubmission_(file|onlinetext)_?$")
_COPY = re.compile(r"(?:\s*\((\d+)\)|-(\d+))$")  # as browsers and Canvas count copies
_CANVAS = re.compile(r"^(.+?)(?:_LATE)?_(\d+)_\d+_.+$")  # student_ID_UPLOAD_name-of-the-file


@dataclass
class Handed:
    """What a student handed in: the files, and what is to be said about them."""

    student: str
    files: list[Path]
    notes: list[str] = field(default_factory=list)


class CollectError(ValueError):
    """No submissions there; the message says what was looked for."""


def collect(source: Path, notebooks: Sequence[str], workspace: Path) -> list[Handed]:
    """Every student's files, sorted by name; each student once.

    Args:
        source: a folder, a zip file or one notebook.
        notebooks: names of the homework's notebooks, as ``01_sentiment_steering``.
        workspace: an empty folder for what archives hold.

    Raises:
        CollectError: there is no such file or folder, or nothing in it.
    """
    if not source.exists():
        raise CollectError(f"There is no {str(source)!r}: give a folder with submissions, a zip file or a notebook.")
    unpack = _Unpacker(workspace)
    if source.is_file() and source.suffix.lower() == ".zip":
        folder, problem = unpack(source, 0)
        if problem:
            raise CollectError(f"{source.name} can't be unpacked: {problem}.")
        source = _only_folder(folder)
    found = [_loose([source], notebooks)] if source.is_file() else [_entries(source, notebooks, unpack)]
    merged = _once(handed for part in found for handed in part)
    if not merged:
        raise CollectError(f"There is no submission in {str(source)!r}: no folder, no .ipynb and no .zip file.")
    return merged


def _entries(folder: Path, notebooks: Sequence[str], unpack: _Unpacker) -> Iterator[Handed]:
    """Folders and archives, one student each, and loose notebooks by their names."""
    loose = []
    for path in sorted(folder.iterdir()):
        if path.name in SKIPPED or path.name.startswith("."):
            continue
        if path.is_symlink():
            yield Handed(_student(path.name), [], [f"{path.name} is a link; links aren't followed."])
        elif path.is_dir():
            files, notes = _inside(path, unpack, 1)
            yield Handed(_student(path.name), files, notes)
        elif path.suffix.lower() == ".zip":
            files, notes = _archive(path, unpack, 0)
            yield Handed(_student(_owner(path.stem, ())), files, notes)
        elif path.suffix.lower() == ".ipynb":
            loose.append(path)
    yield from _loose(loose, notebooks)


def _loose(paths: Sequence[Path], notebooks: Sequence[str]) -> Iterator[Handed]:
    by_student: dict[str, list[Path]] = {}
    for path in paths:
        by_student.setdefault(_owner(path.stem, notebooks), []).append(path)
    for student, files in by_student.items():
        yield Handed(_student(student), sorted(files, key=_age))


def _age(path: Path) -> tuple[str, int]:
    """Sorts copies behind what they are copies of."""
    copy = _COPY.search(path.stem)
    return _COPY.sub("", path.stem), int(copy[1] or copy[2]) if copy else 0


def _owner(stem: str, notebooks: Sequence[str]) -> str:
    """The part of a loose file's name that isn't the notebook's; all of it where nothing is left."""
    if canvas := _CANVAS.match(stem):
        return f"{canvas[1]}_{canvas[2]}"
    for name in notebooks:
        at = stem.find(name)
        if at >= 0:
            rest = stem[:at] + _COPY.sub("", stem[at + len(name) :])
            return rest.strip(" _-") or stem
    return stem


def _inside(folder: Path, unpack: _Unpacker, depth: int) -> tuple[list[Path], list[str]]:
    """Notebooks anywhere in a student's folder, archives unpacked."""
    files: list[Path] = []
    notes: list[str] = []
    for path in sorted(folder.iterdir(), key=_age):
        if path.name in SKIPPED:
            continue
        if path.is_symlink():
            notes.append(f"{path.name} is a link; links aren't followed.")
            continue
        if path.is_dir():
            more = _inside(path, unpack, depth)
        elif path.suffix.lower() == ".zip":
            more = _archive(path, unpack, depth)
        else:
            more = ([path] if path.suffix.lower() == ".ipynb" else [], [])
        files += more[0]
        notes += more[1]
    return files, notes


def _archive(path: Path, unpack: _Unpacker, depth: int) -> tuple[list[Path], list[str]]:
    if depth >= MAX_DEPTH:
        return [], [f"{path.name}: an archive in an archive in an archive isn't looked into."]
    folder, problem = unpack(path, depth)
    if problem:
        return [], [f"{path.name} can't be unpacked: {problem}."]
    return _inside(folder, unpack, depth + 1)


def _only_folder(folder: Path) -> Path:
    """Archives often hold one folder, and the students in it."""
    inside = [path for path in folder.iterdir() if path.name not in SKIPPED]
    if len(inside) == 1 and inside[0].is_dir() and not list(inside[0].glob("*.ipynb")):
        return inside[0]
    return folder


class _Unpacker:
    """Unpacks notebooks and archives, nothing else, into folders of its own."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.count = workspace, 0

    def __call__(self, path: Path, depth: int) -> tuple[Path, str]:
        """The folder, and why the archive can't be unpacked, or ""."""
        self.count += 1
        folder = self.workspace / str(self.count)
        folder.mkdir(parents=True)
        try:
            with zipfile.ZipFile(path) as archive:
                return folder, self._unpack(archive, folder)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, ValueError, EOFError) as error:
            return folder, f"it is damaged or locked ({str(error)[:80]})"

    def _unpack(self, archive: zipfile.ZipFile, folder: Path) -> str:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            return f"it has {len(entries)} entries"
        unpacked = 0
        for entry in entries:
            name = _safe(_real_name(entry))
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if (
                name is None
                or entry.is_dir()
                or kind not in (0, stat.S_IFREG)
                or name.suffix.lower() not in (".ipynb", ".zip")
            ):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as copy:
                size = 0
                while part := source.read(1 << 20):
                    size, unpacked = size + len(part), unpacked + len(part)
                    if size > MAX_BYTES or unpacked > MAX_UNPACKED:
                        copy.truncate(0)
                        return f"{name.name[:60]} is larger than {MAX_BYTES >> 20} MB"
                    copy.write(part)
        return ""


def _real_name(entry: zipfile.ZipInfo) -> str:
    """The entry's name; zip programs that forget to say that it is UTF-8 are common."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _safe(name: str) -> Path | None:
    """A relative path below the folder, or None for one that leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return None
    parts = [part.replace("\x00", "").encode("utf-8", "replace").decode()[:80] for part in path.parts[:-1]]
    stem, suffix = path.stem.encode("utf-8", "replace").decode()[:80].replace("\x00", ""), path.suffix[:10]
    return Path(*parts, stem + suffix)


def _student(name: str) -> str:
    """A name that can stand in a table: no control characters, no broken bytes, not endless."""
    name = _MOODLE.sub("", name)
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    name = "".join(char if unicodedata.category(char)[0] != "C" or char == "\u200d" else " " for char in name)
    return " ".join(name.split())[:120] or "(no name)"


def _once(found: Iterator[Handed]) -> list[Handed]:
    """Sorted, and names that occur twice numbered, also where they differ in upper and lower case alone."""
    result: list[Handed] = []
    seen: set[str] = set()
    for handed in sorted(found, key=lambda handed: (handed.student, [str(path) for path in handed.files])):
        name, number = handed.student, 1
        while name.casefold() in seen:
            number += 1
            name = f"{handed.student} ({number})"
        seen.add(name.casefold())
        result.append(Handed(name, handed.files, handed.notes))
    return result
