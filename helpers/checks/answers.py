"""Convert a student's answer to numbers. Any type with the right values and shape is accepted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from helpers.checks.verdict import CheckFailed, describe

FULL_PRECISION = (
    2e-4  # fraction of the largest expected value; summing in fp32 in another order causes far smaller errors
)
HALF_PRECISION = 3e-2  # bf16 has eight significant bits


class Answer:
    """The numbers of an answer and their rounding tolerance.

    Attributes:
        values: float64 array.
        tolerance: allowed rounding error, as a fraction of the largest expected value.
    """

    def __init__(self, values: np.ndarray, tolerance: float):
        self.values, self.tolerance = values, tolerance

    def equals(self, expected: np.ndarray) -> bool:
        """Return whether every number agrees within the tolerance."""
        if self.values.shape != np.shape(expected):
            return False
        scale = max(float(np.abs(expected).max(initial=0)), 1e-6)
        return bool(np.abs(self.values - expected).max(initial=0) <= self.tolerance * scale)

    def factor(self, expected: np.ndarray) -> float | None:
        """Return c if the answer is c times ``expected`` and c isn't 1, else None."""
        norm = float((expected * expected).sum())
        if norm == 0:
            return None
        factor = float((self.values * expected).sum()) / norm
        same_direction = abs(factor) > 1e-3 and self.equals(factor * expected)
        return factor if same_direction and abs(factor - 1) > self.tolerance else None


def read(value, shape: tuple[int, ...], what: str, hints: Mapping[tuple, str] = {}) -> Answer:
    """Read tensors (any dtype, device, with gradients or without), arrays, numbers and lists of these.

    Args:
        shape: the shape that the answer must have.
        what: the answer's name in a message, such as "collect_average_residuals(...)".
        hints: wrong shape -> what probably happened, as one sentence.

    Raises:
        CheckFailed: the answer is None, holds no numbers, has another shape, or is NaN or infinite.
    """
    if value is None:
        raise CheckFailed(f"{what} gives None: add the return statement.")
    try:
        array, half = as_array(value)
    except (TypeError, ValueError, RuntimeError) as error:
        ragged = isinstance(value, list | tuple) and value and all(isinstance(v, torch.Tensor) for v in value)
        found = f"tensors of the shapes {[list(v.shape) for v in value][:4]}" if ragged else describe(value)
        raise CheckFailed(f"{what} gives {found}; return a tensor of shape {list(shape)}.") from error
    if array.shape != tuple(shape):
        hint = hints.get(array.shape, "")
        raise CheckFailed(f"{what} has shape {list(array.shape)}; the expected shape is {list(shape)}. {hint}".rstrip())
    if not np.isfinite(array).all():
        bad = "NaN" if np.isnan(array).any() else "infinite values"
        raise CheckFailed(f"{what} holds {bad}: look for a division by zero or a mean over an empty tensor.")
    return Answer(array, HALF_PRECISION if half else FULL_PRECISION)


def as_array(value) -> tuple[np.ndarray, bool]:
    """Return an answer's numbers as float64, and whether any of them had half precision.

    Tensors, arrays, numbers and lists of these are accepted.

    Raises:
        TypeError, ValueError, RuntimeError: the value holds no numbers, or rows of different shapes.
    """
    if isinstance(value, torch.Tensor):
        half = value.dtype in (torch.bfloat16, torch.float16)
        return value.detach().to("cpu", torch.float64).numpy(), half
    if isinstance(value, np.ndarray):
        return value.astype(np.float64), value.dtype == np.float16
    if isinstance(value, list | tuple):
        parts = [as_array(part) for part in value]
        return np.stack([array for array, _ in parts]), any(half for _, half in parts)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{type(value).__name__} holds no numbers")
    return np.asarray(value, dtype=np.float64), False


def unchanged(tensor: torch.Tensor, before: torch.Tensor, what: str) -> None:
    """Raise :class:`CheckFailed` if the student's code changed an argument."""
    if tensor.shape != before.shape or not torch.equal(tensor, before):
        raise CheckFailed(
            f"{what} is changed by your code. An in-place operation, such as += or a method ending in _, writes into "
            f"the argument: work on a new tensor."
        )
