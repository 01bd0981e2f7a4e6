"""The exception of an open task."""

from __future__ import annotations


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
        return f'Task {self.task} is not done yet: replace the line raise NotDone("{self.task}") with your solution.'

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        return [str(self)]
