"""Check of task 1.1: average residuals of sentences, per layer.

Every way of averaging, right or wrong, is a sum over sentences, streams and positions with some weights.
The check computes the sums for a table of weights and looks up whose answer the student's is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from helpers.checks.answers import Answer, read
from helpers.checks.toy import left_as_it_was, toy_model
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
    """Residual streams of some sentences: ``values[sentence]`` is ``[n_layers + 1, tokens, d_model]``."""

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
    """0/1 over T positions: 1 from ``first`` up to ``last``."""

    def mask(tokens: int) -> np.ndarray:
        weights = np.zeros(tokens)
        weights[first:last] = 1
        return weights

    return mask


# What is wrong with the positions -> weights of one sentence's T positions (position 0 is BOS).
POSITIONS = {
    "": lambda T: _from(1)(T) / (T - 1),
    "BOS is averaged in: leave out position 0, whose norm in a real model drowns all the others": (
        lambda T: np.full(T, 1 / T)
    ),
    "BOS is left out of the sum but still counted in the division: divide by the number of tokens that you sum": (
        lambda T: _from(1)(T) / T
    ),
    "only the last token of each sentence is used: average over all its tokens but BOS": _from(-1),
    "only the first token after BOS is used: average over all tokens but BOS": _from(1, 2),
    "only BOS is used: average over all tokens but this one": _from(0, 1),
    "the last token of each sentence is left out: drop position 0 only": (lambda T: _from(1, -1)(T) / max(T - 2, 1)),
    "BOS is kept and the last token dropped: it is position 0 that has to go ([1:], not [:-1])": (
        lambda T: _from(0, -1)(T) / (T - 1)
    ),
    "the first word is dropped together with BOS: drop position 0 only": lambda T: _from(2)(T) / max(T - 2, 1),
    "the tokens of a sentence are summed, not averaged": _from(1),
    "BOS is included, and the tokens of a sentence are summed instead of averaged": _from(0),
}
# What is wrong with the sentences -> factor for sentence s of S with T tokens, of N tokens in all.
SENTENCE_WEIGHTS = {
    "": lambda s, S, T, N: 1 / S,
    "the sentences are summed: divide by their number": lambda s, S, T, N: 1.0,
    "all tokens are pooled, so that long sentences weigh more: average each sentence first": (
        lambda s, S, T, N: (T - 1) / (N - S)
    ),
    "all tokens, BOS among them, are pooled, so that long sentences weigh more: average each sentence first": (
        lambda s, S, T, N: T / N
    ),
    "only the first sentence is used: is there a return inside the loop?": lambda s, S, T, N: float(s == 0),
    "only the last sentence is used: is its mean assigned (=) where it should be added (+=)?": (
        lambda s, S, T, N: float(s == S - 1)
    ),
    "only the last sentence is used, divided by the number of sentences: add (+=) each sentence's mean": (
        lambda s, S, T, N: float(s == S - 1) / S
    ),
    "the first sentence is left out": lambda s, S, T, N: float(s > 0) / (S - 1),
}
# What is wrong with the layers -> where the answers for layers 0, 1, 2 were read (3 is after the last block).
LAYERS = {
    "": [0, 1, 2],
    "the layers are off by one: row L holds hook_resid_post of layer L, but hook_resid_pre is asked for": [1, 2, 3],
    "the layers are shifted by one: row L holds layer L - 1": [2, 0, 1],
    "the layers are shifted by one: row L holds layer L + 1": [1, 2, 0],
    "the layers are in reverse order": [2, 1, 0],
    "every row holds the last layer: is the layer's number used inside the loop?": [2, 2, 2],
    "every row holds layer 0: is the layer's number used inside the loop?": [0, 0, 0],
    "every row holds the residual stream after the last block": [3, 3, 3],
}
PADDING = (
    "padding is averaged in: a batch fills sentences up to the longest, so run them one by one or leave padding out"
)
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
    with left_as_it_was(model, NAME):
        answer = _ask(collect_average_residuals, model, SENTENCES)
        again = _ask(collect_average_residuals, model, SENTENCES)
        single = _ask(collect_average_residuals, model, alone)
    expected = _streams(model, SENTENCES).weighted(_weights("", ""), LAYERS[""])
    if not answer.equals(expected):
        raise CheckFailed(_diagnosis(answer, expected, model))
    if not again.equals(expected):
        raise CheckFailed(
            "the second call with the same sentences gives something else: does a sum live outside the function?"
        )
    if not single.equals(_streams(model, alone).weighted(_weights("", ""), LAYERS[""])):
        raise CheckFailed("four sentences come out right, but a list of one sentence doesn't.")


def _ask(function: Callable, model, sentences: list[str]) -> Answer:
    given = list(sentences)
    value = call_on_small(function, model.cfg.n_layers, model, given)
    if given != sentences:
        raise CheckFailed("your function changes the list of sentences that it is given.")
    layers, width, n = model.cfg.n_layers, model.cfg.d_model, len(sentences)
    shape_hints = {
        (width,): "One row per layer is wanted: is it one layer only, or are the layers averaged, too?",
        (1, width): "One row per layer is wanted; this is one layer only.",
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
    """Residual streams of sentences, run one by one or, with ``padded``, as one right-padded batch."""
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
    """Mistakes and their answers; one mistake alone comes before two at a time."""
    plain = _streams(model, SENTENCES)
    combinations = [names for names in product(POSITIONS, SENTENCE_WEIGHTS, LAYERS) if _count(names) in (1, 2)]
    for names in sorted(combinations, key=_count):
        message = "; besides, ".join(name for name in names if name)
        yield message, plain.weighted(_weights(*names[:2]), LAYERS[names[2]])
    padded, unbegun = _streams(model, SENTENCES, padded=True), _streams(model, SENTENCES, bos=False)
    for positions, note in ((_from(1), ""), (_from(0), "; besides, BOS is averaged in")):
        yield PADDING + note, padded.weighted(_average(positions), LAYERS[""])
    for positions, note in ((_from(0), ""), (_from(1), "; here the first word is dropped in its place")):
        yield NO_BOS + note, unbegun.weighted(_average(positions), LAYERS[""])


def _count(names: tuple[str, ...]) -> int:
    return sum(map(bool, names))


def _average(positions: Callable[[int], np.ndarray]) -> Callable[[int, int, int, int], np.ndarray]:
    """Weights that average the positions that are 1, every sentence alike."""
    return lambda s, S, T, N: positions(T) / max(positions(T).sum(), 1) / S


def _diagnosis(answer: Answer, expected: np.ndarray, model) -> str:
    for mistake, value in _candidates(model):
        if answer.equals(value):
            return f"{mistake}."
    factor = answer.factor(expected)
    if factor is not None:
        return f"the direction is right, but your averages are {factor:.3g} times as long as they should be."
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    if answer.equals(unit):
        return "the averages are normalised to length 1: return them as they are."
    return (
        "the averages differ from the expected ones, in a way that the check doesn't know. Per layer: hook_resid_pre, "
        "mean over a sentence's tokens without BOS, then mean over the sentences."
    )
