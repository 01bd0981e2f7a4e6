"""Read who handed in, and when, from the names of files and folders that learning platforms (LMS) export.

=================  ==================================================================================================
Canvas             ``petrovivan_LATE_123_456_hw.ipynb``: name, LATE, user id, upload number, the student's file name.
                   Text is ``petrovivan_123_text.html``. Anonymous: ``anon_aB3dE_456_hw.ipynb``.
Moodle             ``Ivan Petrov_77_assignsubmission_file`` (a folder; up to 4.0 with ``_`` at the end), or
                   ``…_assignsubmission_onlinetext``. Without folders, ``_hw.ipynb`` follows.
Blackboard         ``Homework 1_ipetrov_attempt_2024-11-05-13-45-10_hw.ipynb``, and a receipt that ends in ``.txt``.
Brightspace (D2L)  ``104840-170649 - Ivan Petrov - Nov 26, 2025 933 PM``: user id, course id, name, time.
Sakai              ``Petrov, Ivan(ipetrov)`` (a folder).
=================  ==================================================================================================

Gradescope and GitHub Classroom name folders after submissions and repositories: see ``lms_files``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_CLOCK = r"(?:[01]?\d|2[0-3])[-_.:h]?[0-5]\d(?:[-_.:]?[0-5]\d)?"
_DAY_OF_YEAR = rf"(?:{_YEAR}[-_.]{_MONTH}[-_.]{_DAY}|{_DAY}[-_.]{_MONTH}[-_.]{_YEAR})"
_COMPACT = rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
# Eight digits alone may be a student's number, so they are a date only if a time follows.
DATE = re.compile(rf"(?<!\d)(?:{_DAY_OF_YEAR}(?:[-_ T]+{_CLOCK})?|{_COMPACT}[-_ T]?{_CLOCK})(?!\d)")

# How browsers, Jupyter, macOS, Windows and Google Drive name copies.
COPY_WORD = re.compile(r"[\s_-]+(?:Copy|Kopie|Copie|Copia)[\s_-]*(?:\(?(\d+)\)?)?$", re.IGNORECASE)
COPY_NUMBER = re.compile(r"(?:\s*\((\d+)\)|-(\d+))$")
COPY_OF = re.compile(r"(?:Copy of|Kopie von|Copie de|Copia de)\s+", re.IGNORECASE)

_CANVAS = re.compile(r"(?P<name>\w+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<upload>\d+)_(?P<file>.+)", re.DOTALL)
_CANVAS_TEXT = re.compile(r"(?P<name>\w+?)(?:_LATE)?_(?P<id>[1-9]\d*)_(?P<file>(?:text|link)\.html)")
_CANVAS_ANONYMOUS = re.compile(r"(?:LATE_)?anon_(?P<id>[A-Za-z0-9]{5})_(?:(?P<upload>[1-9]\d*)_)?(?P<file>.+)")
_MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_[a-z]+(?:_(?P<file>.*))?", re.DOTALL)
_BLACKBOARD = re.compile(r"(?P<work>.+)_(?P<id>[^_]+)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?P<file>.*)", re.DOTALL)
_BRIGHTSPACE = re.compile(
    r"(?P<id>\d+)-\d+\s*-\s*(?P<name>.+?)\s*-\s*"
    r"(?P<date>(?:[^\W\d]+\.? \d{1,2},?|\d{1,2}\.? (?:de )?[^\W\d]+\.?,?(?: de)?) \d{4},? "
    r"\d{1,2}[:.]?\d{2}(?: ?[AP]M)?)"
    r"(?:\s*-\s*(?P<file>.+))?",
    re.DOTALL,
)
_SAKAI = re.compile(r"(?P<name>[^()]+,[^()]*)\((?P<id>[^()\s]{3,})\)(?:_Submission attachment\(s\)_(?P<file>.+))?")
_MONTHS = (
    "jan ene gen", "feb fév fev", "mar mär mrz maa", "apr avr abr", "may mai mag mei", "jun juin giu",
    "jul juil lug", "aug ago aoû", "sep set", "oct okt ott out", "nov", "dec dez dic déc",
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """What a name in an export says.

    Attributes:
        lms: the learning platform, such as ``canvas``.
        student: the student's name, "" if only the id is given.
        student_id: what the platform calls the student; never guessed from a file name that a student chose.
        order: grows with time among a student's entries: an upload number or a time as digits.
        file: the name that the student gave the file; "" for a folder.
        timed: whether ``order`` is a time that all files of an attempt share.
        key: tells students apart who seem to have equal ids, since Blackboard's ids may hold underscores.
    """

    lms: str
    student: str
    student_id: str
    order: int = 0
    file: str = ""
    timed: bool = False
    key: str = ""


def parse_name(name: str) -> Name | None:
    """Return what a file's or folder's name says, or None if it isn't in the style of a learning platform."""
    if match := _MOODLE.fullmatch(name):
        return Name("moodle", match["name"], match["id"], file=match["file"] or "")
    if match := _BLACKBOARD.fullmatch(name):
        order = int(match["time"].replace("-", ""))
        head = f"{match['work']}_{match['id']}"
        return Name("blackboard", "", match["id"], order, match["file"].removeprefix("_"), timed=True, key=head)
    if match := _BRIGHTSPACE.fullmatch(name):
        student = match["name"].strip(" .")
        return Name("brightspace", student, match["id"], _moment(match["date"]), match["file"] or "", timed=True)
    if match := _SAKAI.fullmatch(name):
        return Name("sakai", match["name"].strip(), match["id"], file=match["file"] or "")
    return _canvas(name)


