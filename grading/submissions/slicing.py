"""Choose the cells of a submission that run for a task: those that bind the wanted names, and all that they need.

This is a backward slice of the notebook. It starts from the names that a task asks for, finds the cells that bind them,
then the names that these cells read, and so on. A cell that has nothing to do with the task never runs, even if it is
broken. Cells may be in any order, be split, or lack metadata.

An unchanged given cell doesn't run if the grader can provide what it computes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from grading.submissions.cell_names import BUILTINS, STAR, Names, has_effects, names_of
from grading.submissions.notebook import Cell

STAR_IMPORT = re.compile(r"^[ \t]*from[ \t]+\S+[ \t]+import[ \t]*\*", re.M)


@dataclass(frozen=True)
class Plan:
    """The cells and names that a task needs.

    Attributes:
        cells: indices of cells to run, in the order to run them.
        provided: names to load from the grader's bundle.
        missing: wanted names that no cell binds.
        broken: (index, reason) of this task's cells that aren't Python.
    """

    cells: tuple[int, ...]
    provided: tuple[str, ...]
    missing: tuple[str, ...]
    broken: tuple[tuple[int, str], ...] = ()


class Submission:
    """A student's cells, parsed and compared with the given ones."""

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
            given: squeezed sources of the given cells that aren't a task's.
            stubs: task -> squeezed source of its untouched cell.
            have: names that the grader can provide.
            given_names: names that the given cells bind, imports excluded.
        """
        self.given_names = set(given_names)
        self.cells, self.have = list(cells), set(have)
        self.names = [names_of(cell.source) if cell.code else Names() for cell in cells]
        squeezed = [squeeze(cell.source) for cell in cells]
        untouched = {_bare(stub) for stub in stubs.values()}
        self.is_given = [text in given for text in squeezed]
        self.is_stub = [cell.code and _bare(cell.source) in untouched for cell in cells]
        self.last = len(self.cells)
        self._binding: dict[str, list[int]] = {}
        for i, names in enumerate(self.names):
            for name in names.binds if not self.is_stub[i] else ():
                self._binding.setdefault(name, []).append(i)

    def answered(self, task: str, wanted: Sequence[str]) -> bool:
        """Return whether a cell other than the stub binds one of the names or claims to be the task's."""
        return any(
            not self.is_stub[i]
            and not self.is_given[i]
            and ((cell.task == task and cell.role in ("", "solution")) or self.names[i].binds & set(wanted))
            for i, cell in enumerate(self.cells)
            if cell.code
        )

    def check_of(self, task: str) -> int:
        """Return the index of the task's check, or the end if it is gone. The student saw the answer work there."""
        call = f"checks.task_{task.replace('.', '_')}("
        return next((i for i, cell in enumerate(self.cells) if cell.code and call in cell.source), self.last)

    def mentions(self, wanted: Sequence[str], after: int = -1) -> bool:
        """Return whether the student's cells below ``after`` hold all wanted names that aren't provided."""
        text = "\n".join(cell.source for i, cell in enumerate(self.cells) if i > after and self._is_own(i))
        names = [name for name in wanted if name not in self.have]
        return bool(names) and all(
            re.search(rf"\b{re.escape(name)}\b", text) or STAR_IMPORT.search(text) for name in names
        )

    def adds_effects(self, plan: Plan, to: Plan) -> bool:
        """Return whether ``plan`` runs a student's cell more than ``to`` that isn't only definitions and constants."""
        return any(self._is_own(i) and has_effects(self.cells[i].source) for i in set(plan.cells) - set(to.cells))

    def _is_own(self, i: int) -> bool:
        return self.cells[i].code and not self.is_given[i] and not self.is_stub[i]

    def plan_from_the_top(self, wanted: Sequence[str], until: int) -> Plan:
        """Return the plan that runs all the student's cells above cell ``until``, in the notebook's order.

        Given cells run where the student's cells need them and the grader doesn't provide what they compute.
        """
        self._start(until)
        for i in range(until):
            if self._is_own(i) and not self.names[i].error:
                self._include(i)
        for name in wanted:
            self._require(name, until)
        return Plan(tuple(i for i in sorted(self._needed) if i < until), tuple(sorted(self._provided)), ())

    def _start(self, until: int | None, redefined: bool = True) -> None:
        self.until, self._redefined = self.last if until is None else until, redefined
        self._needed: set[int] = set()
        self._edges: dict[int, set[int]] = {}
        self._provided: set[str] = set()
        self._mine: dict[int, bool] = {}
        self._looked_at: dict[tuple[str, int], int] = {}  # (name, cell after its binder) -> end of the cells looked at

    def plan(self, task: str, wanted: Sequence[str], until: int | None = None, redefined: bool = True) -> Plan:
        """Return the plan for the values that the wanted names have before cell ``until`` (by default the end).

        Args:
            redefined: whether cells that redefine a builtin run for its sake.
        """
        self._start(until, redefined)
        missing = tuple(name for name in wanted if not self._require(name, self.until))
        broken = tuple(
            (i, names.error) for i, names in enumerate(self.names) if names.error and self._claims(i, task, missing)
        )
        return Plan(tuple(self._order()), tuple(sorted(self._provided)), missing, broken)

    def _claims(self, i: int, task: str, missing: Sequence[str]) -> bool:
        return self.cells[i].task == task or any(name in self.cells[i].source for name in missing)

    def _require(self, name: str, before: int, used_by: int | None = None) -> bool:
        """Include the cells that give ``name`` its value before cell ``before``.

        They will run before the cell ``used_by``, by default ``before`` itself.

        Returns:
            Whether there are such cells or the grader provides the name.
        """
        if name in BUILTINS and not self._redefined:
            return False
        user = before if used_by is None else used_by
        binders = self._binders(name, before)
        if binders:
            start = binders[-1] + 1
            if used_by is None:  # those up to here are included, and need no edge: they come before any user
                key = name, start
                start = self._looked_at.get(key, start)
                self._looked_at[key] = max(start, before)
            changing = [i for i in range(start, before) if self._changes(i, name, binders[-1])]
            # Run above its place, a cell that redefines a builtin would change what the cells between them compute.
            self._note(user, [*binders, *changing], before_user=name not in BUILTINS)
            return True
        if name in self.have:
            self._provided.add(name)
            own = (i for i in range(before) if not self.is_given[i] and not self.is_stub[i])
            given = max((i for i in range(before) if self.is_given[i] and name in self.names[i].binds), default=-1)
            changing = [i for i in own if name in self.names[i].stores or (i > given and STAR in self.names[i].binds)]
            self._note(user, changing)
        return name in self.have

    def _note(self, user: int, cells: Sequence[int], before_user: bool = True) -> None:
        for index in cells:
            if index != user:
                if before_user:
                    self._edges.setdefault(user, set()).add(index)
                self._include(index)

    def _binders(self, name: str, before: int) -> list[int]:
        """Return the last earlier cell that binds the name, else the first later one; none if the grader provides it.

        If no cell binds the name, every cell with ``from … import *`` may. A builtin keeps its meaning up to the first
        cell that binds it.
        """
        binders = [i for i in self._binding.get(name, ()) if i != before]
        earlier = [i for i in binders if i < before]
        if not (earlier if name in BUILTINS else binders):
            end = before if name in BUILTINS else self.last
            stars = [i for i in self._binding.get(STAR, ()) if i != before and i < end]
            return [] if name in self.have else stars
        if not earlier and name in self.have:
            return []
        binder = earlier[-1] if earlier else binders[0]
        return [] if name in self.have and self.is_given[binder] and not self._is_changed(binder) else [binder]

    def _is_changed(self, given: int) -> bool:
        """Return whether a given cell reads a given name that the student has redefined, so that its result differs."""
        if given not in self._mine:
            self._mine[given] = False  # ends the recursion for cells that need each other
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
        """Return whether a student's cell may change the object that ``binder`` bound to the name."""
        names = self.names[i]
        if self.is_given[i] or self.is_stub[i] or name in names.binds:
            return False
        # Reading a given model or table doesn't change it. A cell that reads the student's SAE may train it.
        return bool({name, STAR} & (names.stores | names.binds)) or (
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
        """Return whether a cell that binds and reads a name may read an earlier value, as in ``x = x / 2``."""
        return name in self.have or any(name in names.binds for names in self.names[:index])

    def _order(self) -> Iterator[int]:
        """Yield the needed cells in the notebook's order, except that a cell comes before every cell that needs it."""
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
    """Return the source without what an editor may change: trailing spaces and blank lines."""
    lines = (line.rstrip() for line in source.replace("\r\n", "\n").split("\n"))
    return "\n".join(line for line in lines if line)


def _bare(source: str) -> str:
    """Return the source without comments and layout, to recognise untouched cells; squeezed if it isn't Python."""
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return squeeze(source)
