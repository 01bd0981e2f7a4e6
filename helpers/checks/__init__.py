"""Instant feedback on each graded task: ``checks.task_1_1(collect_average_residuals)`` and so on.

A check compares with an independent reference on a toy model or small tensors. It prints a line when the
answer passes, and raises :class:`CheckFailed`, which names the mistake in a sentence or two, when it
doesn't. Passing these public checks is not the grade: the grader asks more questions than they do.
"""

from .autoencoder import task_2_1
from .contexts import task_2_4
from .loss import task_2_2
from .notdone import NotDone
from .outcomes import label_share, task_1_3, task_2_3, task_2_6, task_2_7
from .residuals import task_1_1
from .steering import task_1_2
from .verdict import CheckFailed

__all__ = [
    "CheckFailed",
    "NotDone",
    "label_share",
    "task_1_1",
    "task_1_2",
    "task_1_3",
    "task_2_1",
    "task_2_2",
    "task_2_3",
    "task_2_4",
    "task_2_6",
    "task_2_7",
]
