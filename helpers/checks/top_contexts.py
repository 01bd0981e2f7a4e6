"""Check of task 2.4: the strongest contexts of a latent.

The questions go from easy to hard, and each adds one trap: the first wrong answer shows which mistake it is.
Activations are compared, not positions, so tied tokens may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.checks.answers import unchanged
from helpers.checks.verdict import CheckFailed, call, describe, must_be_callable, public_check

NAME = "top_contexts"
TENSORS_IN_SETS = "a tensor is never `in` a set of numbers: convert it with int(...) or .item() first"
TEXT_DROPPED = (
    "a text is dropped because its strongest token is special: leave out special tokens before you choose the "
    "strongest token of each text."
)


@dataclass(frozen=True)
class _Question:
    """The arguments of one call: parallel lists, one entry per token. ``trap`` names what the question tests."""

    trap: str
    latent: list[float]
    texts: list[int]
    tokens: list[int]
    special: tuple[int, ...] = ()
    k: int | None = None

    def strongest(self) -> np.ndarray:
        """Return the activations of the right answer, strongest first."""
        best: dict[int, float] = {}
        for value, text, token in zip(self.latent, self.texts, self.tokens, strict=True):
            if token not in self.special:
                best[text] = max(value, best.get(text, 0.0))
        active = sorted((value for value in best.values() if value > 0), reverse=True)
        return np.array(active[: self.k or 5])

    def values_at(self, indices: list[int]) -> np.ndarray:
        """Return the activations at these indices."""
        return np.array([self.latent[i] for i in indices])


QUESTIONS = (
    _Question("order", [0.5, 3.5, 1.25, 2.0, 0.25], [0, 1, 2, 3, 4], [11, 12, 13, 14, 15]),
    _Question("k", [0.5, 3.5, 1.25, 2.0, 0.25, 4.0, 2.75], [0, 1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16, 17], k=3),
    _Question(
        "default k", [0.5, 3.5, 1.25, 2.0, 0.25, 4.0, 2.75, 3.0], [9, 3, 7, 2, 5, 1, 8, 4],
        [20, 21, 22, 23, 24, 25, 26, 27],
    ),
    _Question(
        "repeats", [1.5, 6.0, 5.5, 0.75, 2.0, 5.0, 1.0, 2.5, 6.5, 3.0], [4, 4, 4, 2, 2, 2, 7, 7, 4, 5],
        [30, 31, 32, 33, 34, 35, 36, 37, 38, 39], k=4,
    ),
    _Question("special", [7.0, 1.5, 6.0, 2.5, 0.5, 3.0], [1, 2, 3, 4, 5, 6], [0, 12, 1, 13, 14, 15], (0, 1), k=3),
    _Question(
        "special first", [9.0, 4.5, 1.0, 8.0, 2.0, 5.0, 3.0, 0.5], [1, 1, 1, 2, 2, 3, 3, 4],
        [0, 12, 13, 1, 14, 15, 16, 17], (0, 1), k=3,
    ),
    _Question("dead", [0.0] * 6, [0, 0, 1, 1, 2, 2], [11, 12, 13, 14, 15, 16], k=3),
    _Question("fewer", [0.0, 2.5, 0.0, 1.5, 0.0, 0.0, 0.5], [0, 1, 2, 3, 4, 5, 1], [11, 12, 13, 14, 15, 16, 17]),
    _Question("k above n", [0.5, 2.5, 1.5], [0, 1, 2], [11, 12, 13], k=10),
    _Question("negative", [-6.0, 1.5, -0.5, 2.5, -7.0, 0.5], [0, 1, 2, 3, 4, 5], [11, 12, 13, 14, 15, 16], k=4),
    _Question("ties", [2.0, 1.0, 2.0, 2.0, 1.0, 2.0], [0, 1, 2, 0, 3, 4], [11, 12, 13, 14, 15, 16], k=4),
    _Question("only special", [5.0, 4.0], [0, 1], [0, 1], (0, 1), k=2),
)  # fmt: skip


@public_check("2.4")
def task_2_4(top_contexts: Callable) -> None:
    """Check ``top_contexts(latent, text_ids, token_ids, special_ids, k)`` of task 2.4 on small tensors.

    Raises:
        CheckFailed: an answer is wrong; the message names the mistake if it is a known one.
        NotDone: the function is still the stub.
    """
    must_be_callable(top_contexts, NAME)
    for question in QUESTIONS:
        indices = _ask(top_contexts, question)
        expected = question.strongest()
        mistake = _mistake(question, indices, expected)
        if mistake:
            raise CheckFailed(mistake)
    _check_scrambled(top_contexts)


def _check_scrambled(top_contexts: Callable) -> None:
    """Ask a longer question with all traps at once, to catch mistakes that the small ones miss."""
    random = torch.Generator().manual_seed(4)
    n = 400
    latent = (torch.randn(n, generator=random) + 0.2 * torch.rand(n, generator=random)).relu()
    texts, tokens = torch.randint(0, 30, (n,), generator=random), torch.randint(0, 50, (n,), generator=random)
    question = _Question("all", latent.tolist(), texts.tolist(), tokens.tolist(), (0, 1, 2, 7), k=12)
    indices = _ask(top_contexts, question)
    mistake = _mistake(question, indices, question.strongest())
    if mistake:
        raise CheckFailed(f"the small examples are right, but a larger one ({n} tokens, 30 texts) isn't: {mistake}")


def _ask(function: Callable, question: _Question) -> list[int]:
    """Return the indices that the function chooses. Raise if it changes an argument."""
    latent, texts, tokens = (
        torch.tensor(question.latent), torch.tensor(question.texts), torch.tensor(question.tokens)
    )  # fmt: skip
    given: list = [latent.clone(), texts.clone(), tokens.clone(), set(question.special)]
    value = call(function, *given) if question.k is None else call(function, *given, k=question.k)
    for tensor, before, name in zip(given, (latent, texts, tokens), ("latent", "text_ids", "token_ids"), strict=False):
        unchanged(tensor, before, f"`{name}`")
    if given[3] != set(question.special):
        raise CheckFailed("`special_ids` is changed by your code: work on a copy.")
    return _indices(value, question)


def _indices(value, question: _Question) -> list[int]:
    """Return the answer as a list of ints. Tensors, arrays and sequences of numbers are accepted."""
    if value is None:
        raise CheckFailed(f"{NAME} gives None: add the return statement. For a latent without contexts, return [].")
    if isinstance(value, torch.Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise CheckFailed(f"{NAME} gives {describe(value)}; return a list of indices (ints).")
    if any(isinstance(item, Sequence) for item in value):
        raise CheckFailed(f"{NAME} gives a list that holds {describe(value[0])}; return plain indices (ints).")
    try:
        numbers = [float(item) for item in value]
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckFailed(f"{NAME} gives a list that holds {describe(value[0])}; return indices (ints).") from error
    n = len(question.latent)
    if _looks_like(numbers, question.strongest()) and not _are_indices(numbers, n):
        raise CheckFailed("the activations are returned: return their indices, the positions in `latent`.")
    if not all(number == int(number) for number in numbers if np.isfinite(number)) or not np.isfinite(numbers).all():
        raise CheckFailed(f"{NAME} gives {numbers[:5]}, which aren't indices: return whole numbers.")
    if not _are_indices(numbers, n):
        _explain_out_of_range(numbers, question)
    return [int(number) for number in numbers]


def _are_indices(numbers: list[float], n: int) -> bool:
    return all(number == int(number) and 0 <= number < n for number in numbers if np.isfinite(number))


def _looks_like(numbers: list[float], expected: np.ndarray) -> bool:
    return len(numbers) > 0 and len(numbers) == len(expected) and np.allclose(numbers, expected)


def _explain_out_of_range(numbers: list[float], question: _Question) -> None:
    """Raise :class:`CheckFailed` with the reason why these numbers aren't indices."""
    if min(numbers) < 0:
        raise CheckFailed(f"{NAME} gives the negative index {int(min(numbers))}: count from the start of `latent`.")
    for ids, name in ((question.tokens, "token ids"), (question.texts, "text ids")):
        if set(numbers) <= set(ids):
            raise CheckFailed(f"the {name} are returned: return the indices, the positions in `latent`.")
    n = len(question.latent)
    raise CheckFailed(
        f"{NAME} gives the index {int(max(numbers))}, but there are {n} tokens: the last index is {n - 1}."
    )


