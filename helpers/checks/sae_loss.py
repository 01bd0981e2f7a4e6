"""Check of task 2.2: the loss of the sparse autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from helpers.checks.answers import Answer, read, unchanged
from helpers.checks.verdict import CheckFailed, call, describe, must_be_callable, public_check

NAME = "sae_loss"

# Each table maps a mistake to its formula; the key "" stands for no mistake. Residuals r = x - x_hat [n d_in] -> a
# number.
ERRORS: dict[str, Callable[[np.ndarray], float]] = {
    "": lambda r: (r**2).sum(1).mean(),
    "the squared error is averaged over all entries, the d_in coordinates included (as MSELoss does): sum over the "
    "coordinates, then average over the tokens": lambda r: (r**2).mean(),
    "the squared error is summed over the tokens: average over them, or the loss grows with the batch": lambda r: (
        r**2
    ).sum(),
    "the squared error is averaged over the coordinates and summed over the tokens: do it the other way round": (
        lambda r: (r**2).mean(1).sum()
    ),
    "the square root of the squared error is taken: leave it squared": lambda r: np.sqrt((r**2).sum(1)).mean(),
    "the square root of the mean squared error is taken: leave it squared": lambda r: np.sqrt((r**2).sum(1).mean()),
    "the absolute error is used instead of the squared error: square it": lambda r: np.abs(r).sum(1).mean(),
    "the error isn't squared: square it": lambda r: r.sum(1).mean(),
    "the squared error has an extra factor of 1/2: remove it": lambda r: (r**2).sum(1).mean() / 2,
    "the reconstruction error is missing: add it": lambda r: 0.0,
}
# Latents [n d_sae] -> a number.
PENALTIES: dict[str, Callable[[np.ndarray], float]] = {
    "": lambda h: np.abs(h).sum(1).mean(),
    "the L1 term is averaged over the latents, too, so it is d_sae times too weak and puts no pressure to be sparse on "
    "the latents: sum over the latents, then average over the tokens": lambda h: np.abs(h).mean(),
    "the L1 term is summed over the tokens: average over them, or the loss grows with the batch": lambda h: np.abs(
        h
    ).sum(),
    "the L1 term is averaged over the latents and summed over the tokens: do it the other way round": (
        lambda h: np.abs(h).mean(1).sum()
    ),
    "the latents are squared (L2): L1 sums absolute values, which drives latents to exactly 0": (
        lambda h: (h**2).sum(1).mean()
    ),
    "the Euclidean norm of the latents is taken (L2): L1 sums absolute values": lambda h: np.sqrt((h**2).sum(1)).mean(),
    "the latents are summed without absolute values: take the absolute value of each latent": lambda h: h.sum(1).mean(),
    "the absolute value is taken after the sum: take the absolute value of each latent, then sum": lambda h: np.abs(
        h.sum(1)
    ).mean(),
    "the active latents are counted (L0), which has no gradient: L1 sums absolute values": lambda h: (
        (h != 0).sum(1).mean()
    ),
    "negative latents are left out of the L1 term: take the absolute value": lambda h: h.clip(0).sum(1).mean(),
    "the L1 term is missing: add it": lambda h: 0.0,
}
# Error, penalty, coefficient -> loss.
SUMS: dict[str, Callable[[float, float, float], float]] = {
    "": lambda e, p, c: e + c * p,
    "l1_coefficient is missing: multiply the L1 term by it": lambda e, p, c: e + p,
    "l1_coefficient multiplies the reconstruction error: it belongs to the L1 term": lambda e, p, c: c * e + p,
    "l1_coefficient multiplies both terms: it belongs to the L1 term alone": lambda e, p, c: c * (e + p),
    "l1_coefficient is applied twice: multiply the L1 term by it once": lambda e, p, c: e + c * c * p,
    "the L1 term is subtracted, which rewards large latents: add it": lambda e, p, c: e - c * p,
    "the two terms are weighted by (1 - l1_coefficient) and l1_coefficient: weight only the L1 term": (
        lambda e, p, c: (1 - c) * e + c * p
    ),
    "the L1 term is divided by l1_coefficient: multiply": lambda e, p, c: e + p / c,
}


@dataclass(frozen=True)
class _Case:
    x: torch.Tensor
    x_hat: torch.Tensor
    h: torch.Tensor
    coefficient: float

    def value(self, names: tuple[str, str, str]) -> np.ndarray:
        """Return the loss under a recipe: names of an error, a penalty and a sum."""
        residuals, h = (t.double().numpy() for t in (self.x - self.x_hat, self.h))
        return np.asarray(SUMS[names[2]](ERRORS[names[0]](residuals), PENALTIES[names[1]](h), self.coefficient))


@public_check("2.2")
def task_2_2(sae_loss: Callable) -> None:
    """Check ``sae_loss(x, x_hat, h, l1_coefficient)`` of task 2.2 on random tensors.

    Raises:
        CheckFailed: the answer is wrong; the message names the mistake where it is a known one.
        NotDone: the function is still the stub.
    """
    must_be_callable(sae_loss, NAME)
    cases = list(_cases())
    answers = [_ask(sae_loss, case) for case in cases]
    if not _matches(answers, cases, ("", "", "")):
        raise CheckFailed(_diagnosis(answers, cases))


def _cases() -> Iterator[_Case]:
    random = torch.Generator().manual_seed(9)
    for n, d_in, d_sae, coefficient in ((5, 4, 7, 0.3), (8, 3, 11, 2.5), (1, 5, 6, 0.08)):
        x, x_hat = torch.randn(2, n, d_in, generator=random)
        # Include negative latents: a ReLU has none, but other encoders may, and the formula says |h|.
        h = torch.randn(n, d_sae, generator=random) * (torch.rand(n, d_sae, generator=random) < 0.7)
        yield _Case(x, x_hat, h, coefficient)


def _ask(loss: Callable, case: _Case) -> Answer:
    """Return the student's loss; it must be a scalar with gradients with respect to x_hat and h."""
    with torch.enable_grad():
        x = case.x.clone()
        leaves = [case.x_hat.clone().requires_grad_(), case.h.clone().requires_grad_()]
        x_hat, h = (
            leaf * 1 for leaf in leaves
        )  # not leaves, as in training: the student's code can change them in place, and the check detects it
        value = call(loss, x, x_hat, h, case.coefficient)
        for tensor, before, name in ((x, case.x, "x"), (x_hat, case.x_hat, "x_hat"), (h, case.h, "h")):
            unchanged(tensor.detach(), before, f"`{name}`")
        answer = _scalar(value)
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True) if value.requires_grad else [None, None]
    lost = [name for name, gradient in zip(("x_hat", "h"), gradients, strict=True) if gradient is None]
    if lost and answer.equals(case.value(("", "", ""))):
        raise CheckFailed(
            f"the number is right, but no gradient flows back to {' and '.join(lost)}: remove detach(), .data, .item() "
            "and no_grad()."
        )
    return answer


