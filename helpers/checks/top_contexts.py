"""Check of task 2.4: the strongest contexts of a latent.

Questions go from easy to hard, and each has one trap more than those before it, so that the first wrong
answer says which mistake it is. What is expected are activations, not positions: with ties any order will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.checks.answers import unchanged
from helpers.checks.verdict import CheckFailed, call, describe, must_be_callable, public_check

NAME = "top_contexts"
TENSORS_IN_SETS = "a tensor is never found `in` a set of numbers, so compare int(...) or .item() of it"


@dataclass(frozen=True)
class _Question:
    """One call: parallel lists, one entry per token; ``trap`` says what the question is there for."""

    trap: str
    latent: list[float]
    texts: list[int]
    tokens: list[int]
    special: tuple[int, ...] = ()
    k: int | None = None

    def strongest(self) -> np.ndarray:
        """The activations of the right answer, strongest first."""
        best: dict[int, float] = {}
        for value, text, token in zip(self.latent, self.texts, self.tokens, strict=True):
            if token not in self.special:
                best[text] = max(value, best.get(text, 0.0))
        found = sorted((value for value in best.values() if value > 0), reverse=True)
        return np.array(found[: self.k or 5])

    def values_at(self, indices: list[int]) -> np.ndarray:
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
        CheckFailed: an answer is wrong; the message names the mistake where it is a known one.
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
    """A longer question with everything at once; what the small ones let through is caught here."""
    random = torch.Generator().manual_seed(4)
    n = 400
    latent = (torch.randn(n, generator=random) + 0.2 * torch.rand(n, generator=random)).relu()
    texts, tokens = torch.randint(0, 30, (n,), generator=random), torch.randint(0, 50, (n,), generator=random)
    question = _Question("all", latent.tolist(), texts.tolist(), tokens.tolist(), (0, 1, 2, 7), k=12)
    indices = _ask(top_contexts, question)
    mistake = _mistake(question, indices, question.strongest())
    if mistake:
        raise CheckFailed(f"small examples come out right, but one of {n} tokens and 30 texts doesn't: {mistake}")


def _ask(function: Callable, question: _Question) -> list[int]:
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
    """The answer as Python ints, whatever holds them."""
    if value is None:
        raise CheckFailed(f"{NAME} gives None: is the return statement missing? A latent without contexts gives [].")
    if isinstance(value, torch.Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise CheckFailed(f"{NAME} gives {describe(value)}; expected is a list of indices (ints).")
    if any(isinstance(item, Sequence) for item in value):
        raise CheckFailed(f"{NAME} gives a list with {describe(value[0])} in it; expected are plain indices (ints).")
    try:
        numbers = [float(item) for item in value]
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckFailed(
            f"{NAME} gives a list with {describe(value[0])} in it; expected are indices (ints)."
        ) from error
    n = len(question.latent)
    if _looks_like(numbers, question.strongest()) and not _are_indices(numbers, n):
        raise CheckFailed("the activations are returned: return their indices, the positions in `latent`.")
    if not all(number == int(number) for number in numbers if np.isfinite(number)) or not np.isfinite(numbers).all():
        raise CheckFailed(f"{NAME} gives {numbers[:5]}, which aren't indices.")
    if not _are_indices(numbers, n):
        _explain_out_of_range(numbers, question)
    return [int(number) for number in numbers]


def _are_indices(numbers: list[float], n: int) -> bool:
    return all(number == int(number) and 0 <= number < n for number in numbers if np.isfinite(number))


def _looks_like(numbers: list[float], expected: np.ndarray) -> bool:
    return len(numbers) > 0 and len(numbers) == len(expected) and np.allclose(numbers, expected)


def _explain_out_of_range(numbers: list[float], question: _Question) -> None:
    """Raise: these numbers can't be indices."""
    if min(numbers) < 0:
        raise CheckFailed(f"{NAME} gives the negative index {int(min(numbers))}: count from the front.")
    for ids, name in ((question.tokens, "token ids"), (question.texts, "text ids")):
        if set(numbers) <= set(ids):
            raise CheckFailed(f"the {name} are returned: return the indices, the positions in `latent`.")
    raise CheckFailed(f"{NAME} gives the index {int(max(numbers))}, but there are {len(question.latent)} tokens.")


