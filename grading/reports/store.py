"""Save a report's marks and what they depend on, and read them again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from grading.marks import Marks
from grading.reports.spreadsheets import MergeError
from helpers.files import write_text


def remember(report: Path, marks: Sequence[Marks], about: dict, masters: Path) -> None:
    """Save what ``--merge`` needs in the report's folder."""
    record = {"about": about, "masters": str(masters.resolve()), "marks": [each.as_json() for each in marks]}
    write_text(report / "marks.json", json.dumps(record))


def recall(report: Path) -> tuple[list[Marks], dict, Path]:
    """Return what :func:`remember` saved: the marks, what they depend on, and the masters' folder.

    Raises:
        MergeError: there is no report yet, or it is an earlier release's, without the students' ids.
    """
    path = report / "marks.json"
    if not path.is_file():
        raise MergeError(f"There is no report in {report}. Run grade without --merge first.")
    record = json.loads(path.read_text(encoding="utf-8"))
    if any("student_id" not in each for each in record["marks"]):
        raise MergeError(
            f"The report in {report} is from an earlier release. Run grade again on the same submissions; "
            "the points in written.csv stay."
        )
    return [Marks.from_json(each) for each in record["marks"]], record["about"], Path(record["masters"])


def earlier_marks(report: Path) -> list[Marks]:
    """Return the marks of an earlier run, [] if there is none that can be read."""
    try:
        return recall(report)[0]
    except (MergeError, OSError, ValueError, TypeError, KeyError):
        return []
