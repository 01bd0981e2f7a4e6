"""Turn a folder or an archive of submissions into one entry per student.

A student is a folder, a zip file, or a group of loose files whose names share a prefix before the notebook's name
(Canvas: ``petrov_123_456_01_…ipynb``). Links aren't followed. An archive can't write outside its folder or fill the
disk.
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

MAX_ENTRIES, MAX_UNPACKED = 50_000, 8 << 30  # in one archive: enough for a class of 500 with pictures in the outputs
MAX_DEPTH = 2  # levels of nested archives
SKIPPED = ("__MACOSX", ".ipynb_checkpoints")
_MOODLE = re.compile(r"_assignsubmission_(file|onlinetext)_?$")
_COPY = re.compile(r"(?:\s*\((\d+)\)|-(\d+))$")  # how browsers and Canvas number copies
_CANVAS = re.compile(r"^(.+?)(?:_LATE)?_(\d+)_\d+_.+$")  # student_ID_UPLOAD_filename


@dataclass
class Handed:
    """What a student handed in: the files, and notes on problems with them."""

    student: str
    files: list[Path]
    notes: list[str] = field(default_factory=list)


class CollectError(ValueError):
    """Raised when no submissions are found; the message says what was expected."""


def collect(source: Path, notebooks: Sequence[str], workspace: Path) -> list[Handed]:
    """Return one entry per student, sorted by name.

    Args:
        source: a folder, a zip file or one notebook.
        notebooks: names of the homework's notebooks, such as ``01_sentiment_steering``.
        workspace: an empty folder to unpack archives into.

    Raises:
        CollectError: the source doesn't exist, can't be unpacked or holds no submission.
    """
    if not source.exists():
        raise CollectError(f"There is no {str(source)!r}. Pass a folder with submissions, a zip file or a notebook.")
    unpack = _Unpacker(workspace)
    if source.is_file() and source.suffix.lower() == ".zip":
        folder, problem = unpack(source, 0)
        if problem:
            raise CollectError(f"{source.name} can't be unpacked: {problem}. Unpack it yourself and pass the folder.")
        source = _only_folder(folder)
    found = _loose([source], notebooks) if source.is_file() else _entries(source, notebooks, unpack)
    students = _once(found)
    if not students:
        raise CollectError(
            f"There is no submission in {str(source)!r}. It should hold a folder, .ipynb or .zip file per student."
        )
    return students


def _entries(folder: Path, notebooks: Sequence[str], unpack: _Unpacker) -> Iterator[Handed]:
    """Yield one student per folder or archive, and group loose notebooks by their names."""
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
    """Return a sort key that puts numbered copies after their original."""
    copy = _COPY.search(path.stem)
    return _COPY.sub("", path.stem), int(copy[1] or copy[2]) if copy else 0


def _owner(stem: str, notebooks: Sequence[str]) -> str:
    """Return a loose file's name without the notebook's name, or the whole name if nothing would remain."""
    if canvas := _CANVAS.match(stem):
        return f"{canvas[1]}_{canvas[2]}"
    for name in notebooks:
        at = stem.find(name)
        if at >= 0:
            rest = stem[:at] + _COPY.sub("", stem[at + len(name) :])
            return rest.strip(" _-") or stem
    return stem


def _inside(folder: Path, unpack: _Unpacker, depth: int) -> tuple[list[Path], list[str]]:
    """Return the notebooks anywhere in a student's folder, archives included, and notes."""
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
        return [], [f"{path.name}: archives are nested too deeply; at most {MAX_DEPTH} levels are read."]
    folder, problem = unpack(path, depth)
    if problem:
        return [], [f"{path.name} can't be unpacked: {problem}."]
    return _inside(folder, unpack, depth + 1)


def _only_folder(folder: Path) -> Path:
    """Return the archive's single top folder, which often holds all students, or the folder itself."""
    inside = [path for path in folder.iterdir() if path.name not in SKIPPED]
    if len(inside) == 1 and inside[0].is_dir() and not list(inside[0].glob("*.ipynb")):
        return inside[0]
    return folder


class _Unpacker:
    """Unpacks an archive's notebooks and nested archives, nothing else, into a new folder."""

    def __init__(self, workspace: Path) -> None:
        self.workspace, self.count = workspace, 0

    def __call__(self, path: Path, depth: int) -> tuple[Path, str]:
        """Return the folder, and why the archive can't be unpacked, or ""."""
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
            return f"it has {len(entries):,} entries; at most {MAX_ENTRIES:,} are allowed"
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
    """Return the entry's name, decoded as UTF-8 if possible: many zip programs don't set the UTF-8 flag."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _safe(name: str) -> Path | None:
    """Return a relative path that stays inside the folder, or None if the name leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return None
    parts = [part.replace("\x00", "").encode("utf-8", "replace").decode()[:80] for part in path.parts[:-1]]
    stem, suffix = path.stem.encode("utf-8", "replace").decode()[:80].replace("\x00", ""), path.suffix[:10]
    return Path(*parts, stem + suffix)


def _student(name: str) -> str:
    """Return a name that is safe in a table: no control characters, valid Unicode, at most 120 characters."""
    name = _MOODLE.sub("", name)
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    name = "".join(char if unicodedata.category(char)[0] != "C" or char == "\u200d" else " " for char in name)
    return " ".join(name.split())[:120] or "(no name)"


def _once(found: Iterator[Handed]) -> list[Handed]:
    """Return the entries sorted by name. Equal names get a number, as do names that differ only in case."""
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
