"""Right submissions, written differently from the solution: ``(difference, notebooks, tasks that must be right)``."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

from tests.submissions.books import CODE_TASKS, FIRST, SECOND, book, cells_of, code, is_task, solutions, text
from tests.submissions.right_answers import ANSWERS


def _both(change: Callable[[dict], dict | bytes | str]) -> list:
    return [change(book(FIRST)), change(book(SECOND))]


def _without_metadata(content: dict) -> dict:
    """Remove metadata and ids, as Colab and copy and paste do."""
    cells = [{**cell, "metadata": {"id": f"x{i}", "colab": {}}} for i, cell in enumerate(content["cells"])]
    for cell in cells:
        cell.pop("id", None)
    return {**content, "cells": cells, "metadata": {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}}


def _extra_cells(content: dict) -> dict:
    extra = [
        code("!ls"),
        code("%matplotlib inline\nimport pandas as pd"),
        text("my notes"),
        code("x = ["),
        code("print('x' * 10**6)"),
        code("raise ValueError('of no consequence')"),
    ]
    return {**content, "cells": [cell for each in content["cells"] for cell in (each, extra[len(each["source"]) % 6])]}


def _imports_last(content: dict) -> dict:
    first = next(i for i, cell in enumerate(content["cells"]) if cell["cell_type"] == "code")
    return {**content, "cells": [*content["cells"][:first], *content["cells"][first + 1 :], content["cells"][first]]}


def _stub_again(content: dict) -> dict:
    """Append an untouched copy of every task's cell."""
    name = FIRST if "Sentiment" in json.dumps(content)[:4000] else SECOND
    return {
        **content,
        "cells": [
            *content["cells"],
            *(cell for cell in book(name, solved=False)["cells"] if any(is_task(cell, t) for t in CODE_TASKS)),
        ],
    }


def _version_3(content: dict) -> dict:
    cells = [
        {**cell, "input": cell["source"], "language": "python"} if cell["cell_type"] == "code" else cell
        for cell in copy.deepcopy(content["cells"])
    ]
    for cell in cells:
        if cell["cell_type"] == "code":
            del cell["source"]
    return {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [{"cells": cells, "metadata": {}}],
    }


def _as_lists(content: dict) -> dict:
    return {
        **content,
        "nbformat": 5,
        "cells": [{**cell, "source": cell["source"].splitlines(True)} for cell in content["cells"]],
    }


def _only_answers(content: dict) -> dict:
    return cells_of(content, lambda cell: cell["metadata"].get("homework", {}).get("role") == "solution")


def _other_coefficients(content: dict) -> dict:
    """Change the coefficients in a given cell, as the notebook suggests."""
    old = "coefficients = [-0.3, -0.2, -0.15, -0.1, 0.1, 0.15, 0.2, 0.3]"
    return {
        **content,
        "cells": [
            {**cell, "source": cell["source"].replace(old, "coefficients = [-0.4, -0.25, 0.25, 0.4]")}
            for cell in content["cells"]
        ],
    }


def _one_file() -> list:
    first, second = book(FIRST), book(SECOND)
    return [{**first, "cells": [*first["cells"], *second["cells"]]}]


WHOLE: list[tuple[str, Callable[[], list]]] = [
    ("the solutions themselves", lambda: _both(lambda content: content)),
    ("other coefficients", lambda: _both(_other_coefficients)),
    ("both notebooks in one file", _one_file),
    ("metadata and ids gone", lambda: _both(_without_metadata)),
    ("extra cells, some broken or with much output", lambda: _both(_extra_cells)),
    (
        "CRLF",
        lambda: _both(
            lambda content: json.dumps(
                {**content, "cells": [{**c, "source": c["source"].replace("\n", "\r\n")} for c in content["cells"]]}
            )
        ),
    ),
    (
        "a BOM in front",
        lambda: _both(lambda content: b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode()),
    ),
    ("UTF-16", lambda: _both(lambda content: json.dumps(content, ensure_ascii=False).encode("utf-16"))),
    ("imports at the end", lambda: _both(_imports_last)),
    ("cells in reverse order", lambda: _both(lambda content: {**content, "cells": content["cells"][::-1]})),
    ("untouched copies at the end", lambda: _both(_stub_again)),
    ("nbformat 3", lambda: _both(_version_3)),
    ("nbformat 5, sources as lists", lambda: _both(_as_lists)),
    ("nothing but the answers", lambda: _both(_only_answers)),
]


def right() -> list[tuple[str, Callable[[], list], tuple[str, ...]]]:
    """Return name, notebook factory and tasks that must get full marks for each submission."""
    single = []
    for task, what, source in ANSWERS:
        name = FIRST if task[0] == "1" else SECOND
        needed = {"1.3": {"1.1": solutions()["1.1"]}, "2.3": {"2.1": solutions()["2.1"]}}.get(task, {})
        single.append(
            (f"{task} {what}", lambda n=name, a={**needed, task: source}: [book(n, a, solved=False)], (task,))
        )
    return single + [(what, make, CODE_TASKS) for what, make in WHOLE]