def _scalar(value) -> Answer:
    if isinstance(value, tuple | list):
        raise CheckFailed(f"{NAME} returns {describe(value)}: return the loss alone, one number.")
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise CheckFailed(f"{NAME} returns {describe(value)}: average over the tokens, so that one number is left.")
    if value is not None and not isinstance(value, torch.Tensor):
        raise CheckFailed(
            f"{NAME} returns {describe(value)}, through which no gradient flows: "
            "return a tensor, without float() or .item()."
        )
    return read(value if value is None else value.reshape(()), (), NAME)


def _matches(answers: list[Answer], cases: list[_Case], names: tuple[str, str, str]) -> bool:
    return all(answer.equals(case.value(names)) for answer, case in zip(answers, cases, strict=True))


def _diagnosis(answers: list[Answer], cases: list[_Case]) -> str:
    recipes = [names for names in product(ERRORS, PENALTIES, SUMS) if any(names)]
    for names in sorted(recipes, key=lambda names: sum(map(bool, names))):
        if _matches(answers, cases, names):
            return "; besides, ".join(name for name in names if name) + "."
    return (
        "the loss is wrong, and the check doesn't know this mistake. Take the mean over tokens of the summed squared "
        "error, plus l1_coefficient times the mean over tokens of the summed |h|."
    )
