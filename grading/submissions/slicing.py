"""Which cells of a submission run for a task: those that define what the task asks for, and all that they need.

Like a backward slice of a program: from the names that a task leaves behind, back to the cells that bind them and to the
names that these cells read. So a cell that has nothing to do with the task never runs, whatever it would break, and cells
may stand in any order, be split, or come without metadata.

A cell that students were given and left as it was doesn't run where the grader has its products at hand.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from grading.submissions.cell_names import STAR, Names, names_of
from grading.submissions.notebook import Cell


@dataclass(frozen=True)
class Plan:
    """What a task needs.

    Attributes:
        cells: indices of cells to run, in the order to run them.
        provided: names that come out of the grader's bundle.
        missing: wanted names that no cell binds.
        broken: (index, why) of the cells of this task that aren't Python.
    """

    cells: tuple[int, ...]
    provided: tuple[str, ...]
    missing: tuple[str, ...]
    broken: tuple[tuple[int, str], ...] = ()


class Submission:
    """A student's cells beside those that were given."""

    def __init__(
        self,
        cells: Sequence[Cell],
        given: Collection[str],
        stubs: dict[str, str],
        have: Collection[str],
        given_names: Collection[str] = (),
    ) -> None:
        """
        Args:
            given: sources of all cells of the student's notebook that aren't a task's, squeezed.
            stubs: source of each task's untouched cell, by task.
            have: names that the grader can provide.
            given_names: what the given cells bind, imports apart.
        """
        self.given_names = set(given_names)
        self.cells, self.have = list(cells), set(have)
        self.names = [names_of(cell.source) if cell.code else Names() for cell in cells]
        squeezed = [squeeze(cell.source) for cell in cells]
        untouched = {_bare(stub) for stub in stubs.values()}
        self.is_given = [text in given for text in squeezed]
        self.is_stub = [cell.code and _bare(cell.source) in untouched for cell in cells]
        self.last = len(self.cells)

    def answered(self, task: str, wanted: Sequence[str]) -> bool:
        """Whether a cell other than the stub binds one of the names, or claims to be the task's."""
        return any(
            not self.is_stub[i]
            and not self.is_given[i]
            and (cell.task == task and cell.role in ("", "solution") or self.names[i].binds & set(wanted))
            for i, cell in enumerate(self.cells)
            if cell.code
        )

    def check_of(self, task: str) -> int:
        """Where the task's check stands, up to which a student has seen the answer work; the end if it is gone."""
        call = f"checks.task_{task.replace('.', '_')}("
        return next((i for i, cell in enumerate(self.cells) if cell.code and call in cell.source), self.last)

    def plan(self, task: str, wanted: Sequence[str], until: int | None = None) -> Plan:
        """Cells for the wanted names as they are before cell ``until``, the end by default, and what the grader has to provide."""
        self.until = self.last if until is None else until
        self._needed: set[int] = set()
        self._edges: dict[int, set[int]] = {}
        self._provided: set[str] = set()
        self._mine: dict[int, bool] = {}
        missing = tuple(name for name in wanted if not self._require(name, self.until))
        broken = tuple(
            (i, names.error) for i, names in enumerate(self.names) if names.error and self._claims(i, task, missing)
        )
        return Plan(tuple(self._order()), tuple(sorted(self._provided)), missing, broken)

    def _claims(self, i: int, task: str, missing: Sequence[str]) -> bool:
        return self.cells[i].task == task or any(name in self.cells[i].source for name in missing)

    def _require(self, name: str, before: int, used_by: int | None = None) -> bool:
        """Note the cells that make ``name`` what it is before cell ``before``; whether there are any, or it is provided.

        They run before the cell ``used_by``, by default the same one.
        """
        user = before if used_by is None else used_by
        binders = self._binders(name, before)
        if not binders:
            if name in self.have:
                self._provided.add(name)
                self._note(
                    user,
                    [
                        i
                        for i in range(before)
                        if name in self.names[i].stores and not self.is_given[i] and not self.is_stub[i]
                    ],
                )
            return name in self.have
        self._note(
            user, [*binders, *(i for i in range(binders[-1] + 1, before) if self._changes(i, name, binders[-1]))]
        )
        return True

    def _note(self, user: int, cells: Sequence[int]) -> None:
        for index in cells:
            if index != user:
                self._edges.setdefault(user, set()).add(index)
                self._include(index)

    def _binders(self, name: str, before: int) -> list[int]:
        """The last cell before that binds the name, else the first one after; none if it is to be provided.

        A name that nobody binds may come out of any ``from … import *``.
        """
        binders = [
            i for i, names in enumerate(self.names) if name in names.binds and not self.is_stub[i] and i != before
        ]
        earlier = [i for i in binders if i < before]
        if not binders:
            return (
                []
                if name in self.have
                else [i for i, names in enumerate(self.names) if STAR in names.binds and i != before]
            )
        if not earlier and name in self.have:
            return []
        found = earlier[-1] if earlier else binders[0]
        return [] if name in self.have and self.is_given[found] and not self._is_changed(found) else [found]

    def _is_changed(self, given: int) -> bool:
        """Whether a given cell reads something given that the student has made anew, so that its product is another."""
        if given not in self._mine:
            self._mine[given] = False  # for cells that need each other
            self._mine[given] = any(
                self._is_students(name, given) for name in self.names[given].needs | self.names[given].later
            )
        return self._mine[given]

    def _is_students(self, name: str, before: int) -> bool:
        if name not in self.given_names:
            return False
        earlier = [
            i for i in range(before) if name in self.names[i].binds | self.names[i].stores and not self.is_stub[i]
        ]
        return bool(earlier) and (not self.is_given[earlier[-1]] or self._is_changed(earlier[-1]))

    def _changes(self, i: int, name: str, binder: int) -> bool:
        """Whether a student's cell may change the object that ``binder`` bound to the name."""
        names = self.names[i]
        if self.is_given[i] or self.is_stub[i] or name in names.binds:
            return False
        # a cell that only reads a model or a table leaves it alone; one that is handed a student's SAE may train it
        return name in names.stores or (
            not self.is_given[binder] and name in self.names[binder].objects and name in names.needs
        )

    def _include(self, index: int) -> None:
        if index in self._needed:
            return
        self._needed.add(index)
        names = self.names[index]
        for name in sorted(names.needs):
            if name not in names.binds or self._builds_upon(name, index):
                self._require(name, index)
        for name in sorted(names.later - names.binds):
            self._require(name, self.until, used_by=index)

    def _builds_upon(self, name: str, index: int) -> bool:
        """Whether a cell that binds and reads a name may read an earlier value, as in ``x = x / 2``."""
        return name in self.have or any(name in names.binds for names in self.names[:index])

    def _order(self) -> Iterator[int]:
        """The notebook's order, but a cell that is needed by an earlier one comes before it."""
        done: set[int] = set()

        def visit(index: int) -> Iterator[int]:
            if index in done:
                return
            done.add(index)
            for other in sorted(self._edges.get(index, ())):
                if other > index:
                    yield from visit(other)
            yield index

        for index in sorted(self._needed):
            yield from visit(index)


def squeeze(source: str) -> str:
    """The source without what an editor may change: trailing spaces, blank lines."""
    lines = (line.rstrip() for line in source.replace("\r\n", "\n").split("\n"))
    return "\n".join(line for line in lines if line)


def _bare(source: str) -> str:
    """The source without comments and layout, for telling an untouched cell; as it is if it isn't Python."""
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return squeeze(source)
