"""Check of task 2.1: the sparse autoencoder's encode, decode and forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import torch

from helpers.checks.answers import Answer, read, unchanged
from helpers.checks.verdict import CheckFailed, call, describe, must_be_callable, public_check

D_IN, D_SAE = 6, 10
SHAPES = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
Weights = dict[str, np.ndarray]

# Each table maps a mistake to its formula; "" is the right one. Input [n d_in] and weights -> latents.
INPUTS: dict[str, Callable[[np.ndarray, Weights], np.ndarray]] = {
    "": lambda x, w: x - w["b_dec"],
    "encode doesn't subtract the decoder's bias: it starts with x - b_dec": lambda x, w: x,
    "encode adds the decoder's bias: it has to subtract it, x - b_dec": lambda x, w: x + w["b_dec"],
}
ENCODERS: dict[str, Callable[[np.ndarray, Weights], np.ndarray]] = {
    "": lambda x, w: x @ w["W_enc"] + w["b_enc"],
    "encode forgets the encoder's bias b_enc": lambda x, w: x @ w["W_enc"],
    "encode subtracts the encoder's bias: add b_enc": lambda x, w: x @ w["W_enc"] - w["b_enc"],
    "encode uses the decoder's weights (W_dec.T): the two matrices start equal but are trained "
    "separately, so use W_enc": lambda x, w: x @ w["W_dec"].T + w["b_enc"],
}
RECTIFIERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda h: h.clip(0),
    "encode lacks the ReLU: latents are never negative": lambda h: h,
    "encode takes the absolute value: ReLU makes negative values 0": np.abs,
    "the ReLU in encode has the wrong sign: keep the values above 0": lambda h: (-h).clip(0),
}
# Latents, weights -> reconstruction.
DECODERS: dict[str, Callable[[np.ndarray, Weights], np.ndarray]] = {
    "": lambda h, w: h @ w["W_dec"] + w["b_dec"],
    "decode forgets the decoder's bias: add b_dec": lambda h, w: h @ w["W_dec"],
    "decode subtracts the decoder's bias: add b_dec": lambda h, w: h @ w["W_dec"] - w["b_dec"],
    "decode uses the encoder's weights (W_enc.T): use W_dec": lambda h, w: h @ w["W_enc"].T + w["b_dec"],
    "decode uses the encoder's weights (W_enc.T) and forgets b_dec": lambda h, w: h @ w["W_enc"].T,
    "decode ends with a ReLU: activations may be negative, so leave it out": (
        lambda h, w: (h @ w["W_dec"] + w["b_dec"]).clip(0)
    ),
    "decode adds b_dec twice": lambda h, w: h @ w["W_dec"] + 2 * w["b_dec"],
}


@public_check("2.1")
def task_2_1(SAE: type) -> None:
    """Check the class ``SAE(d_in, d_sae)`` of task 2.1: encode, decode and forward, on random weights.

    Raises:
        CheckFailed: an answer is wrong; the message names the mistake where it is a known one.
        NotDone: a method is still the stub.
    """
    if isinstance(SAE, torch.nn.Module):
        raise CheckFailed(
            "an SAE object was given, not the class: write checks.task_2_1(SAE), without brackets after SAE."
        )
    must_be_callable(SAE, "SAE")
    sae = call(SAE, D_IN, D_SAE)
    random = torch.Generator().manual_seed(3)
    weights = _set_weights(sae, random)
    for shape in ((7, D_IN), (2, 3, D_IN), (D_IN,)):
        _check_methods(
            sae, torch.randn(shape, generator=random), torch.rand((*shape[:-1], D_SAE), generator=random), weights
        )
    _check_gradients(sae, torch.randn(7, D_IN, generator=random))


def _set_weights(sae, random: torch.Generator) -> Weights:
    """Give the SAE random weights, biases included, and return them as float64."""
    weights = {}
    for name, shape in SHAPES.items():
        parameter = getattr(sae, name, None)
        if not isinstance(parameter, torch.Tensor) or tuple(parameter.shape) != shape:
            found = "is missing" if parameter is None else f"is {describe(parameter)}"
            raise CheckFailed(
                f"the parameter {name} of SAE({D_IN}, {D_SAE}) {found}; expected is "
                f"shape {list(shape)}. Restore the __init__ of the notebook."
            )
        with torch.no_grad():
            parameter.copy_(torch.randn(shape, generator=random))
        weights[name] = parameter.detach().double().cpu().numpy()
    return weights


def _check_methods(sae, x: torch.Tensor, h: torch.Tensor, weights: Weights) -> None:
    place = {"device": sae.W_enc.device, "dtype": sae.W_enc.dtype}
    x, h = x.to(**place), h.to(**place)
    rows, latents = x.double().cpu().numpy(), h.double().cpu().numpy()
    encoded = _ask(sae, "encode", x, h.shape)
    _compare(encoded, _encodings(rows, weights), "encode(x)", "relu((x - b_dec) @ W_enc + b_enc)")
    decoded = _ask(sae, "decode", h, x.shape)
    decodings = ((name, decode(latents, weights)) for name, decode in DECODERS.items())
    _compare(decoded, decodings, "decode(h)", "h @ W_dec + b_dec")
    given = x.clone()
    pair = call(sae, given)
    unchanged(given, x, "x in forward")
    _check_forward(pair, x, encoded.values, weights)


def _ask(sae, method: str, given: torch.Tensor, shape: tuple[int, ...]) -> Answer:
    argument = given.clone()
    value = call(getattr(sae, method), argument)
    unchanged(argument, given, f"the argument of {method}")
    hint = "Every token has its own row: don't average, sum or transpose."
    hints = {} if not isinstance(value, torch.Tensor) else {tuple(value.shape): hint}
    return read(value, tuple(shape), f"{method} of a tensor of shape {list(given.shape)}", hints)


def _encodings(x: np.ndarray, weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the right latents, then those of one mistake, then of two."""
    recipes = sorted(product(INPUTS, ENCODERS, RECTIFIERS), key=lambda names: sum(map(bool, names)))
    for names in recipes:
        value = RECTIFIERS[names[2]](ENCODERS[names[1]](INPUTS[names[0]](x, weights), weights))
        yield "; besides, ".join(name for name in names if name), value
    centred = x - weights["b_dec"]
    yield "encode adds b_enc after the ReLU: it belongs inside", (centred @ weights["W_enc"]).clip(0) + weights["b_enc"]