def _mistake(question: _Question, indices: list[int], expected: np.ndarray) -> str | None:
    """Return what is wrong with the answer to this question, or None."""
    values = question.values_at(indices)
    if len(values) == len(expected) and np.allclose(values, expected) and not _breaks_a_rule(question, indices):
        return None
    return (
        _breaks_a_rule(question, indices)
        or _wrong_order(values, expected)
        or _wrong_number(question, indices, expected)
        or _wrong_choice(question, indices, expected)
    )


def _breaks_a_rule(question: _Question, indices: list[int]) -> str | None:
    """Return which rule is broken, or None. Contexts are active, not special, and from different texts."""
    texts = [question.texts[i] for i in indices]
    values = question.values_at(indices)
    if any(question.tokens[i] in question.special for i in indices):
        return f"a special token is among the contexts: skip tokens whose id is in special_ids ({TENSORS_IN_SETS})."
    if question.trap == "negative" and (values[:1] < 0).any() and np.allclose(sorted(-np.abs(values)), -np.abs(values)):
        return "the largest |activation| is taken, but negative values aren't active: take the largest values above 0."
    if (values < 0).any():
        return "negative activations are among the contexts: only values above 0 count."
    if question.trap == "dead" and indices:
        return "a dead latent (0 at every token) gets contexts: return [], since the order of zeros means nothing."
    if (values == 0).any():
        return "tokens with activation 0 are among the contexts: return fewer than k if fewer texts are active."
    if len(set(indices)) < len(indices):
        return "an index appears twice: return each index once."
    if len(set(texts)) < len(texts):
        return f"a text appears more than once: keep only the strongest token of each text ({TENSORS_IN_SETS})."
    return None


