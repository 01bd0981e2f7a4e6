"""The exception of an open task."""

from __future__ import annotations

import traceback


class NotDone(NotImplementedError):
    """A placeholder for a student's solution that says which task is still open.

    The student notebooks are built with ``raise NotDone("1.1")`` in place of each solution.

    Args:
        task: the task's id, such as ``"1.1"``.
    """

    def __init__(self, task: str) -> None:
        super().__init__(task)  # args hold what __init__ takes, so that the exception can be pickled
        self.task = task

    def __str__(self) -> str:
        line = f'raise NotDone("{self.task}")'
        return f"Task {self.task} is not done yet: {self._place()}replace the line {line} with your solution."

    def _place(self) -> str:
        """Return where this was raised: "in SAE.encode, ", or "in line 6 of its cell, " outside functions.

        A task may have several such lines. Return "" if this wasn't raised.
        """
        *_, last = (None, *traceback.walk_tb(self.__traceback__))
        if last is None:
            return ""
        frame, line = last
        name = frame.f_code.co_qualname.rpartition("<locals>.")[2]
        return f"in line {line} of its cell, " if name == "<module>" else f"in {name}, "

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        return [str(self)]
