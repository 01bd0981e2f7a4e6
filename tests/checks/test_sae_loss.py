"""Check of task 2.2: losses written in different ways pass, and each mistake is named."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from helpers.checks import NotDone, task_2_2
from helpers.checks import sae_loss as check
from helpers.checks.answers import FULL_PRECISION, Answer


def error(x, x_hat):
    return (x - x_hat).pow(2).sum(-1).mean()


def right(x, x_hat, h, c):
    return error(x, x_hat) + c * h.abs().sum(-1).mean()


def with_norms(x, x_hat, h, c):
    n = len(x)
    return torch.linalg.vector_norm(x_hat - x) ** 2 / n + c * torch.linalg.vector_norm(h, ord=1) / n


def with_loop(x, x_hat, h, c):
    total = 0
    for row, row_hat, latents in zip(x, x_hat, h, strict=True):
        total = total + torch.dot(row - row_hat, row - row_hat) + c * latents.abs().sum()
    return total / x.shape[0]


def with_mse(x, x_hat, h, c):
    return torch.nn.functional.mse_loss(x_hat, x) * x.shape[1] + c * h.norm(p=1, dim=-1).mean()


RIGHT = {
    "formula": right,
    "norms": with_norms,
    "loop": with_loop,
    "scaled mse": with_mse,
    "bf16": lambda x, y, h, c: right(x, y, h, c).bfloat16(),
    "one element": lambda x, y, h, c: right(x, y, h, c).reshape(1),
}


@pytest.mark.parametrize("loss", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass(loss, passes):
    passes(task_2_2, loss)


def test_a_right_answer_passes_with_gradients_switched_off(passes):
    with torch.no_grad():
        passes(task_2_2, right)


def l1(h):
    return h.abs().sum(-1).mean()


def in_place(x, x_hat, h, c):
    return error(x, x_hat) + c * h.abs_().sum(-1).mean()


def original_homework(x, x_hat, h, c):
    return torch.nn.MSELoss()(x_hat, x) + c * h.abs().mean()


WRONG = {
    "original homework": (original_homework, "besides, the L1 term is averaged over the latents"),
    "MSELoss": (lambda x, y, h, c: (x - y).pow(2).mean() + c * l1(h), "averaged over all entries"),
    "error summed": (lambda x, y, h, c: (x - y).pow(2).sum() + c * l1(h), "squared error is summed over the tokens"),
    "error with axes swapped": (lambda x, y, h, c: (x - y).pow(2).mean(-1).sum() + c * l1(h), "the other way round"),
    "root": (lambda x, y, h, c: (x - y).norm(dim=-1).mean() + c * l1(h), "the square root of the squared error"),
    "root of mean": (lambda x, y, h, c: error(x, y).sqrt() + c * l1(h), "root of the mean squared error"),
    "absolute": (lambda x, y, h, c: (x - y).abs().sum(-1).mean() + c * l1(h), "absolute error is used instead of"),
    "half": (lambda x, y, h, c: error(x, y) / 2 + c * l1(h), "factor of 1/2"),
    "L1 mean": (lambda x, y, h, c: error(x, y) + c * h.abs().mean(), "no pressure to be sparse"),
    "L1 sum": (lambda x, y, h, c: error(x, y) + c * h.abs().sum(), "L1 term is summed over the tokens"),
    "L2": (lambda x, y, h, c: error(x, y) + c * h.pow(2).sum(-1).mean(), "squared (L2)"),
    "L2 norm": (lambda x, y, h, c: error(x, y) + c * h.norm(dim=-1).mean(), "Euclidean norm"),
    "no abs": (lambda x, y, h, c: error(x, y) + c * h.sum(-1).mean(), "summed without absolute values"),
    "late abs": (lambda x, y, h, c: error(x, y) + c * h.sum(-1).abs().mean(), "after the sum"),
    "L0": (lambda x, y, h, c: error(x, y) + c * (h != 0).float().sum(-1).mean(), "counted (L0)"),
    "ReLU": (lambda x, y, h, c: error(x, y) + c * h.relu().sum(-1).mean(), "negative latents are left out"),
    "no coefficient": (lambda x, y, h, c: error(x, y) + l1(h), "l1_coefficient is missing"),
    "wrong term": (lambda x, y, h, c: c * error(x, y) + l1(h), "multiplies the reconstruction error"),
    "both terms": (lambda x, y, h, c: c * (error(x, y) + l1(h)), "multiplies both terms"),
    "squared coefficient": (lambda x, y, h, c: error(x, y) + c * c * l1(h), "applied twice"),
    "minus": (lambda x, y, h, c: error(x, y) - c * l1(h), "is subtracted"),
    "no L1": (lambda x, y, h, c: error(x, y), "L1 term is missing"),
    "no error": (lambda x, y, h, c: c * l1(h), "reconstruction error is missing"),
    "unknown": (lambda x, y, h, c: right(x, y, h, c).exp(), "doesn't know"),
    "detached": (lambda x, y, h, c: right(x, y, h, c).detach(), "no gradient flows back to x_hat and h"),
    "h detached": (lambda x, y, h, c: error(x, y) + c * l1(h.detach()), "no gradient flows back to h:"),
    "no gradients": (torch.no_grad()(right), "no gradient flows back"),
    "tuple": (lambda x, y, h, c: (right(x, y, h, c), error(x, y)), "return the loss alone"),
    "per token": (lambda x, y, h, c: (x - y).pow(2).sum(-1), "average over the tokens, so that one number"),
    "float": (lambda x, y, h, c: right(x, y, h, c).item(), "return a tensor, without float()"),
    "numpy": (lambda x, y, h, c: right(x, y, h, c).detach().numpy(), "return a tensor"),
    "None": (lambda x, y, h, c: None, "gives None"),
    "NaN": (lambda x, y, h, c: right(x, y, h, c) / 0 * 0, "holds NaN"),
    "in place": (in_place, "`h` is changed by your code"),
    "crash": (lambda x, y, h, c: x @ h, "raised RuntimeError"),
}


@pytest.mark.parametrize("loss, name", WRONG.values(), ids=WRONG)
def test_mistake_is_named(loss, name, complaint):
    assert name in complaint(task_2_2, loss)


def test_a_stub_raises_not_done_and_a_tensor_is_rejected(complaint):
    def stub(x, x_hat, h, l1_coefficient):
        raise NotDone("2.2")

    with pytest.raises(NotDone):
        task_2_2(stub)
    assert "pass the function itself" in complaint(task_2_2, torch.tensor(1.0))


def test_every_wrong_formula_differs_from_the_right_one():
    cases = list(check._cases())
    right_answers = [Answer(case.value(("", "", "")), FULL_PRECISION) for case in cases]
    for names in product(check.ERRORS, check.PENALTIES, check.SUMS):
        assert check._matches(right_answers, cases, names) == (not any(names)), names
