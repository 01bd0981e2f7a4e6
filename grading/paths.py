"""Paths of the course's folders."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the course's folder
GIVEN = Path(__file__).resolve().parent / "given"  # in the handout only: the notebooks as students got them
