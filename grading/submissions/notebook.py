"""Read a notebook that a student handed in, however it looks: only sources, cell types and the marks of tasks.

Outputs, points and everything else in the metadata are never looked at. What notebooks look like: nbformat's schema,
versions 2 to 4 (https://nbformat.readthedocs.io); a version to come is read as if it were 4.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 100 << 20  # of a file, outputs and pictures included
MAX_SOURCE, MAX_SOURCES = 200_000, 2_000_000  # characters of one cell, and of all
MAX_CELLS = 2000
_TASK = re.compile(r"\d{1,2}\.\d{1,2}")


class Unreadable(ValueError):
    """A file that holds no notebook; the message says why, in words for the student."""


@dataclass(frozen=True)
class Cell:
    """A cell's source, and what its metadata claims that it is: a hint, never trusted with points."""

    source: str
    code: bool
    task: str = ""
    role: str = ""


def read_notebook(path: Path) -> list[Cell]:
    """The notebook's cells in order.

    Raises:
        Unreadable: no regular file, too large, no JSON, or JSON without cells.
    """
    return parse(_bytes(path))


def parse(raw: bytes) -> list[Cell]:
    """Cells of a notebook's bytes, as :func:`read_notebook`."""
    if not raw.strip(b"\x00 \t\r\n"):
        raise Unreadable("the file is empty")
    try:
        content = json.loads(_decode(raw))
    except RecursionError:
        raise Unreadable("the file is nested too deeply to be a notebook") from None
    except ValueError as error:
        raise Unreadable(f"the file isn't JSON, so it was cut off or is no notebook ({str(error)[:80]})") from None
    cells = _raw_cells(content)
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"the notebook has {len(cells)} cells; at most {MAX_CELLS} are read")
    found = [_cell(cell) for cell in cells if isinstance(cell, dict)]
    if sum(len(cell.source) for cell in found) > MAX_SOURCES:
        raise Unreadable(f"its cells hold more than {MAX_SOURCES:,} characters")
    return found


def _bytes(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable(f"the file can't be opened ({error.strerror})") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("it isn't a regular file")
        if found.st_size > MAX_BYTES:
            raise Unreadable(
                f"the file has {found.st_size >> 20} MB; at most {MAX_BYTES >> 20} are read: clear its outputs"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(descriptor)


def _decode(raw: bytes) -> str:
    """UTF-8 with or without BOM, UTF-16 with one; what is neither is read as Latin-1, so that nothing is lost."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _raw_cells(content) -> list:
    """Cells of nbformat 4, or 2 and 3, which keep them in worksheets."""
    if not isinstance(content, dict):
        raise Unreadable("the file is JSON, but no notebook")
    cells = content.get("cells")
    if cells is None and isinstance(content.get("worksheets"), list):
        sheets = [sheet.get("cells") for sheet in content["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if not isinstance(cells, list):
        raise Unreadable("the file is JSON, but no notebook: it has no cells")
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
    """Task and role as ours, nbgrader's or the cell's id say, in this order."""
    meta = cell.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    ours = meta.get("homework")
    if isinstance(ours, dict) and isinstance(ours.get("task"), str) and _TASK.fullmatch(ours["task"]):
        role = ours.get("role")
        return ours["task"], role if role in ("solution", "check", "written") else ""
    theirs = meta.get("nbgrader")
    for name in (theirs.get("grade_id") if isinstance(theirs, dict) else None, cell.get("id")):
        match = re.fullmatch(r"(solution|check|written)-(\d{1,2})-(\d{1,2})", name) if isinstance(name, str) else None
        if match:
            return f"{match[2]}.{match[3]}", match[1]
    return "", ""
