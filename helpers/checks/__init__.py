"""Instant feedback on each graded task: ``checks.task_1_1(collect_average_residuals)`` and so on.

A check compares the answer with an independent reference on a toy model or small tensors. It prints one line if
the answer passes. Otherwise it raises :class:`CheckFailed`, whose message names the mistake.
Passing a public check is not the grade: the grader runs further hidden tests.
"""

from helpers.checks.autoencoder import task_2_1
from helpers.checks.notdone import NotDone
from helpers.checks.outcomes import label_share, task_1_3, task_2_3, task_2_6, task_2_7
from helpers.checks.residuals import task_1_1
from helpers.checks.sae_loss import task_2_2
from helpers.checks.steered_text import task_1_2
from helpers.checks.top_contexts import task_2_4
from helpers.checks.verdict import CheckFailed

__all__ = [
    "CheckFailed", "NotDone", "label_share", "task_1_1", "task_1_2", "task_1_3", "task_2_1", "task_2_2", "task_2_3",
    "task_2_4", "task_2_6", "task_2_7",
]  # fmt: skip
