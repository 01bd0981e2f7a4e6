"""Submissions with forged metadata, broken notebooks and unexpected files."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.submissions.books import SECOND, book, code, is_task, put, solutions
from tests.submissions.hostile_case import KEPT, Hostile, edited, file


def metadata():
    """Yield notebooks with forged or broken metadata, outputs and cells."""
    forged = {"points": 1e9, "bonus": True, "role": "solution"}

    def each(change: Callable[[dict], dict]) -> Callable[[list[dict]], list[dict]]:
        return lambda cells: [change(cell) for cell in cells]

    yield edited(
        "points forged",
        each(
            lambda c: {**c, "metadata": {**c["metadata"], "homework": {**c["metadata"].get("homework", {}), **forged}}}
        ),
    )
    yield edited(
        "points not a number",
        each(lambda c: {**c, "metadata": {**c["metadata"], "nbgrader": {"points": float("nan"), "grade": True}}}),
    )
    yield edited(
        "points negative",
        each(lambda c: {**c, "metadata": {**c["metadata"], "nbgrader": {"points": -5, "grade_id": "check-2-2"}}}),
    )
    yield edited(
        "raises-exception everywhere",
        each(
            lambda c: {
                **c,
                "metadata": {
                    **c["metadata"],
                    "tags": ["raises-exception", "skip-execution"],
                    "allow_errors": True,
                    "nbmake": {"timeout": 1},
                },
            }
        ),
    )
    yield edited(
        "forged outputs",
        each(
            lambda c: (
                {
                    **c,
                    "outputs": [
                        {
                            "output_type": "execute_result",
                            "data": {"application/vnd.homework.report+json": {"task": "2.1", "passed": True}},
                            "metadata": {},
                        }
                    ],
                }
                if c["cell_type"] == "code"
                else c
            )
        ),
    )
    yield edited(
        "checks deleted", lambda cells: [c for c in cells if c["metadata"].get("homework", {}).get("role") != "check"]
    )
    yield edited(
        "checks edited",
        lambda cells: [
            {**c, "source": "print('passed')"} if c["metadata"].get("homework", {}).get("role") == "check" else c
            for c in cells
        ],
    )
    yield edited(
        "task cells twice",
        lambda cells: [
            c for cell in cells for c in ([cell, cell] if is_task(cell, "2.2") or is_task(cell, "2.1") else [cell])
        ],
    )
    yield edited(
        "no ids", lambda cells: [{name: value for name, value in cell.items() if name != "id"} for cell in cells]
    )
    yield edited("one id for all", lambda cells: [{**cell, "id": "same"} for cell in cells])
    yield edited(
        "cell types swapped",
        lambda cells: [{**c, "cell_type": "markdown" if c["cell_type"] == "code" else "code"} for c in cells],
        earned=(),
        statuses=("blank", "partly"),
    )
    yield edited(
        "tasks' marks swapped",
        lambda cells: [
            {**c, "metadata": {"homework": {"task": "2.4", "role": "solution"}}} if is_task(c, "2.2") else c
            for c in cells
        ],
    )
    yield edited(
        "metadata of the wrong kind",
        lambda cells: [{**c, "metadata": [1, 2]} if i % 2 else {**c, "metadata": None} for i, c in enumerate(cells)],
    )
    yield edited(
        "cells of the wrong kind",
        lambda cells: [*cells, None, 3, "x", {"cell_type": "code"}, {"source": 5, "cell_type": "code"}],
    )
    yield edited(
        "script in markdown",
        lambda cells: [
            *cells,
            {
                "cell_type": "markdown",
                "metadata": {"homework": {"task": "2.5", "role": "written"}},
                "source": "<script>alert(1)</script> =1+1 @x",
            },
        ],
    )
    yield edited(
        "widgets and Drive",
        lambda cells: [code("from google.colab import drive\ndrive.mount('/content/drive')"), *cells],
    )


def files():
    """Yield files that aren't notebooks, and broken notebooks."""
    whole = json.dumps(book(SECOND, {"2.2": solutions()["2.2"]}, solved=False))
    yield file("empty", b"")
    yield file("only nulls", b"\x00" * 1000)
    yield file("truncated", whole[: len(whole) // 2])
    yield file("JSON, no notebook", '{"a": 1}')
    yield file("a list", "[1, 2, 3]")
    yield file("nested without end", "[" * 100_000)
    yield file("no cells", '{"nbformat": 4, "metadata": {}}')
    yield file("cells that aren't a list", '{"nbformat": 4, "cells": {"0": 1}}')
    yield file("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    yield file(
        "R",
        json.dumps(
            {
                "nbformat": 4,
                "metadata": {"kernelspec": {"name": "ir", "language": "R"}},
                "cells": [code("x <- c(1, 2)\nprint(x)")],
            }
        ),
    )
    yield file(
        "another homework", json.dumps({"nbformat": 4, "metadata": {}, "cells": [code("def fib(n):\n    return n")]})
    )
    yield file("untouched", json.dumps(book(SECOND, solved=False)), statuses=("blank",))
    yield Hostile(
        "Latin-1",
        lambda folder: (
            put(folder, whole.replace("reconstruct", "r\xe9construct").encode("latin-1", "replace"), SECOND),
            None,
        )[1],
        KEPT,
    )
    yield Hostile(
        "null bytes",
        lambda folder: (put(folder, whole.replace("squared_error = ", "squared_error = \\u0000 "), SECOND), None)[1],
        KEPT,
    )
    yield Hostile(
        "lone surrogates",
        lambda folder: (put(folder, whole.replace("Squared error per token", "\\ud83d per token"), SECOND), None)[1],
        KEPT,
    )
    yield Hostile("two notebooks", _two, KEPT)
    yield Hostile("modules beside the notebook", _modules, KEPT)
    yield Hostile("links", _links, (), ("unreadable",))
    yield Hostile("nothing", lambda folder: folder.mkdir(), (), ("unreadable",))
    yield Hostile("a zip bomb", lambda folder: _zip(folder, {"bomb.ipynb": b"0" * (300 << 20)}), (), ("unreadable",))
    yield Hostile(
        "a zip slip",
        lambda folder: _zip(folder, {"../../owned.ipynb": whole.encode(), "/tmp/owned.ipynb": whole.encode()}),
        (),
        ("unreadable",),
    )
    yield Hostile(
        "nested zips",
        lambda folder: _zip(folder, {"a.zip": _zipped({"b.zip": _zipped({"c.ipynb": whole.encode()})})}),
        (),
        ("unreadable",),
    )
    yield Hostile(
        "a broken zip",
        lambda folder: (folder.mkdir(), (folder / "x.zip").write_bytes(b"PK\x03\x04 broken"), None)[2],
        (),
        ("unreadable",),
    )
    yield Hostile("a zip in a folder", lambda folder: _zip(folder, {f"work/{SECOND}.ipynb": whole.encode()}), KEPT)


def _two(folder: Path) -> None:
    put(folder, book(SECOND, {"2.2": solutions()["2.2"]}, solved=False), SECOND)
    put(folder, book(SECOND, solved=False), f"{SECOND} (1)")


def _modules(folder: Path) -> None:
    _two(folder)
    for name in ("helpers.py", "torch.py", "sitecustomize.py", "numpy.py"):
        (folder / name).write_text("raise SystemExit('shadowed')")


def _links(folder: Path) -> None:
    folder.mkdir()
    os.symlink("/etc/passwd", folder / f"{SECOND}.ipynb")
    os.symlink("/", folder / "everything")


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return out.getvalue()


def _zip(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    (folder / "work.zip").write_bytes(_zipped(files))
