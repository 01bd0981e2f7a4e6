"""A hostile submission, and the ways to write one into a student's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.submissions.books import FIRST, SECOND, book, changed, put, solutions

KEPT = ("2.2",)


@dataclass(frozen=True)
class Hostile:
    """A submission that attacks the grader or is broken.

    Attributes:
        put: writes the submission into a folder.
        earned: the tasks that it still solves. All others must get no points.
        statuses: the statuses that its row may have.
    """

    name: str
    put: Callable[[Path], None]
    earned: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("graded", "partly")


def answers(
    name: str, sources: dict[str, str], earned: tuple[str, ...] = KEPT, statuses=("graded", "partly")
) -> Hostile:
    """Return a submission with ``sources`` as task cells, next to a right answer to 2.2."""

    def write(folder: Path) -> None:
        second = {task: source for task, source in sources.items() if task[0] == "2"}
        first = {task: source for task, source in sources.items() if task[0] == "1"}
        put(folder, book(SECOND, {"2.2": solutions()["2.2"], **second}, solved=False), SECOND)
        if first:
            put(folder, book(FIRST, first, solved=False), FIRST)

    return Hostile(name, write, earned, statuses)


def in_loss(name: str, code_before: str, task: str = "2.1") -> Hostile:
    """Return an attack that is followed by a wrong SAE: it must lose 2.1 and keep 2.2."""
    wrong = changed("2.1", ("torch.relu(", "torch.sigmoid("), ("h @ self.W_dec + self.b_dec", "2 * h @ self.W_dec"))
    return answers(name, {task: code_before + "\n\n" + wrong})


def file(name: str, raw: bytes | str, statuses=("unreadable",)) -> Hostile:
    """Return a submission whose notebook file holds ``raw``."""
    return Hostile(name, lambda folder: (put(folder, raw, SECOND), None)[1], (), statuses)


def edited(
    name: str, edit: Callable[[list[dict]], list[dict]], earned: tuple[str, ...] = KEPT, statuses=("graded", "partly")
) -> Hostile:
    """Return a notebook with a right 2.2 whose cells ``edit`` changes."""

    def write(folder: Path) -> None:
        content = book(SECOND, {"2.2": solutions()["2.2"]}, solved=False)
        put(folder, {**content, "cells": edit(content["cells"])}, SECOND)

    return Hostile(name, write, earned, statuses)
