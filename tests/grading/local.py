"""Run harmless test answers in this process, without a sandbox."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
from collections.abc import Iterator
from unittest import mock

import torch

from grading.sandbox import worker
from grading.sandbox.session import Broken
from grading.submissions.cell_names import without_magics


class Sessions:
    """A substitute for :class:`grading.judging.sandboxes.Sandboxes`."""

    cpu_seconds = 0.0

    def __init__(self, facts, limits) -> None:
        place = facts.place
        self.settings = {"HOMEWORK_MODEL": place.model, "HOMEWORK_TEXT": place.text, "HOMEWORK_BUDGET": place.budget}

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *error) -> None:
        pass

    @contextlib.contextmanager
    def task(self, until: float = 0.0, hidden: bool = False) -> Iterator[_Session]:
        grad = torch.is_grad_enabled()
        with torch.random.fork_rng(), mock.patch.dict(os.environ, self.settings), worker._on_the_cpu():
            worker._seed()
            try:
                yield _Session()
            finally:
                torch.set_grad_enabled(grad)


class _Session:
    def __init__(self) -> None:
        self.names: dict = {"__name__": "__main__"}
        self.count = 0

    def cell(self, source: str) -> dict | None:
        self.count += 1
        name = f"<ipython-input-{id(self)}-{self.count}>"
        source = without_magics(source)
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        return self._guard(lambda: exec(compile(source, name, "exec"), self.names))[0].get("error")

    def provide(self, path: str, names: list[str]) -> dict | None:
        return self._guard(lambda: worker._provide(self.names, path, names))[0].get("error")

    def ask(self, source: str, name: str, given: dict, arrays: bytes = b"") -> tuple[dict, bytes]:
        return self._guard(lambda: worker._ask(self.names, {"source": source, "name": name, "given": given}, arrays))

    def _guard(self, run) -> tuple[dict, bytes]:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                return run() or ({}, b"")
        except Broken:
            raise
        except BaseException as error:
            return {"error": worker._describe(error)}, b""
