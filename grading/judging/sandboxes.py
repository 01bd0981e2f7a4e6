"""Keep the sandbox of one submission: start it when it is needed, and restart it when it must not be used again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from grading.judging.reference import Facts
from grading.sandbox.isolation import Limits
from grading.sandbox.session import Broken, Session


class Sandboxes:
    """A sandbox that starts when it is first needed, and restarts after it was stopped."""

    def __init__(self, facts: Facts, limits: Limits) -> None:
        self.facts, self.limits = facts, limits
        self.cpu_seconds = 0.0
        self.session: Session | None = None
        self.until = time.monotonic() + limits.seconds
        self._has_seen_hidden = False

    def __enter__(self) -> Sandboxes:
        return self

    def __exit__(self, *error) -> None:
        self._close()

    def _close(self) -> None:
        if self.session:
            self.session.close()
            self.cpu_seconds += self.session.cpu_seconds
            self.session = None
        self._has_seen_hidden = False

    @contextmanager
    def task(self, until: float = math.inf, hidden: bool = False) -> Iterator[Session]:
        """Yield a fresh interpreter for one task. After a :class:`Broken`, the next task gets a new sandbox.

        Args:
            until: when to stop the task, on the monotonic clock; the submission's own end holds, too.
            hidden: whether the task is shown hidden activations. Its dictionary is read before it sees them, so it
                needs a sandbox in which no earlier task can have saved them.
        """
        until = min(until, self.until)
        if time.monotonic() > until:
            raise Broken("time")
        if hidden and self._has_seen_hidden:
            self._close()
        try:
            if self.session is None:
                self.session = Session(self.facts.place, self.limits, until)
            self._has_seen_hidden |= hidden
            self.session.until = until
            self.session.begin()
            yield self.session
            self.session.end()
        except Broken:
            self._close()
            raise
