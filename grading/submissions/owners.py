"""Find out whose each file and folder at the top of an export is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grading.submissions import lms_files
from grading.submissions.lms_files import Person
from grading.submissions.lms_names import COPY_NUMBER, Name, parse_name, plain_owner
from grading.submissions.unpacking import Budget, CantUnpack, Entry, Unpacker


@dataclass(frozen=True)
class Item:
    """A file or folder at the top of an export, with all that is in it."""

    name: str
    entries: list[Entry]
    is_file: bool

    @property
    def stem(self) -> str:
        """Return a file's name without its suffix, and without two as in ``x.ipynb.txt``; a folder's name."""
        if not self.is_file:
            return self.name
        stem = Path(self.name).stem
        return Path(stem).stem if stem.lower().endswith((".ipynb", ".tar")) else stem

    @property
    def is_repository(self) -> bool:
        return any(entry.kind == "repository" and len(entry.parts) == 2 for entry in self.entries)


@dataclass(frozen=True)
class Owner:
    """Whose an item is, and when it was handed in. Items with equal keys are one student's."""

    key: tuple[str, str]
    name: str
    student_id: str = ""
    order: int = 0
    timed: bool = False


class Owners:
    """Knows the owners of an export's items, from their names and the platform's own files."""

    def __init__(
        self, items: Sequence[Item], extra: Sequence[Entry], folder: str, notebooks: Sequence[str], unpack: Unpacker
    ) -> None:
        """
        Args:
            extra: the platform's own files beside the items.
            folder: the name of the folder that holds the items.
            notebooks: names of the homework's notebooks.
        """
        self.unpack = unpack
        self.receipts = dict(self._receipts(items))
        listing = next((entry for entry in extra if entry.name == lms_files.GRADESCOPE_FILE), None)
        self.groups = lms_files.gradescope(self._text(listing)) if listing else {}
        repositories = [item.name for item in items if item.is_repository and not parse_name(item.name)]
        self.users = lms_files.github_users(repositories, folder)
        self.plain = _plain_names(items, folder, notebooks)

    def of(self, item: Item) -> list[Owner]:
        """Return the item's owner, or all students of a group."""
        if said := parse_name(item.name):
            return [self._platforms(said)]
        if not item.is_file and item.name in self.groups:
            return [_owner("gradescope", person.name, person.student_id) for person in self.groups[item.name]]
        if not item.is_file and item.name in self.users:
            return [_owner("github", "", self.users[item.name])]
        name = self.plain[item.name] if item.is_file else _normal(item.name)
        return [Owner(("", name), name, name if name.isdecimal() else "")]

    def _platforms(self, said: Name) -> Owner:
        person = self.receipts.get(said.key) or Person(said.student, said.student_id)
        key = (said.lms, said.key or person.student_id)
        return Owner(key, _normal(person.name), person.student_id, said.order, said.timed)

    def _receipts(self, items: Sequence[Item]) -> Iterator[tuple[str, Person]]:
        for item in items:
            said = parse_name(item.name)
            if said and is_receipt(item):
                person = lms_files.receipt(self._text(item.entries[0]))
                if person and said.key.endswith(f"_{person.student_id}"):
                    yield said.key, person

    def _text(self, entry: Entry) -> str:
        """Return a file's text, "" if it can't be read."""
        try:
            return self.unpack.file(entry, Budget()).read_text(encoding="utf-8-sig", errors="replace")
        except (CantUnpack, OSError):
            return ""


def is_receipt(item: Item) -> bool:
    """Return whether the file is Blackboard's list of what was handed in."""
    said = parse_name(item.name)
    return bool(said and said.lms == "blackboard" and said.file == ".txt" and item.is_file)


def _owner(lms: str, name: str, student_id: str) -> Owner:
    return Owner((lms, student_id or name), _normal(name), student_id)


def _plain_names(items: Sequence[Item], folder: str, notebooks: Sequence[str]) -> dict[str, str]:
    """Return whose each file is whose name isn't in a platform's style.

    Two students may be called Anna (1) and Anna (2). So a number in brackets marks a copy only beside an "Anna".
    """
    files = [item for item in items if item.is_file and not parse_name(item.name)]
    owners = {item.name: _normal(plain_owner(item.stem, notebooks)) for item in files}
    if len(items) == len(files) > 1 and not any(owners.values()):
        return dict.fromkeys(owners, folder)  # the folder of one student
    known = {_normal(item.name) for item in items if not item.is_file} | set(owners.values())
    for name, owner in owners.items():
        original = COPY_NUMBER.sub("", owner).rstrip()
        if owner.endswith(")") and original in known:
            owners[name] = original
    return {item.name: owners[item.name] or item.stem for item in files}


def _normal(name: str) -> str:
    """Return the name with accents as macOS and Windows both write them, so that one student stays one."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