def _compare(answer: Answer, candidates: Iterator[tuple[str, np.ndarray]], what: str, formula: str) -> None:
    """Raise :class:`CheckFailed` unless the answer is the first candidate, whose name is empty."""
    for mistake, value in candidates:
        if answer.equals(value):
            if mistake:
                raise CheckFailed(f"{mistake}.")
            return
    raise CheckFailed(
        f"{what} isn't {formula}, and the check doesn't know this mistake: compare your code with the formula."
    )


def _check_forward(pair, x: torch.Tensor, h: np.ndarray, weights: Weights) -> None:
    """Check that forward returns the results of decode and encode, in this order."""
    if isinstance(pair, torch.Tensor):
        raise CheckFailed(
            "forward returns one tensor: return two, the reconstruction and the latents, `return x_hat, h`."
        )
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise CheckFailed(f"forward returns {describe(pair)}; return two tensors, `return x_hat, h`.")
    shapes = [tuple(getattr(part, "shape", ())) for part in pair]
    if shapes == [h.shape, tuple(x.shape)]:
        raise CheckFailed("forward returns the latents first: the order is `return x_hat, h`.")
    latents = read(pair[1], h.shape, "the latents h of forward")
    rebuilt = read(pair[0], tuple(x.shape), "the reconstruction x_hat of forward")
    if not latents.equals(h):
        raise CheckFailed("forward's latents h aren't those of encode(x): call self.encode(x).")
    if rebuilt.equals(x.double().cpu().numpy()):
        raise CheckFailed("forward returns x itself as the reconstruction: return self.decode(h).")
    candidates = ((name and f"in forward, {name}", decode(h, weights)) for name, decode in DECODERS.items())
    _compare(rebuilt, candidates, "the reconstruction of forward", "decode(h) of its own latents")


def _check_gradients(sae, x: torch.Tensor) -> None:
    """Check that the reconstruction's gradient reaches each parameter."""
    with torch.enable_grad():
        x_hat, h = call(sae, x.to(sae.W_enc.device, sae.W_enc.dtype))
        parts = [part for part in (x_hat, h) if part.requires_grad]
        reached = parts and torch.autograd.grad(
            x_hat.sum() if x_hat.requires_grad else h.sum(), list(_parameters(sae)), allow_unused=True
        )
    lost = [name for name, gradient in zip(SHAPES, reached or [None] * len(SHAPES), strict=True) if gradient is None]
    if lost:
        raise CheckFailed(
            f"no gradient reaches {', '.join(lost)}, so training can't change "
            f"{'it' if len(lost) == 1 else 'them'}: remove detach(), .data, .item() and no_grad()."
        )


def _parameters(sae) -> Iterator[torch.Tensor]:
    return (getattr(sae, name).requires_grad_(True) for name in SHAPES)
