"""Turn a folder or an archive of submissions into one entry per student.

A student is a folder, a zip file, or a group of files whose names share an id, or a prefix before the notebook's name.
Names in the styles of seven learning platforms are understood: see ``lms_names`` and ``lms_files``. A file that can't
be read costs only its student.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from grading.submissions import lms_files
from grading.submissions.attempts import Part, find, is_zip, later_without_notebook, split_attempts, without_notebooks
from grading.submissions.lms_names import copy_order, parse_name
from grading.submissions.owners import Item, Owner, Owners, is_receipt
from grading.submissions.unpacking import Budget, CantUnpack, Entry, Unpacker

MAX_NAME = 120  # characters of a student's name in tables


@dataclass
class Handed:
    """What a student handed in.

    Attributes:
        student: a name that is unique in the class, with the id if there is one.
        files: the notebooks of the latest attempt, older copies first.
        notes: problems with the files, as sentences for the student.
        earlier: the notebooks of earlier attempts, the latest of them first.
        student_id: what the learning platform calls the student, or "".
        full_name: the student's name as the export has it, or "".
    """

    student: str
    files: list[Path]
    notes: list[str] = field(default_factory=list)
    earlier: list[list[Path]] = field(default_factory=list)
    student_id: str = ""
    full_name: str = ""


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
    allowed = "Pass a folder with submissions, a zip file or a notebook."
    if not source.exists():
        raise CollectError(f"There is no {str(source)!r}. {allowed}")
    if source.is_file() and source.suffix.lower() not in (".zip", ".ipynb"):
        raise CollectError(f"{source.name} is neither a .zip nor an .ipynb file. {allowed}")
    try:
        students = _students(source, notebooks, Unpacker(workspace))
    except CantUnpack as problem:
        raise CollectError(
            f"{source.name} can't be unpacked: {problem}. Unpack it yourself and pass the folder."
        ) from None
    except OSError as error:
        raise CollectError(f"{source.name} can't be unpacked into {workspace}: {error.strerror}.") from None
    if not students:
        raise CollectError(
            f"There is no submission in {str(source)!r}. It should hold a folder, .ipynb or .zip file per student."
        )
    return _numbered(students)


def _students(source: Path, notebooks: Sequence[str], unpack: Unpacker) -> list[Handed]:
    if source.is_file() and source.suffix.lower() == ".ipynb":
        listing: AbstractContextManager[list[Entry]] = nullcontext([Entry((source.name,), "file", source)])
    else:
        listing = unpack.listing(source)
    with listing as entries:
        folder, entries = _class_folder(source, entries)
        items, extra = _items(entries)
        owners = Owners(items, extra, folder, notebooks, unpack)
        grouped: dict[tuple[str, str], list[tuple[Owner, Item]]] = {}
        for item in items:
            for owner in owners.of(item):
                grouped.setdefault(owner.key, []).append((owner, item))
        return [_handed(members, notebooks, unpack) for members in grouped.values()]


def _items(entries: Sequence[Entry]) -> tuple[list[Item], list[Entry]]:
    """Return the files and folders at the top of the export, and apart from them the platform's own files."""
    items: dict[tuple[str, bool], list[Entry]] = {}
    extra = []
    for entry in entries:
        top, is_file = entry.parts[0], len(entry.parts) == 1 and entry.kind != "folder"
        if is_file and lms_files.is_instructors(top):
            extra.append(entry)
        elif entry.kind != "outside" and not top.startswith("."):
            items.setdefault((top, is_file), []).append(entry)
    return [Item(name, inside, is_file) for (name, is_file), inside in sorted(items.items())], extra


def _class_folder(source: Path, entries: list[Entry]) -> tuple[str, list[Entry]]:
    """Return the folder that holds the students: the source, or the single folder in it."""
    name = source.stem if source.is_file() else source.resolve().name
    if _is_work({entry.parts[0] for entry in entries}):
        return "", [Entry((name, *entry.parts), entry.kind, entry.source) for entry in entries]
    tops = {entry.parts[0] for entry in entries}
    inside = [entry.below(1) for entry in entries if len(entry.parts) > 1]
    names = {entry.parts[0] for entry in inside}
    if len(tops) != 1 or not inside or parse_name(*tops) or _is_work(names):
        return name, entries
    from_platform = any(parse_name(name) or name in lms_files.EXPORT_FILES for name in names) or any(
        entry.kind == "repository" and len(entry.parts) == 2 for entry in inside
    )
    has_notebook = any(entry.parts[0].lower().endswith(".ipynb") and len(entry.parts) == 1 for entry in inside)
    if from_platform or (source.is_file() and not has_notebook):
        return tops.pop(), inside
    return name, entries


def _is_work(names: set[str]) -> bool:
    """Return whether a folder with these names in it is one student's: a clone or the unpacked handout."""
    return ".git" in names or {"helpers", "notebooks"} <= names


def _handed(members: Iterable[tuple[Owner, Item]], notebooks: Sequence[str], unpack: Unpacker) -> Handed:
    """Return what a student handed in, from all of the student's items."""
    budget = Budget()
    parts = []
    for owner, item in sorted(members, key=lambda member: (member[0].order, copy_order(member[1].stem))):
        if not is_receipt(item):
            found = find(item.entries, unpack, budget, depth=0 if item.is_file else 1)
            parts.append(Part(found, owner.order if owner.timed else None, item.is_file and is_zip(item.name)))
    attempts = split_attempts(parts)
    notes = [note for part in parts for note in part.found.notes]
    if any(attempt.files for attempt in attempts):
        notes += later_without_notebook(attempts)
    else:
        notes += without_notebooks([name for part in parts for name in part.found.others], notebooks, bool(notes))
    latest, *earlier = [attempt.files for attempt in attempts if attempt.files] or [[]]
    name, student_id = _printable(owner.name), _printable(owner.student_id)
    ending = f"_{student_id}" if name and student_id not in ("", name) else ""
    student = f"{name[: MAX_NAME - len(ending)]}{ending}" if name else student_id
    return Handed(student or "(no name)", latest, notes, earlier, student_id, name)


def _printable(name: str) -> str:
    """Return a name that is safe in a table: no control characters, valid Unicode, at most 120 characters."""
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    name = "".join(char if unicodedata.category(char)[0] != "C" or char == "\u200d" else " " for char in name)
    return " ".join(name.split())[:MAX_NAME]


def _numbered(students: Iterable[Handed]) -> list[Handed]:
    """Return the entries sorted by name. Equal names get a number, as do names that differ only in case."""
    result = sorted(students, key=lambda handed: (handed.student, [str(path) for path in handed.files]))
    seen: set[str] = set()
    for handed in result:
        name, number = handed.student, 1
        while handed.student.casefold() in seen:
            number += 1
            handed.student = f"{name} ({number})"
        seen.add(handed.student.casefold())
    return result
