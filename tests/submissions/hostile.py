"""Hostile and broken submissions: ``Hostile(name, put, earned)``.

Most of them attack in the cell of one task, so that the attack runs, and answer task 2.2 correctly.
The student must keep the points for 2.2 whatever happens in another cell.
"""

from __future__ import annotations

from tests.submissions.hostile_breakers import breakers, stallers
from tests.submissions.hostile_case import KEPT, Hostile
from tests.submissions.hostile_cheats import cheats, leaks
from tests.submissions.hostile_files import files, metadata

__all__ = ["KEPT", "NAMES", "Hostile", "hostile"]

NAMES = (
    "=cmd|' C calc'!A0",
    "Иван Петров",
    'O\'Brien "Bob" <b>',
    "李 小龍 🎓",
    "a" * 200,
    "petrova_17",
    "con",
    "-rf",
    "%s%n {x}",
)


def hostile() -> list[Hostile]:
    """Return all hostile submissions."""
    return [case for group in (cheats, leaks, breakers, stallers, metadata, files) for case in group()]
