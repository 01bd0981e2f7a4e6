"""Where the course lies."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the course's folder
GIVEN = Path(__file__).resolve().parent / "given"  # in the handout: the notebooks as students got them