def _wrong_order(values: np.ndarray, expected: np.ndarray) -> str | None:
    """Return what is wrong if the right activations come in the wrong order, else None."""
    if len(values) != len(expected) or not np.allclose(np.sort(values)[::-1], expected):
        return None
    if np.allclose(values[::-1], expected):
        return "the order is ascending: put the strongest activation first (argsort sorts in ascending order)."
    return "the right contexts are found, but they aren't sorted: put the strongest activation first."


def _wrong_number(question: _Question, indices: list[int], expected: np.ndarray) -> str | None:
    """Return what is wrong if there are too many or too few contexts, else None."""
    k = 5 if question.k is None else question.k
    if len(indices) > k:
        return f"`k` is ignored: with k={k} there are {len(indices)} contexts. Return at most k."
    if len(indices) >= len(expected):
        return None
    wrong_length = f"the list has length {len(indices)} instead of {len(expected)}"
    if question.trap in ("order", "default k"):
        return f"without `k` there are {len(indices)} contexts: its default is 5."
    if question.trap == "special first":
        return TEXT_DROPPED
    if question.trap in ("repeats", "all"):
        return f"{wrong_length}: skip repeated texts and special tokens before you cut it to k."
    if question.trap == "special":
        return f"{wrong_length}: leave out special tokens before you cut it to k."
    if question.trap == "ties":
        return f"{wrong_length}: equal activations in other texts count, too."
    return f"{wrong_length}."


def _wrong_choice(question: _Question, indices: list[int], expected: np.ndarray) -> str:
    """Return what is wrong if the list is long enough but holds other activations."""
    values = question.values_at(indices)
    n = len(values)
    if question.trap in ("order", "k") and np.allclose(np.sort(values), np.sort(question.latent)[:n]):
        return "the weakest activations are taken: argsort sorts in ascending order, so pass descending=True."
    if question.trap == "special first":
        return TEXT_DROPPED
    if question.trap in ("repeats", "all"):
        return "a text is represented by a token that isn't its strongest: keep the strongest token of each text."
    return f"the chosen activations are {values.tolist()[:5]}, but the strongest are {expected.tolist()[:5]}."
