"""Define hidden tests: the questions they ask, and how their answers are compared.

Answers come from a student's process and aren't trusted. An answer is JSON of bounded size and a safetensors blob,
which can hold only numbers. Every number is compared here, in the grader's process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from safetensors.numpy import load

TOLERANCE = 5e-4  # relative to the largest expected value: sums in another order, values stored in fp32
HALF_TOLERANCE = 3e-2  # a student may compute in bf16, which keeps eight bits
MOST_NUMBERS = 32_000_000  # in one array: each takes eight bytes here, whatever its dtype was
Words = dict[str, object]
Compare = Callable[[Words, Words, object], str]  # (answer, the solution's answer, facts) -> what is wrong, or ""


@dataclass(frozen=True)
class Question:
    """A call of a function in ``questions.py``, with JSON input and the name of arrays that the facts hold."""

    name: str
    given: dict = field(default_factory=dict)
    arrays: str = ""


@dataclass(frozen=True)
class HiddenTest:
    """One test of a student's answer to a task.

    Attributes:
        tried: what is tested, in words for the student, such as "four sentences of different length".
        share: the test's share of the task's points.
        questions: asked one after the other; their answers are merged.
        compare: returns what is wrong with an answer, in words, or "" if it is right.
    """

    task: str
    name: str
    tried: str
    share: float
    questions: tuple[Question, ...]
    compare: Compare

    @property
    def key(self) -> str:
        return f"{self.task} {self.name}"


class BadAnswer(ValueError):
    """Raised for an answer that isn't of the kind that the question asks for."""


def read_answer(reply: dict, blob: bytes) -> Words:
    """Return the words and arrays of a reply.

    Raises:
        BadAnswer: the blob isn't in safetensors format, or the words aren't a dict.
    """
    words = reply.get("answer")
    if not isinstance(words, dict):
        raise BadAnswer("the answer can't be read")
    if not blob:
        return dict(words)
    try:
        return {**words, **load(blob)}
    except Exception as error:  # a hostile blob can make the parser raise anything
        raise BadAnswer("the answer's numbers can't be read") from error


def numbers(answer: Words, name: str) -> np.ndarray:
    """Return the answer's array ``name`` as float64.

    Raises:
        BadAnswer: the array is missing, isn't numeric or is too large.
    """
    found = answer.get(name)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise BadAnswer(f"{name} is missing or isn't an array of numbers")
    if found.size > MOST_NUMBERS:
        raise BadAnswer(f"{name} holds {found.size:,} numbers; at most {MOST_NUMBERS:,} are allowed")
    return found.astype(np.float64)


def number(answer: Words, name: str) -> float:
    """Return the answer's finite number ``name``; raise :class:`BadAnswer` if there is none."""
    found = answer.get(name)
    try:
        value = math.nan if isinstance(found, bool) or not isinstance(found, (int, float)) else float(found)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise BadAnswer(f"{name} isn't a finite number")
    return value


def integers(answer: Words, name: str) -> list[int]:
    """Return the answer's list of integers ``name``; raise :class:`BadAnswer` if there is none."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(item, int) and not isinstance(item, bool) for item in found):
        raise BadAnswer(f"{name} isn't a list of whole numbers")
    return found


def same_numbers(*names: str) -> Compare:
    """Return a compare function that wants these arrays to equal the solution's."""

    def compare(answer: Words, expected: Words, facts) -> str:
        half = answer.get("half")
        for name in names:
            tolerance = HALF_TOLERANCE if isinstance(half, list) and name in half else TOLERANCE
            if why := difference(numbers(answer, name), numbers(expected, name), name, tolerance):
                return why
        return ""

    return compare


def difference(found: np.ndarray, expected: np.ndarray, name: str, tolerance: float = TOLERANCE) -> str:
    """Return how two arrays differ, naming no value of either, or "" if they are equal."""
    if found.shape != expected.shape:
        return f"{name}: the shape is {list(found.shape)}, expected {list(expected.shape)}"
    if not np.isfinite(found).all():
        return f"{name}: some numbers are NaN or infinite"
    scale = max(float(np.abs(expected).max(initial=0)), 1e-6)
    wrong = np.abs(found - expected) > tolerance * scale
    if not wrong.any():
        return ""
    share = wrong.mean()
    return f"{name}: {'all' if share > 0.99 else f'{share:.0%} of the'} numbers differ from the solution's"


def list_of(answer: Words, name: str) -> list:
    """Return the answer's list of that name."""
    value = answer.get(name)
    if not isinstance(value, list):
        raise BadAnswer(f"{name} isn't a list")
    return value


def same_words(name: str) -> Compare:
    """Return a compare function that wants each text of the list ``name`` to equal the solution's."""

    def compare(answer: Words, expected: Words, facts) -> str:
        found, wanted = answer.get(name), list_of(expected, name)
        if not isinstance(found, list) or len(found) != len(wanted):
            raise BadAnswer(f"{name} isn't a list of {len(wanted)} texts")
        wrong = sum(a != b for a, b in zip(found, wanted, strict=True))
        return f"{wrong} of {len(wanted)} {name} differ from the solution's" if wrong else ""

    return compare
