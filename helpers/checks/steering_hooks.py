"""Check of task 1.2, first half: what each steering hook adds to the residual stream, and where."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import torch

from helpers.checks.answers import Answer, read, unchanged
from helpers.checks.verdict import CheckFailed, call, call_on_small, describe

NAME = "make_steering_hooks"
WANTED = "blocks.L.hook_resid_pre"
BATCH, LENGTH = 2, 5

# Each table maps a mistake to its effect; the key "" stands for no mistake. Coefficient c -> the factor of the vector
# that is added.
FACTORS: dict[str, Callable[[float], float]] = {
    "": lambda c: c,
    "the sign is wrong: add coefficient * vector, don't subtract it": lambda c: -c,
    "the coefficient is missing (the vector is added once, whatever the coefficient is): multiply by it": lambda c: 1.0,
    "the coefficient is applied twice (its square is added): multiply by it once": lambda c: c * c,
    "the vector is added twice: add it once": lambda c: 2 * c,
    "the vector is divided by the coefficient: multiply": lambda c: 1 / c,
    "the coefficient's sign is lost: don't take its absolute value": abs,
    "the hooks change nothing: add coefficient * vector": lambda c: 0.0,
    "1 + coefficient times the vector is added: add coefficient * vector": lambda c: 1 + c,
}
# Positions that are edited: [BATCH LENGTH] of 0 and 1.
PLACES: dict[str, Callable[[np.ndarray], None]] = {
    "": lambda edited: edited[:, -1:].fill(1),
    "all positions are steered: steer only the last one, [:, -1, :]": lambda edited: edited.fill(1),
    "the first position is steered: steer the last one, [:, -1, :]": lambda edited: edited[:, :1].fill(1),
    "the position before the last is steered: the last one is [:, -1, :]": lambda edited: edited[:, -2:-1].fill(1),
    "all positions but the last are steered: steer only the last one": lambda edited: edited[:, :-1].fill(1),
    "all positions but the first are steered: steer only the last one": lambda edited: edited[:, 1:].fill(1),
    "only the first text of a batch is steered: edit [:, -1, :], not [0, -1, :]": lambda edited: edited[:1, -1:].fill(
        1
    ),
    "the batch and the position are mixed up: [-1] is the last text of the batch, [:, -1, :] the last position": (
        lambda edited: edited[-1:].fill(1)
    ),
}
# Vectors [n_layers d_model], layers with a hook -> the vector that each of these layers gets.
VECTORS: dict[str, Callable[[np.ndarray, list[int]], np.ndarray]] = {
    "": lambda v, layers: v[layers],
    "every hook adds the vector of the last layer in the loop: a function looks up its variables when it runs, after "
    "the loop, so bind the vector early: use a function that returns the hook, or a default (vector=vector)": (
        lambda v, layers: v[[layers[-1]] * len(layers)]
    ),
    "every hook adds the same vector, that of layer 0: each layer has its own, vectors[layer]": (
        lambda v, layers: v[[0] * len(layers)]
    ),
    "every hook adds the same vector, that of the model's last layer: each layer has its own, vectors[layer]": (
        lambda v, layers: v[[-1] * len(layers)]
    ),
    "the vectors are counted from the first hook on: layer L needs vectors[L], also if `layers` names only some": (
        lambda v, layers: v[: len(layers)]
    ),
    "the vectors are shifted: layer L gets the vector of layer L + 1": (
        lambda v, layers: v[[(layer + 1) % len(v) for layer in layers]]
    ),
    "the vectors are shifted: layer L gets the vector of layer L - 1": lambda v, layers: v[
        [layer - 1 for layer in layers]
    ],
    "the sum of all vectors is added at each layer: layer L gets vectors[L] alone": (
        lambda v, layers: np.stack([v.sum(0)] * len(layers))
    ),
    "the mean of all vectors is added at each layer: layer L gets vectors[L] alone": (
        lambda v, layers: np.stack([v.mean(0)] * len(layers))
    ),
    "the vectors are scaled to length 1: add them unscaled": (
        lambda v, layers: (v / np.linalg.norm(v, axis=1, keepdims=True))[layers]
    ),
}


def check_hooks(make_steering_hooks: Callable, model) -> None:
    """Raise :class:`CheckFailed` unless each hook adds only coefficient * vectors[L], at the last position."""
    n_layers, width = model.cfg.n_layers, model.cfg.d_model
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(5)
    vectors = torch.randn(n_layers, width, generator=random).to(device)
    stream = torch.randn(BATCH, LENGTH, width, generator=random).to(device)
    asked = [(0.7, None), (-1.3, [0, 2]), (2.5, [1]), (0.7, [2, 1])]
    answers = [_ask(make_steering_hooks, model, vectors, stream, c, layers) for c, layers in asked]
    chosen = [(c, list(range(n_layers)) if layers is None else layers) for c, layers in asked]
    table = vectors.double().cpu().numpy()
    wrong = [not a.equals(_added(table, ("", "", ""), *case)) for a, case in zip(answers, chosen, strict=True)]
    if any(wrong):
        raise CheckFailed(_diagnosis(answers, chosen, table, stream.double().cpu().numpy()))


def _ask(make: Callable, model, vectors, stream, coefficient: float, layers: list[int] | None) -> Answer:
    """Return what the student's hooks add, ``[layers BATCH LENGTH d_model]``."""
    given, order = vectors.clone(), None if layers is None else list(layers)
    arguments = (given, coefficient) if layers is None else (given, coefficient, order)
    hooks = call_on_small(make, len(vectors), *arguments)
    wanted = list(range(len(vectors))) if layers is None else layers
    by_layer = _by_layer(hooks, wanted, layers, model)
    added = [_difference(*by_layer[layer], model, stream) for layer in wanted]
    again = [_difference(*by_layer[layer], model, stream) for layer in wanted]
    unchanged(given, vectors, "`vectors`")
    if not read(added, np.shape(again), NAME).equals(np.stack(again)):
        raise CheckFailed("a hook adds something else when it runs again: it must add the same vector at each step.")
    return read(added, np.shape(added), NAME)


