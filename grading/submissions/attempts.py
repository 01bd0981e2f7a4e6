"""Find the notebooks in what a student handed in, and tell the student's attempts apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from grading.submissions import lms_files
from grading.submissions.lms_names import copy_order, parse_name
from grading.submissions.unpacking import Budget, CantUnpack, Entry, Unpacker

MAX_DEPTH = 2  # levels of nested archives
MAX_NOTEBOOKS = 500  # of one student
MOST_NAMED = 5  # files that a sentence names


@dataclass
class Found:
    """What a file or folder holds: notebooks, names of other files, and notes on problems."""

    files: list[Path] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        self.files += other.files
        self.others += other.others
        self.notes += other.notes


@dataclass(frozen=True)
class Part:
    """One item of a student. Items of a timed attempt share their order; otherwise ``time`` is None."""

    found: Found
    time: int | None
    is_zip: bool


def find(entries: Sequence[Entry], unpack: Unpacker, budget: Budget, depth: int = 0) -> Found:
    """Return the notebooks among the entries, archives included: older copies before newer ones."""
    found = Found()
    for entry in sorted(entries, key=_age):
        name = _given_name(entry)
        if entry.kind == "link":
            found.notes.append(f"{name} is a link; links aren't followed.")
        elif entry.kind == "outside":
            found.notes.append(f"{name} isn't read: its path leads out of the archive.")
        elif entry.kind == "unreadable":
            found.notes.append(f"{name} can't be read: it isn't a regular file, or the permission is missing.")
        elif entry.kind != "file" or lms_files.is_export_file(entry.parts):
            continue
        elif is_zip(entry.name):
            found.add(_archive(entry, unpack, budget, depth))
        elif entry.name.lower().endswith(".ipynb"):
            _take(entry, unpack, budget, found)
        else:
            found.others.append(name)
    return found


def _take(entry: Entry, unpack: Unpacker, budget: Budget, found: Found) -> None:
    if len(found.files) >= MAX_NOTEBOOKS:
        found.notes.append(f"{_given_name(entry)} isn't read: there are more than {MAX_NOTEBOOKS} notebooks.")
        return
    try:
        found.files.append(unpack.file(entry, budget))
    except CantUnpack as problem:
        found.notes.append(f"{_given_name(entry)} can't be read: {problem}.")


def _archive(entry: Entry, unpack: Unpacker, budget: Budget, depth: int) -> Found:
    name = _given_name(entry)
    if depth >= MAX_DEPTH:
        return Found(notes=[f"{name}: archives are nested too deeply; at most {MAX_DEPTH} levels are read."])
    try:
        path = unpack.file(entry, budget)
        with unpack.listing(path) as entries:
            return find(entries, unpack, budget, depth + 1)
    except CantUnpack as problem:
        return Found(notes=[f"{name} can't be unpacked: {problem}."])


def _given_name(entry: Entry) -> str:
    """Return the name that the student gave the file, without what the platform put before it."""
    said = parse_name(entry.name) if len(entry.parts) == 1 else None
    return shown(said.file if said and said.file else entry.name)


def _age(entry: Entry) -> tuple[str, int, str, tuple[str, ...]]:
    return (*copy_order(PurePath(entry.name).stem), entry.parts)


def split_attempts(parts: Sequence[Part]) -> list[Found]:
    """Return what each attempt holds, the latest first.

    Args:
        parts: a student's items from first to last.

    If the platform says when an item was handed in, items with the same time are one attempt. Otherwise, each zip file
    after the first begins an attempt, and notebooks beside a zip file belong to the attempt that it began.
    """
    attempts: list[list[Part]] = []
    for part in parts:
        last = attempts[-1] if attempts else []
        by_time = part.time is not None and last and part.time != last[-1].time
        by_zip = part.time is None and part.is_zip and any(earlier.is_zip for earlier in last)
        if not last or by_time or by_zip:
            attempts.append([])
        attempts[-1].append(part)
    found = []
    for attempt in reversed(attempts):
        found.append(Found())
        for part in attempt:
            found[-1].add(part.found)
    return found


def later_without_notebook(attempts: Sequence[Found]) -> Iterator[str]:
    """Yield what was handed in after the latest attempt with a notebook."""
    for attempt in attempts:
        if attempt.files:
            return
        if attempt.others:
            named = ", ".join(attempt.others[:MOST_NAMED])
            yield f"The latest attempt holds no notebook, only {named}. So an earlier one counts."


def without_notebooks(others: Collection[str], notebooks: Sequence[str], has_problems: bool) -> Iterator[str]:
    """Yield what was handed in instead of notebooks, and what is needed.

    Args:
        has_problems: whether notes say already why files can't be read.
    """
    named = ", ".join(list(others)[:MOST_NAMED])
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    start = "No notebook could be read" if has_problems else "No notebook was handed in"
    yield f"{start}, only {named}{more}." if named and not has_problems else f"{start}."
    yield from lms_files.advice(list(others)[:MOST_NAMED])
    if notebooks:
        wanted = " and ".join(f"{name}.ipynb" for name in notebooks)
        yield f"Hand in {wanted}, as they are or in one .zip file."


def is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def shown(name: str) -> str:
    """Return a file's name in at most 60 characters, its end included."""
    name = "".join(char if char.isprintable() else " " for char in name.encode("utf-8", "replace").decode())
    return name if len(name) <= 60 else f"{name[:45]}…{name[-14:]}"