def _canvas(name: str) -> Name | None:
    if name.partition("_")[0] != name.partition("_")[0].lower() and not name.startswith("LATE_anon_"):
        return None  # Canvas writes students' names in lower case
    if match := _CANVAS_ANONYMOUS.fullmatch(name):
        return Name("canvas", "anon", match["id"], int(match["upload"] or 0), match["file"])
    if match := _CANVAS_TEXT.fullmatch(name):
        return Name("canvas", match["name"], match["id"], file=match["file"])
    match = _CANVAS.fullmatch(name)
    if match is None:
        return None
    numbers = (match["id"], match["upload"])
    if any(number.startswith("0") for number in numbers) or DATE.match(name, match.start("id")):
        return None  # Canvas' numbers have no leading zeros, as in anna_2024_11_05_hw.ipynb or anna_3_01_hw.ipynb
    return Name("canvas", match["name"], match["id"], int(match["upload"]), match["file"])


def _moment(text: str) -> int:
    """Return Brightspace's date as digits, 202511261933 for "Nov 26, 2025 733 PM"; 0 in a language unknown here."""
    words = [word for word in re.findall(r"[^\W\d]+", text) if word.upper() not in ("AM", "PM", "DE")]
    month = month_of(words[0])
    numbers = re.findall(r"\d+", text)
    day, year, clock = int(numbers[0]), int(numbers[1]), int("".join(numbers[2:]))
    if text.upper().endswith(("AM", "PM")):
        clock = clock % 1200 + (1200 if text.upper().endswith("PM") else 0)
    return ((year * 100 + month) * 100 + day) * 10_000 + clock if month else 0


def month_of(word: str) -> int:
    """Return the number of a month from its name or abbreviation in a European language, 0 for another word."""
    return next((i for i, starts in enumerate(_MONTHS, 1) if word.lower().startswith(tuple(starts.split()))), 0)


def without_copy(stem: str) -> str:
    """Return a file's stem without the words that mark a copy. Numbers stay, as they may be part of a name."""
    stem = COPY_OF.sub("", stem)
    while (shorter := COPY_WORD.sub("", stem)) != stem:
        stem = shorter
    return stem


def plain_owner(stem: str, notebooks: Sequence[str]) -> str:
    """Return whose file this is, from a name such as ``anna_01_sentiment_steering-Copy1``.

    It is what remains without the notebook's name, dates and marks of copies: "" for a name that is only a notebook's.
    """
    for notebook in notebooks:
        at = stem.lower().find(notebook.lower())
        if at >= 0:
            before = DATE.sub("", COPY_OF.sub("", stem[:at]))
            after = COPY_NUMBER.sub("", DATE.sub("", without_copy(stem[at + len(notebook) :])).rstrip(" _-."))
            return (before + after).strip(" _-.")
    return DATE.sub("", without_copy(stem)).strip(" _-.") or stem


def copy_order(stem: str) -> tuple[str, int, str]:
    """Return a sort key that puts dated files in order of time, and copies after their original."""
    date = DATE.search(stem)
    bare = DATE.sub("", stem).rstrip(" _-.")
    word = COPY_WORD.search(bare)
    number = COPY_NUMBER.search(without_copy(bare))
    count = int(next(filter(None, number.groups()))) if number else 0
    count += int(word[1] or 1) if word else 0
    return _sortable(date[0]) if date else "", count, stem


def _sortable(date: str) -> str:
    """Return a date with the year first."""
    numbers = re.findall(r"\d+", date)
    if len(numbers) > 2 and len(numbers[2]) == 4:
        numbers[:3] = numbers[2::-1]
    return "".join(number.zfill(2) for number in numbers)
