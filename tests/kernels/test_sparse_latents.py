"""The TopK architecture: its values, and sparse gradients that equal the dense ones."""

from __future__ import annotations

import pytest
import torch

from helpers import sae
from helpers.kernels.sparse_latents import Active
from helpers.sae import topk
from helpers.sae.base import SAEError
from helpers.sae.topk import TopK

N, D_IN, D_SAE, K = 200, 24, 96, 6


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    """Choose latents in fp32 on any hardware; bf16 may choose others of almost the same size."""
    monkeypatch.setattr(topk, "bf16_is_fast", lambda device: False)


@pytest.fixture
def module():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        topk_sae = TopK(D_IN, D_SAE, K)
        with torch.no_grad():
            topk_sae.b_dec.normal_()
            topk_sae.b_enc.normal_(std=0.3)
            topk_sae.W_enc.add_(0.1 * torch.randn_like(topk_sae.W_enc))
        return topk_sae


@pytest.fixture
def x():
    return torch.randn(N, D_IN, generator=torch.Generator().manual_seed(2)) * 2


def gradients(module, loss) -> dict[str, torch.Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters()}


def relative(actual, expected) -> float:
    return ((actual - expected).norm() / expected.norm()).item()


def test_encode_equals_a_computation_by_hand(module, x):
    pre = (x - module.b_dec) @ module.W_enc + module.b_enc
    latents = module.encode(x)
    for row, expected in zip(latents, pre, strict=True):
        order = expected.argsort(descending=True)
        assert torch.allclose(row[order[:K]], expected[order[:K]].relu(), atol=1e-6)
        assert (row[order[K:]] == 0).all()
    assert torch.allclose(module.decode(latents), latents @ module.W_dec + module.b_dec)
    x_hat, again = module(x)
    assert torch.equal(again, latents) and torch.equal(x_hat, module.decode(latents))


def test_a_negative_latent_is_never_active(module, x):
    with torch.no_grad():
        module.b_enc.fill_(-100)
    assert module.encode(x).eq(0).all()
    assert torch.allclose(module(x)[0], module.b_dec.expand(N, -1))


def test_encode_takes_any_leading_shape(module, x):
    latents = module.encode(x.reshape(4, 50, D_IN))
    assert latents.shape == (4, 50, D_SAE)
    assert torch.allclose(latents.flatten(0, 1), module.encode(x), atol=1e-6)
    assert module.encode(x[0]).shape == (D_SAE,)


