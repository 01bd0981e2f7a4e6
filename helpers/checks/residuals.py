"""Check of task 1.1: average residuals of sentences, per layer.

Every way of averaging, right or wrong, is a sum over sentences, streams and positions with some weights.
The check computes these sums for a table of weights and finds the one that equals the student's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from helpers.checks.answers import Answer, read
from helpers.checks.toy import restored, toy_model
from helpers.checks.verdict import CheckFailed, call_on_small, must_be_callable, public_check

SENTENCES = [
    "the food was good",
    "my day",
    "this film that she saw felt slow and bad",
    "it was late because they took a walk",
]
NAME = "collect_average_residuals"
HOOK = "blocks.{}.hook_resid_pre"


@dataclass(frozen=True)
class _Streams:
    """The residual streams of some sentences: ``values[sentence]`` is ``[n_layers + 1, tokens, d_model]``."""

    values: list[np.ndarray]

    def weighted(self, weights: Callable[[int, int, int, int], np.ndarray], layers: list[int]) -> np.ndarray:
        """``[n_layers d_model]``: the sum of all positions with ``weights(s, S, T, N)``, read at ``layers``."""
        total = sum(len(stream[0]) for stream in self.values)
        parts = [
            np.einsum("ltd,t->ld", stream[layers], weights(s, len(self.values), stream.shape[1], total))
            for s, stream in enumerate(self.values)
        ]
        return np.sum(parts, axis=0)


def _from(first: int, last: int | None = None) -> Callable[[int], np.ndarray]:
    """Return a function from T to a mask over T positions: 1 from ``first`` up to ``last``."""

    def mask(tokens: int) -> np.ndarray:
        weights = np.zeros(tokens)
        weights[first:last] = 1
        return weights

    return mask


# Mistake in the positions -> weights of one sentence's T positions (position 0 is BOS).
POSITIONS = {
    "": lambda T: _from(1)(T) / (T - 1),
    "BOS is averaged in: leave out position 0, whose large norm in a real model dominates the average": (
        lambda T: np.full(T, 1 / T)
    ),
    "BOS is left out of the sum but still counted in the division: divide by the number of summed tokens": (
        lambda T: _from(1)(T) / T
    ),
    "only the last token of each sentence is used: average over all its tokens except BOS": _from(-1),
    "only the first token after BOS is used: average over all tokens except BOS": _from(1, 2),
    "only BOS is used: average over all other tokens": _from(0, 1),
    "the last token of each sentence is left out: drop position 0 only": (lambda T: _from(1, -1)(T) / max(T - 2, 1)),
    "BOS is kept and the last token dropped: drop position 0 instead ([1:], not [:-1])": (
        lambda T: _from(0, -1)(T) / (T - 1)
    ),
    "the first word is dropped together with BOS: drop position 0 only": lambda T: _from(2)(T) / max(T - 2, 1),
    "the tokens of a sentence are summed, not averaged: take the mean": _from(1),
    "BOS is included, and the tokens of a sentence are summed instead of averaged": _from(0),
}
# Mistake in the sentences -> factor for sentence s of S with T tokens, of N tokens in all.
SENTENCE_WEIGHTS = {
    "": lambda s, S, T, N: 1 / S,
    "the sentences are summed: divide by their number": lambda s, S, T, N: 1.0,
    "all tokens are pooled, so that long sentences weigh more: average each sentence first": (
        lambda s, S, T, N: (T - 1) / (N - S)
    ),
    "all tokens, BOS included, are pooled, so that long sentences weigh more: average each sentence first": (
        lambda s, S, T, N: T / N
    ),
    "only the first sentence is used: is there a return inside the loop?": lambda s, S, T, N: float(s == 0),
    "only the last sentence is used: is its mean assigned (=) where it should be added (+=)?": (
        lambda s, S, T, N: float(s == S - 1)
    ),
    "only the last sentence is used, divided by the number of sentences: add (+=) each sentence's mean": (
        lambda s, S, T, N: float(s == S - 1) / S
    ),
    "the first sentence is left out: use all sentences": lambda s, S, T, N: float(s > 0) / (S - 1),
}
# Mistake in the layers -> where the answers for layers 0, 1, 2 were read (3 is after the last block).
LAYERS = {
    "": [0, 1, 2],
    "the layers are off by one: row L holds hook_resid_post of layer L, so read hook_resid_pre": [1, 2, 3],
    "the layers are shifted by one: row L holds layer L - 1": [2, 0, 1],
    "the layers are shifted by one: row L holds layer L + 1": [1, 2, 0],
    "the layers are in reverse order: row L holds layer L": [2, 1, 0],
    "every row holds the last layer: is the layer's number used inside the loop?": [2, 2, 2],
    "every row holds layer 0: is the layer's number used inside the loop?": [0, 0, 0],
    "every row holds the residual stream after the last block: read hook_resid_pre of layer L": [3, 3, 3],
}
PADDING = "padding is averaged in: a batch pads sentences to the longest, so run them one by one or mask the padding"
NO_BOS = "the sentences are run without BOS: leave prepend_bos at its default and drop position 0 afterwards"


@public_check("1.1")
def task_1_1(collect_average_residuals: Callable) -> None:
    """Check ``collect_average_residuals(model, sentences)`` of task 1.1 on a toy model.

    Raises:
        CheckFailed: the answer is wrong; the message names the mistake where it is a known one.
        NotDone: the function is still the stub.
    """
    must_be_callable(collect_average_residuals, NAME)
    model = toy_model()
    alone = SENTENCES[2:3]
    with restored(model, NAME):
        answer = _ask(collect_average_residuals, model, SENTENCES)
        again = _ask(collect_average_residuals, model, SENTENCES)
        single = _ask(collect_average_residuals, model, alone)
    expected = _streams(model, SENTENCES).weighted(_weights("", ""), LAYERS[""])
    if not answer.equals(expected):
        raise CheckFailed(_diagnosis(answer, expected, model))
    if not again.equals(expected):
        raise CheckFailed(
            "the second call with the same sentences gives another result: keep the sum inside the function."
        )
    if not single.equals(_streams(model, alone).weighted(_weights("", ""), LAYERS[""])):
        raise CheckFailed(
            "the result is right for four sentences and wrong for a list of one sentence: check how you divide."
        )


def _ask(function: Callable, model, sentences: list[str]) -> Answer:
    given = list(sentences)
    value = call_on_small(function, model.cfg.n_layers, model, given)
    if given != sentences:
        raise CheckFailed("your function changes the list of sentences: work on a copy.")
    layers, width, n = model.cfg.n_layers, model.cfg.d_model, len(sentences)
    shape_hints = {
        (width,): "One row per layer is needed: this is one layer only, or an average over the layers.",
        (1, width): "One row per layer is needed; this is one layer only.",
        (width, layers): "Rows and columns are swapped: stack the layers along dimension 0.",
        (layers, 1, width): "The batch dimension is still there: take [0] of the cached activation.",
        (layers + 1, width): "That is one layer too many: read hook_resid_pre of layers 0 to n_layers - 1.",
        (layers,): "The mean is over the wrong axis: average over positions, and keep d_model.",
        (n, layers, width): "The mean over the sentences is missing.",
        (layers, n, width): "The mean over the sentences is missing.",
    }
    tokens = [model.to_tokens(sentence).shape[1] for sentence in sentences]
    for count in {count - drop for count in tokens for drop in (0, 1)}:
        if count != width:
            shape_hints[layers, count] = "The mean is over the wrong axis: average over positions, and keep d_model."
            shape_hints[layers, count, width] = "The mean over the positions is missing."
    return read(value, (layers, width), f"{NAME}(model, sentences)", shape_hints)


def _weights(position: str, sentence: str) -> Callable[[int, int, int, int], np.ndarray]:
    return lambda s, S, T, N: POSITIONS[position](T) * SENTENCE_WEIGHTS[sentence](s, S, T, N)


@torch.no_grad()
def _streams(model, sentences: list[str], bos: bool = True, padded: bool = False) -> _Streams:
    """Return the residual streams of sentences, run one by one or as one right-padded batch."""
    if padded:
        return _Streams(list(_read(model, model.to_tokens(sentences, prepend_bos=bos))))
    return _Streams([_read(model, model.to_tokens(text, prepend_bos=bos))[0] for text in sentences])


def _read(model, tokens: torch.Tensor) -> np.ndarray:
    """``[batch, n_layers + 1, tokens, d_model]``: the stream before each block and after the last."""
    last = model.cfg.n_layers - 1
    names = [HOOK.format(layer) for layer in range(last + 1)] + [f"blocks.{last}.hook_resid_post"]
    _, cache = model.run_with_cache(tokens, names_filter=names)
    return torch.stack([cache[name] for name in names], 1).double().cpu().numpy()


def _candidates(model) -> Iterator[tuple[str, np.ndarray]]:
    """Yield mistakes and their answers: single mistakes first, then pairs."""
    plain = _streams(model, SENTENCES)
    combinations = [names for names in product(POSITIONS, SENTENCE_WEIGHTS, LAYERS) if _count(names) in (1, 2)]
    for names in sorted(combinations, key=_count):
        message = "; besides, ".join(name for name in names if name)
        yield message, plain.weighted(_weights(*names[:2]), LAYERS[names[2]])
    padded, unbegun = _streams(model, SENTENCES, padded=True), _streams(model, SENTENCES, bos=False)
    for positions, note in ((_from(1), ""), (_from(0), "; besides, BOS is averaged in")):
        yield PADDING + note, padded.weighted(_average(positions), LAYERS[""])
    for positions, note in ((_from(0), ""), (_from(1), "; besides, the first word is dropped")):
        yield NO_BOS + note, unbegun.weighted(_average(positions), LAYERS[""])


def _count(names: tuple[str, ...]) -> int:
    return sum(map(bool, names))


def _average(positions: Callable[[int], np.ndarray]) -> Callable[[int, int, int, int], np.ndarray]:
    """Return weights that average the positions with a 1; all sentences count equally."""
    return lambda s, S, T, N: positions(T) / max(positions(T).sum(), 1) / S


def _diagnosis(answer: Answer, expected: np.ndarray, model) -> str:
    for mistake, value in _candidates(model):
        if answer.equals(value):
            return f"{mistake}."
    factor = answer.factor(expected)
    if factor is not None:
        return f"the averages are {factor:.3g} times as long as they should be: check what you divide by."
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    if answer.equals(unit):
        return "the averages are normalised to length 1: return them unscaled."
    return (
        "the averages are wrong, and the check doesn't know this mistake. Per layer, read hook_resid_pre, take the "
        "mean over a sentence's tokens without BOS, then the mean over the sentences."
    )
