"""Gradients reach Adam without their part along the decoder's rows, and clipped."""

from __future__ import annotations

import math

import pytest
import torch

from helpers import sae

D_IN = 12


@pytest.fixture
def gradients(monkeypatch):
    """Return ``gradients(clip)``: the gradients that Adam gets in the first step, and the weights, by name."""

    def run(clip: float) -> tuple[dict, dict]:
        seen = []

        def step(optimizer, *args):
            seen.append({name: (p.grad.clone(), p.detach().clone()) for name, p in module.named_parameters()})

        x = torch.randn(200, D_IN, generator=torch.Generator().manual_seed(1))
        with torch.random.fork_rng(), monkeypatch.context() as patch:
            torch.manual_seed(0)
            module = sae.TopK(D_IN, 30, k=4)
            patch.setattr(torch.optim.Adam, "step", step)
            sae.train(module, x, config=sae.TrainConfig(steps=1, batch_size=100, clip=clip), progress=None)
        return tuple({name: pair[i] for name, pair in seen[0].items()} for i in (0, 1))

    return run


def _norm(grads: dict) -> float:
    return math.sqrt(sum(grad.pow(2).sum().item() for grad in grads.values()))


def test_the_decoders_gradient_is_orthogonal_to_its_rows(gradients):
    grads, weights = gradients(1e9)
    along = (grads["W_dec"] * weights["W_dec"]).sum(-1)
    assert grads["W_dec"].norm() > 0.1
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-5, rtol=0)


def test_only_long_gradients_are_clipped(gradients):
    free, clipped = gradients(1e9)[0], gradients(1e-3)[0]
    limit = 1e-3 * math.sqrt(D_IN)
    assert _norm(free) > 10 * limit
    assert _norm(clipped) == pytest.approx(limit, rel=1e-3)
    for name, grad in clipped.items():
        torch.testing.assert_close(grad, free[name] * (limit / _norm(free)), rtol=1e-3, atol=1e-9)
