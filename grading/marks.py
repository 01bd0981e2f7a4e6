"""Marks of a submission: per hidden test, per task and in total, as plain data for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

# A submission's status.
# "graded": every task was judged. "partly": the sandbox was stopped, or a notebook is missing or unreadable.
# "blank": no task is answered. "unreadable": no notebook can be read. "failed": the grader itself failed.
STATUSES = ("graded", "partly", "blank", "unreadable", "failed")
# Why a task was stopped, in words for the student.
STOPPED = {
    "time": "it ran longer than the time limit",
    "memory": "it used more memory than the limit",
    "processes": "it started more processes than the limit",
    "died": "the process exited or crashed",
    "answer": "its answer can't be read",
}


@dataclass(frozen=True)
class Tried:
    """The result of one hidden test.

    ``tried``: what was tested, in words; ``share``: its share of the task's points; ``wrong``: what is wrong, or "".
    """

    name: str
    tried: str
    share: float
    wrong: str


@dataclass(frozen=True)
class TaskMark:
    """The result of one task.

    ``outcome``: "right", "partly right", "wrong", "untouched", "not found", "stopped" or "to be marked".
    ``says``: what the notebook's own check says, which uses no hidden input. ``note``: a remark for the student.
    """

    task: str
    outcome: str
    points: float
    most: float
    bonus: bool = False
    tried: tuple[Tried, ...] = ()
    says: str = ""
    note: str = ""


@dataclass(frozen=True)
class Marks:
    """The result of a whole submission."""

    student: str
    status: str
    tasks: tuple[TaskMark, ...]
    written: dict[str, str] = field(default_factory=dict)  # task -> answer
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # used in the sandbox
    own_cpu_seconds: float = 0.0  # used by the grader
    student_id: str = ""  # in the learning platform
    full_name: str = ""  # as in the export

    def as_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> Marks:
        tasks = tuple(
            TaskMark(**{**task, "tried": tuple(Tried(**test) for test in task["tried"])}) for task in record["tasks"]
        )
        return cls(**{**record, "tasks": tasks, "notes": tuple(record["notes"])})