def _mistake(question: _Question, indices: list[int], expected: np.ndarray) -> str | None:
    """What is wrong with the answer to this question, or None."""
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
    """Rules that every answer obeys: special tokens, repeats, what isn't active."""
    texts = [question.texts[i] for i in indices]
    values = question.values_at(indices)
    if any(question.tokens[i] in question.special for i in indices):
        return f"a special token is among the contexts: skip tokens whose id is in special_ids ({TENSORS_IN_SETS})."
    if question.trap == "negative" and (values[:1] < 0).any() and np.allclose(sorted(-np.abs(values)), -np.abs(values)):
        return "the largest |activation| is taken: negative values aren't active, take the largest values above 0."
    if (values < 0).any():
        return "negative activations are among the contexts: only values above 0 count."
    if question.trap == "dead" and indices:
        return "a dead latent, 0 everywhere, gets contexts: return [], an argsort of zeros means nothing."
    if (values == 0).any():
        return "tokens with activation 0 are among the contexts: with fewer than k active texts the list is shorter."
    if len(set(indices)) < len(indices):
        return "an index appears twice."
    if len(set(texts)) < len(texts):
        return f"a text appears more than once: keep the strongest token of each text ({TENSORS_IN_SETS})."
    return None


def _wrong_order(values: np.ndarray, expected: np.ndarray) -> str | None:
    if len(values) != len(expected) or not np.allclose(np.sort(values)[::-1], expected):
        return None
    if np.allclose(values[::-1], expected):
        return "the order is ascending: the strongest activation comes first (argsort sorts upwards)."
    return "the right contexts are found, but they aren't sorted: the strongest activation comes first."


def _wrong_number(question: _Question, indices: list[int], expected: np.ndarray) -> str | None:
    k = 5 if question.k is None else question.k
    if len(indices) > k:
        return f"`k` is ignored: with k={k} there are {len(indices)} contexts."
    if len(indices) >= len(expected):
        return None
    if question.trap in ("order", "default k"):
        return f"without `k` there are {len(indices)} contexts: its default is 5."
    if question.trap == "special first":
        return (
            "a text is dropped because its strongest token is special: fall back to its strongest token that isn't, "
            "so leave special tokens out before you choose."
        )
    if question.trap in ("repeats", "all"):
        return (
            f"{len(indices)} contexts where {len(expected)} can be found: skip repeats and special tokens while you "
            "collect, not after you have cut the list to k."
        )
    if question.trap == "special":
        return (
            f"{len(indices)} contexts where {len(expected)} can be found: leave special tokens out before you cut to k."
        )
    if question.trap == "ties":
        return (
            f"{len(indices)} contexts where {len(expected)} can be found: equal activations in other texts count, too."
        )
    return f"{len(indices)} contexts where {len(expected)} can be found."


def _wrong_choice(question: _Question, indices: list[int], expected: np.ndarray) -> str:
    values = question.values_at(indices)
    n = len(values)
    if question.trap in ("order", "k") and np.allclose(np.sort(values), np.sort(question.latent)[:n]):
        return "the weakest activations are taken: argsort sorts upwards, so take its end or descending=True."
    if question.trap == "special first":
        return (
            "a text is dropped because its strongest token is special: fall back to its strongest token that isn't, "
            "so leave special tokens out before you choose."
        )
    if question.trap in ("repeats", "all"):
        return "a text is there with a token that isn't its strongest: keep the strongest token of each text."
    return f"the activations found are {values.tolist()[:5]}; the strongest are {expected.tolist()[:5]}."
