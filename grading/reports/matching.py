"""Find the students and tasks that a spreadsheet's rows mean, after the program has changed ids, names or numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from grading.submissions.lms_names import month_of


class Students:
    """Finds a student by the name in a table.

    Spreadsheet programs drop leading zeros (0012345 becomes 12345), and replace characters by question marks.
    """

    def __init__(self, known: Iterable[str], given: Iterable[str]) -> None:
        """
        Args:
            known: the students' exact names.
            given: all names in the table.
        """
        self.known, self.given = list(dict.fromkeys(known)), set(given)
        self.numbers: dict[int, list[str]] = {}
        self.plain: dict[str, list[str]] = {}
        for name in self.known:
            self.plain.setdefault(_plain(name), []).append(name)
            if name.isdecimal():
                self.numbers.setdefault(int(name), []).append(name)

    def find(self, name: str) -> tuple[str, str]:
        """Return the student's exact name, or the name as given and why it can't be matched."""
        number = re.fullmatch(r"'?\s*(\d+)(?:[.,]0+)?\s*", name)
        alike = self.numbers.get(int(number[1]), []) if number else []
        if len(alike) > 1 and not self.given.issuperset(alike):
            return name, f"it may mean {' or '.join(alike)}: write the id with its zeros"
        if name in self.known:
            return name, ""
        for matching in (self.plain.get(_plain(name), []), alike, self._lossy(name)):
            if len(matching) == 1:
                return matching[0], ""
            if matching:
                return name, f"it may mean {' or '.join(matching[:3])}: write the full name"
        if re.fullmatch(r"\d([.,]\d+)?E\+?\d+", name.strip(), re.IGNORECASE):
            return name, "the spreadsheet program has rounded the id: restore it, in a column formatted as text"
        return name, "no such student"

    def _lossy(self, name: str) -> list[str]:
        """Return the students whose name has other letters where the given one has question marks."""
        if not re.search(r"[?\ufffd]", name):
            return []
        # Programs write one or two marks for an emoji.
        pieces = re.split(r"([?\ufffd]+)", _plain(name))
        pattern = "".join(
            rf"(?:[^\x00-\x7f]|\?){{{(len(piece) + 1) // 2},{len(piece)}}}" if i % 2 else re.escape(piece)
            for i, piece in enumerate(pieces)
        )
        return [known for known in self.known if re.fullmatch(pattern, _plain(known))]


def find_task(text: str, tasks: Sequence[str]) -> str:
    """Return the task that a cell means, or the text if none. Programs turn 1.4 into 1,4, and into a date like 1. Apr.

    Args:
        tasks: the ids of the written tasks.
    """
    bare = text.strip().strip("'")
    if bare in tasks or not bare:
        return bare
    numbers = {int(number) for number in re.findall(r"\d+", bare) if len(number) < 3}
    numbers |= {month for word in re.findall(r"[^\W\d]+", bare) if (month := month_of(word))}
    fitting = [task for task in tasks if {int(number) for number in task.split(".")} == numbers]
    return fitting[0] if len(fitting) == 1 else text


def match_rows(
    rows: Iterable[Mapping[str, str]], students: Iterable[str], tasks: Sequence[str]
) -> list[dict[str, str]]:
    """Return the rows with exact names of students and tasks, and why a student can't be matched as ``problem``."""
    rows = list(rows)
    finder = Students(students, (row["student"] for row in rows))
    matched = []
    for row in rows:
        student, problem = finder.find(row["student"])
        matched.append({**row, "student": student, "task": find_task(row["task"], tasks), "problem": problem})
    return matched


def _plain(name: str) -> str:
    """Return the name without what programs and people change unseen: spaces, accents' form, a leading apostrophe."""
    return " ".join(unicodedata.normalize("NFC", name).split()).removeprefix("'")
