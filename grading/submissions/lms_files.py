"""Read the files that learning platforms add to an export, and the names of repositories."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from grading.submissions.lms_names import parse_name

# Files beside the students' folders that no student handed in.
GRADESCOPE_FILE = "submission_metadata.yml"
EXPORT_FILES = ("grades.csv", "index.html", "classroom_roster.csv", GRADESCOPE_FILE)
TABLES = (".csv", ".xlsx", ".ods", ".yml", ".log")  # beside the students: an instructor's, unless named by a platform
SAKAI_FILES = ("timestamp.txt", "comments.txt")
FEEDBACK_FOLDER = "Feedback Attachment(s)"  # Sakai: what the instructor gave back
_RECEIPT = re.compile(r"^[^:\n]+: *(?P<name>.+) \((?P<id>[^()\n]+)\)\s*$", re.MULTILINE)
_SUBMITTER = re.compile(r"^ +(?P<first>- )?:(?P<key>name|sid|email): *(?P<value>.*)$")


@dataclass(frozen=True)
class Person:
    """A student's name and id as an export's own files have them."""

    name: str
    student_id: str


def receipt(text: str) -> Person | None:
    """Return the student of a Blackboard receipt, whose first line is ``Name: Ivan Petrov (ipetrov)``."""
    match = _RECEIPT.match(text.lstrip("\ufeff"))
    return Person(match["name"].strip(), match["id"].strip()) if match else None


def gradescope(text: str) -> dict[str, list[Person]]:
    """Return the submitters by folder from Gradescope's ``submission_metadata.yml``.

    Only the lines with submitters are read, since the file holds each submission's results and history, too.
    """
    found: dict[str, list[dict[str, str]]] = {}
    people: list[dict[str, str]] = []
    inside = False
    for line in text.splitlines():
        if line and not line[0].isspace() and line.rstrip().endswith(":"):
            people = found.setdefault(_scalar(line.rstrip()[:-1]), [])
            inside = False
        elif line.strip() == ":submitters:" and len(line) - len(line.lstrip()) <= 2:
            inside = True
        elif inside and (match := _SUBMITTER.match(line)):
            if match["first"]:
                people.append({})
            if people:
                people[-1][match["key"]] = _scalar(match["value"])
        elif re.match(r" {0,2}:", line):
            inside = False
    return {folder: [_person(values) for values in people] for folder, people in found.items() if people}


def _person(values: Mapping[str, str]) -> Person:
    return Person(values.get("name", ""), values.get("sid") or values.get("email", ""))


def _scalar(text: str) -> str:
    """Return a YAML scalar's text."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return json.loads(re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", text))
        except ValueError:
            return text[1:-1]
    return "" if text in ("null", "~") else text


def github_users(repositories: Collection[str], folder: str) -> dict[str, str]:
    """Return the GitHub user of each repository ``<assignment>-<user>``.

    Args:
        folder: the name of the folder that holds them. ``gh classroom clone student-repos`` calls it
            ``<assignment>-submissions``. With another name, the assignment is what all repositories begin with.
    """
    prefix = f"{folder.removesuffix('-submissions')}-"
    if not all(name.startswith(prefix) and name != prefix for name in repositories):
        prefix = _shared_prefix(list(repositories)) if len(repositories) > 1 else ""
    return {name: name.removeprefix(prefix) for name in repositories}


def _shared_prefix(names: list[str]) -> str:
    """Return what all names begin with, up to the last hyphen."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("-", 0, length) + 1]


def is_export_file(parts: tuple[str, ...]) -> bool:
    """Return whether the learning platform, not the student, put the file there."""
    name = parts[-1]
    return FEEDBACK_FOLDER in parts[:-1] or (len(parts) == 2 and name in SAKAI_FILES)


def is_instructors(name: str) -> bool:
    """Return whether a file beside the students' is a list or a note, not a submission."""
    return name in EXPORT_FILES or (
        not parse_name(name) and (name.lower().endswith(TABLES) or name.lower().startswith("readme"))
    )


def advice(names: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each kind of file that isn't a notebook, which says what to do about it."""
    for name in names:
        lower = name.lower()
        if re.search(r"\.ipynb\.\w+$", lower):
            yield f"{name} isn't read: rename it so that it ends in .ipynb."
        elif re.search(r"\.(rar|7z|tar|gz|tgz|bz2|xz|zipx)$", lower):
            yield f"{name} can't be opened here: of archives, only .zip can be read."