def _by_layer(hooks, wanted: list[int], layers: list[int] | None, model) -> dict[int, tuple[str, Callable]]:
    """Check form, names and number of the hooks and return them by layer."""
    if not isinstance(hooks, Sequence) or isinstance(hooks, str):
        raise CheckFailed(
            f"{NAME}(vectors, coefficient) gives {describe(hooks)}; return a list of pairs (name, hook function)."
        )
    found: dict[int, tuple[str, Callable]] = {}
    for pair in hooks:
        if not (isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str) and callable(pair[1])):
            raise CheckFailed(
                f"{NAME} gives a list with {describe(pair)} in it; give only pairs ('{WANTED}', hook function)."
            )
        layer = _layer(pair[0], model)
        if layer in found:
            raise CheckFailed(f"layer {layer} gets two hooks: return one per layer.")
        _check_signature(pair[1])
        found[layer] = (pair[0], pair[1])
    if sorted(found) != sorted(wanted):
        raise CheckFailed(_wrong_layers(sorted(found), sorted(wanted), layers, model.cfg.n_layers))
    return found


def _check_signature(hook: Callable) -> None:
    try:
        inspect.signature(hook).bind(None, hook=None)
    except TypeError as error:
        raise CheckFailed(
            f"the model calls a hook function as f(resid, hook=...), and yours can't be called like this ({error}): "
            "give it two parameters, the second named `hook`."
        ) from error


def _layer(name: str, model) -> int:
    match = re.fullmatch(r"blocks\.(\d+)\.hook_resid_pre", name)
    if match and int(match[1]) < model.cfg.n_layers:
        return int(match[1])
    if name.endswith("hook_resid_post"):
        raise CheckFailed(f"the hook point is {name!r}, the stream after the block: use hook_resid_pre, before it.")
    if name not in model.hook_dict:
        raise CheckFailed(
            f"the hook point {name!r} doesn't exist in a model of {model.cfg.n_layers} layers: "
            f"use '{WANTED}', L from 0 to {model.cfg.n_layers - 1}."
        )
    raise CheckFailed(f"the hook point is {name!r}: use '{WANTED}'.")


def _wrong_layers(found: list[int], wanted: list[int], layers: list[int] | None, n_layers: int) -> str:
    if layers is None:
        return f"there are hooks for the layers {found}; without `layers` every layer gets one, {wanted}."
    if found == list(range(n_layers)):
        return f"`layers` is ignored: with layers={layers} there are hooks for all of {found}. Loop over `layers`."
    return f"with layers={layers} there are hooks for the layers {found}: make one for each layer in `layers`."


def _difference(name: str, hook: Callable, model, stream: torch.Tensor) -> np.ndarray:
    """Return what one hook adds to a stream ``[BATCH LENGTH d_model]``, whether in place or in a new tensor."""
    given = stream.clone()
    result = call(hook, given, hook=model.hook_dict[name])
    if result is None and torch.equal(given, stream):
        raise CheckFailed(f"the hook of {name!r} returns None and changes nothing in place: return the edited stream.")
    hints = {
        (BATCH, stream.shape[2]): "Return the whole stream, not only its last position.",
        (stream.shape[2],): "Return the whole stream, not the vector.",
    }
    edited = read(given if result is None else result, tuple(stream.shape), f"What the hook of {name!r} returns", hints)
    return edited.values - stream.double().cpu().numpy()


def _added(table: np.ndarray, names: tuple[str, str, str], coefficient: float, layers: list[int]) -> np.ndarray:
    """``[layers BATCH LENGTH d_model]`` of a (mistaken) recipe: names of a factor, a place, a vector."""
    edited = np.zeros((BATCH, LENGTH))
    PLACES[names[1]](edited)
    vectors = VECTORS[names[2]](table, layers) * FACTORS[names[0]](coefficient)
    return np.einsum("bt,ld->lbtd", edited, vectors)


def _recipes() -> Iterator[tuple[str, str, str]]:
    """Yield the recipes with one mistake, then with two."""
    recipes = [names for names in product(FACTORS, PLACES, VECTORS) if 1 <= sum(map(bool, names)) <= 2]
    yield from sorted(recipes, key=lambda names: sum(map(bool, names)))


def _diagnosis(
    answers: list[Answer], cases: list[tuple[float, list[int]]], table: np.ndarray, stream: np.ndarray
) -> str:
    for names in _recipes():
        if all(a.equals(_added(table, names, *case)) for a, case in zip(answers, cases, strict=True)):
            return "; besides, ".join(name for name in names if name) + "."
    replaced = [_added(table, ("", "", ""), *case) for case in cases]
    for value in replaced:
        value[:, :, -1] -= stream[:, -1]
    if all(a.equals(value) for a, value in zip(answers, replaced, strict=True)):
        return "the last position is replaced by the vector: add to it (+=), don't assign (=)."
    return (
        "the hooks add something wrong, and the check doesn't know this mistake. The hook of layer L must add "
        "coefficient * vectors[L] at the last position, [:, -1, :], and change nothing else."
    )
