"""What a submission got: per hidden test, per task, in all. Plain data that JSON holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

# Of a submission. "graded": every task was looked at; "partly": the sandbox had to be stopped, or a notebook is missing or
# unreadable; "blank": nothing was answered; "unreadable": no notebook can be read; "failed": the grader itself failed.
STATUSES = ("graded", "partly", "blank", "unreadable", "failed")
# Why a task was stopped: too much time, memory or processes, or the process ended itself.
STOPPED = {
    "time": "it ran longer than the time limit",
    "memory": "it took more memory than the limit",
    "processes": "it started more processes than the limit",
    "died": "the process ended itself, or crashed",
    "answer": "what came back can't be read",
}


@dataclass(frozen=True)
class Tried:
    """One hidden test: what was tried, its share of the task's points, and what is wrong, "" if nothing is."""

    name: str
    tried: str
    share: float
    wrong: str


@dataclass(frozen=True)
class TaskMark:
    """One task.

    ``outcome``: "right", "partly right", "wrong", "untouched", "not found", "stopped" or "to be marked"; ``says``: the
    notebook's own check, on inputs that everyone sees; ``note``: what else to know.
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
    """A whole submission."""

    student: str
    status: str
    tasks: tuple[TaskMark, ...]
    written: dict[str, str] = field(default_factory=dict)  # task -> answer
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # in the sandbox
    own_cpu_seconds: float = 0.0  # of the grader

    def as_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict) -> Marks:
        tasks = tuple(
            TaskMark(**{**task, "tried": tuple(Tried(**each) for each in task["tried"])}) for task in record["tasks"]
        )
        return cls(**{**record, "tasks": tasks, "notes": tuple(record["notes"])})
