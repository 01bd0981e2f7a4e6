"""Read sources, cell types and task marks from a student's notebook, even if its format is old or damaged.

Outputs, points and all other metadata are ignored. The format is nbformat's, versions 2 to 4
(https://nbformat.readthedocs.io). Later versions are read as version 4.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 100 << 20  # in a file, outputs and pictures included
MAX_SOURCE, MAX_SOURCES = 200_000, 2_000_000  # characters in one cell, and in all cells
MAX_CELLS = 2000
_TASK = re.compile(r"\d{1,2}\.\d{1,2}")


class Unreadable(ValueError):
    """Raised for a file that isn't a notebook; the message tells the student why."""


@dataclass(frozen=True)
class Cell:
    """A cell's source, and the task and role that its metadata claims. The claim is a hint and never decides points."""

    source: str
    code: bool
    task: str = ""
    role: str = ""


def read_notebook(path: Path) -> list[Cell]:
    """Return the notebook's cells in order.

    Raises:
        Unreadable: the file isn't a regular file, is too large, or isn't JSON with cells.
    """
    return parse(_bytes(path))


def parse(raw: bytes) -> list[Cell]:
    """Return the cells of a notebook given as bytes; raises like :func:`read_notebook`."""
    if not raw.strip(b"\x00 \t\r\n"):
        raise Unreadable("the file is empty")
    try:
        content = json.loads(_decode(raw))
    except RecursionError:
        raise Unreadable("the file is nested too deeply to be a notebook") from None
    except ValueError as error:
        raise Unreadable(f"the file isn't JSON: it was cut off or isn't a notebook ({str(error)[:80]})") from None
    cells = _raw_cells(content)
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"the notebook has {len(cells)} cells; at most {MAX_CELLS} are allowed: delete some")
    parsed = [_cell(cell) for cell in cells if isinstance(cell, dict)]
    if sum(len(cell.source) for cell in parsed) > MAX_SOURCES:
        raise Unreadable(f"its cells hold more than {MAX_SOURCES:,} characters: delete some text")
    return parsed


def _bytes(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable(f"the file can't be opened ({error.strerror})") from None
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise Unreadable("it isn't a regular file")
        if info.st_size > MAX_BYTES:
            raise Unreadable(
                f"the file has {info.st_size >> 20} MB; at most {MAX_BYTES >> 20} are allowed: clear its outputs"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(descriptor)


def _decode(raw: bytes) -> str:
    """Decode UTF-8 with or without BOM, or UTF-16 with a BOM. Anything else is read as Latin-1, which loses nothing."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _raw_cells(content) -> list:
    """Return the raw cells. nbformat 2 and 3 keep them in worksheets."""
    if not isinstance(content, dict):
        raise Unreadable("the file is JSON, but not a notebook")
    cells = content.get("cells")
    if cells is None and isinstance(content.get("worksheets"), list):
        sheets = [sheet.get("cells") for sheet in content["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if not isinstance(cells, list):
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    return cells


def _cell(cell: dict) -> Cell:
    source = cell.get("source", cell.get("input", ""))  # "input": code in nbformat 2 and 3
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    source = source if isinstance(source, str) else ""
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    source = source.encode("utf-8", "replace").decode("utf-8")[:MAX_SOURCE]  # lone surrogates become '?'
    return Cell(source, cell.get("cell_type") == "code", *_mark(cell))


def _mark(cell: dict) -> tuple[str, str]:
    """Return task and role from our metadata, nbgrader's metadata or the cell's id, in this order."""
    meta = cell.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    homework = meta.get("homework")
    if isinstance(homework, dict) and isinstance(homework.get("task"), str) and _TASK.fullmatch(homework["task"]):
        role = homework.get("role")
        return homework["task"], role if role in ("solution", "check", "written") else ""
    nbgrader = meta.get("nbgrader")
    for name in (nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None, cell.get("id")):
        match = re.fullmatch(r"(solution|check|written)-(\d{1,2})-(\d{1,2})", name) if isinstance(name, str) else None
        if match:
            return f"{match[2]}.{match[3]}", match[1]
    return "", ""
