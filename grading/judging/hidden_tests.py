"""Hidden tests: what is asked, and how an answer is told right from wrong. Answers come from a student's process.

So nothing is taken for what it claims to be: an answer is JSON of bounded size and numbers out of a safetensors blob, which
can hold nothing else, and every number is compared here, in the grader's process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from safetensors.numpy import load

TOLERANCE = 5e-4  # of the largest expected value: sums in another order, fp32 stored
HALF_TOLERANCE = 3e-2  # a student may compute in bf16, which keeps eight bits
MOST_NUMBERS = 32_000_000  # of one array: eight bytes each here, whatever they take on the way
Words = dict[str, object]
Compare = Callable[[Words, Words, object], str]  # answer, the solution's answer, facts -> what is wrong, or ""


@dataclass(frozen=True)
class Question:
    """A function of ``questions.py`` and what it is given: JSON, and the name of arrays that the facts hold."""

    name: str
    given: dict = field(default_factory=dict)
    arrays: str = ""


@dataclass(frozen=True)
class HiddenTest:
    """One thing that is tried with a student's answer to a task.

    Attributes:
        tried: in words for the student, as in "four sentences of different length".
        share: of the task's points.
        questions: asked one after the other; their answers are joined.
        compare: what is wrong with an answer, in words, or "" if nothing is.
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
    """An answer that isn't what a question asks for."""


def read_answer(reply: dict, blob: bytes) -> Words:
    """Words and arrays of a reply.

    Raises:
        BadAnswer: a blob that is no safetensors, or words that are no dict.
    """
    words = reply.get("answer")
    if not isinstance(words, dict):
        raise BadAnswer("the answer isn't readable")
    if not blob:
        return dict(words)
    try:
        return {**words, **load(blob)}
    except Exception as error:  # whatever a hostile blob makes the parser say
        raise BadAnswer("the answer's numbers aren't readable") from error


def numbers(answer: Words, name: str) -> np.ndarray:
    """The answer's array of that name as float64.

    Raises:
        BadAnswer: it is missing or holds something else.
    """
    found = answer.get(name)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise BadAnswer(f"{name} isn't there")
    if found.size > MOST_NUMBERS:
        raise BadAnswer(f"{name} holds too many numbers")
    return found.astype(np.float64)


def number(answer: Words, name: str) -> float:
    """The answer's finite number of that name."""
    found = answer.get(name)
    try:
        value = math.nan if isinstance(found, bool) or not isinstance(found, (int, float)) else float(found)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise BadAnswer(f"{name} isn't a number")
    return value


def integers(answer: Words, name: str) -> list[int]:
    """The answer's list of integers of that name."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(item, int) and not isinstance(item, bool) for item in found):
        raise BadAnswer(f"{name} isn't a list of whole numbers")
    return found


def same_numbers(*names: str) -> Compare:
    """A compare that wants each of these arrays to be the solution's own."""

    def compare(answer: Words, expected: Words, facts) -> str:
        half = answer.get("half")
        for name in names:
            tolerance = HALF_TOLERANCE if isinstance(half, list) and name in half else TOLERANCE
            if why := difference(numbers(answer, name), numbers(expected, name), name, tolerance):
                return why
        return ""

    return compare


def difference(found: np.ndarray, expected: np.ndarray, name: str, tolerance: float = TOLERANCE) -> str:
    """How two arrays differ, without a value of either; "" if they don't."""
    if found.shape != expected.shape:
        return f"{name}: the shape is {list(found.shape)}, {list(expected.shape)} was asked for"
    if not np.isfinite(found).all():
        return f"{name}: there is NaN or infinity among the numbers"
    scale = max(float(np.abs(expected).max(initial=0)), 1e-6)
    wrong = np.abs(found - expected) > tolerance * scale
    if not wrong.any():
        return ""
    share = wrong.mean()
    return f"{name}: {'all' if share > 0.99 else f'{share:.0%} of the'} numbers differ from ours"


def same_words(name: str) -> Compare:
    """A compare that wants a list of texts to be the solution's own, one by one."""

    def compare(answer: Words, expected: Words, facts) -> str:
        found, wanted = answer.get(name), expected[name]
        if not isinstance(found, list) or len(found) != len(wanted):
            raise BadAnswer(f"there are no {name}")
        wrong = sum(a != b for a, b in zip(found, wanted, strict=True))
        return f"{wrong} of {len(wanted)} {name} differ from ours" if wrong else ""

    return compare