def dense_step(module, x, dead):
    """Return the same loss, computed with dense latents and autograd."""
    x_hat, latents = module(x)
    error = x - x_hat
    loss = error.pow(2).sum(-1).mean()
    if dead.any():
        pre = (x - module.b_dec) @ module.W_enc + module.b_enc
        k = min(max(1, D_IN // 2), int(dead.sum()), 256)
        top = pre.masked_fill(~dead, -torch.inf).topk(k, dim=-1)
        aux = torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
        loss = loss + (error.detach() - aux @ module.W_dec).pow(2).sum(-1).mean() / 32
    return loss, latents


@pytest.mark.parametrize("n_dead", [0, 5, 40])
def test_gradients_equal_dense_autograd(module, x, n_dead):
    module, x = module.double(), x.double()  # in fp64 only a mistake makes a difference
    dead = torch.zeros(D_SAE, dtype=torch.bool)
    dead[:n_dead] = True
    step = module.training_step(x, dead)
    actual = gradients(module, step.loss)
    loss, latents = dense_step(module, x, dead)
    expected = gradients(module, loss)
    assert step.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert {name: relative(actual[name], expected[name]) < 1e-12 for name in expected} == dict.fromkeys(expected, True)
    assert torch.allclose(step.x_hat, module.decode(latents)) and not step.x_hat.requires_grad
    assert torch.equal(step.fired, (latents > 0).any(0))
    assert step.l0 == pytest.approx((latents > 0).double().sum(-1).mean().item())


def test_gradients_equal_dense_autograd_in_fp32(module, x):
    dead = torch.zeros(D_SAE, dtype=torch.bool)
    actual = gradients(module, module.training_step(x, dead).loss)
    expected = gradients(module, dense_step(module, x, dead)[0])
    assert max(relative(actual[name], expected[name]) for name in expected) < 1e-6


def test_auxk_changes_only_gradients_of_dead_latents(module, x):
    """Without dead latents it adds nothing."""
    with torch.no_grad():
        module.b_enc[:5] -= 1000  # these are never chosen, so the reconstruction gives them no gradient
    dead = torch.zeros(D_SAE, dtype=torch.bool)
    plain = gradients(module, module.training_step(x, dead).loss)
    assert plain["W_dec"][:5].eq(0).all()
    dead[5:9] = True
    with_aux = gradients(module, module.training_step(x, dead).loss)
    changed = (with_aux["W_dec"] - plain["W_dec"]).norm(dim=-1) > 1e-6
    assert changed.nonzero()[:, 0].tolist() == [5, 6, 7, 8]
    changed = (with_aux["W_enc"] - plain["W_enc"]).norm(dim=0) > 1e-6
    assert changed.nonzero()[:, 0].tolist() == [5, 6, 7, 8]


def test_bf16_only_chooses(module, x, monkeypatch):
    """If bf16 chooses the latents, their values and gradients are still exact."""
    monkeypatch.setattr(topk, "bf16_is_fast", lambda device: True)
    chosen = module._choose(x).latents.view(N, K)
    step = module.training_step(x, torch.zeros(D_SAE, dtype=torch.bool))
    pre = (x - module.b_dec) @ module.W_enc + module.b_enc
    latents = torch.zeros_like(pre).scatter(-1, chosen, pre.gather(-1, chosen).relu())
    loss = (x - module.decode(latents)).pow(2).sum(-1).mean()
    assert step.loss.item() == pytest.approx(loss.item(), rel=1e-6)
    actual, expected = gradients(module, step.loss), gradients(module, loss)
    assert max(relative(actual[name], expected[name]) for name in expected) < 1e-6


def test_initial_weights():
    module = sae.TopK(8, 32, 4)
    assert torch.allclose(module.W_dec.norm(dim=-1), torch.ones(32))
    assert torch.equal(module.W_enc, module.W_dec.T) and module.W_enc.data_ptr() != module.W_dec.data_ptr()
    assert [tuple(p.shape) for p in (module.W_enc, module.b_enc, module.W_dec, module.b_dec)] == [
        (8, 32),
        (32,),
        (32, 8),
        (8,),
    ]


@pytest.mark.parametrize(
    ("sizes", "allowed"),
    [
        ((0, 4, 1), "both must be at least 1"),
        ((4, 0, 1), "both must be at least 1"),
        ((4, 8, 0), "from 1 to d_sae"),
        ((4, 8, 9), "from 1 to d_sae"),
    ],
)
def test_impossible_sizes_are_refused(sizes, allowed):
    with pytest.raises(SAEError, match=allowed):
        TopK(*sizes)


@pytest.mark.parametrize("d_sae", [5, 2**16, 2**16 + 1])
def test_the_sort_by_latent_is_stable(d_sae):
    latents = torch.tensor([d_sae - 1, 0, 3, 0, d_sae - 1, 3])
    active = Active(latents, torch.tensor([0, 2, 2, 3]), d_sae)
    order, starts = active.by_latent
    assert order.tolist() == [1, 3, 2, 5, 0, 4]
    assert starts.shape == (d_sae,) and starts[[0, 1, 3, d_sae - 1]].tolist() == [0, 2, 2, 4]
    assert active.tokens.tolist() == [0, 0, 2, 3, 3, 3]
    many = Active(torch.arange(999) % 3, torch.arange(999), d_sae)
    assert torch.equal(many.by_latent[0], torch.arange(999).view(333, 3).T.flatten())
