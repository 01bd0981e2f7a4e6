"""BatchTopK, Matryoshka, JumpReLU and Gated: outputs and gradients equal those of dense formulas."""

from __future__ import annotations

import pytest
import torch

from helpers import sae
from helpers.sae import SAEError, topk

N, D_IN, D_SAE, K = 150, 16, 64, 5
KINDS = (sae.TopK, sae.BatchTopK, sae.Matryoshka, sae.JumpReLU, sae.Gated)


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    monkeypatch.setattr(topk, "bf16_is_fast", lambda device: False)


@pytest.fixture
def x():
    return (torch.randn(N, D_IN, generator=torch.Generator().manual_seed(2)) * 2).double()


def make(kind, **options):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = kind(D_IN, D_SAE, **options).double()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name != "log_threshold":
                    parameter.add_(0.2 * torch.randn_like(parameter))
        return module


def no_dead():
    return torch.zeros(D_SAE, dtype=torch.bool)


def gradients(module, loss) -> dict[str, torch.Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters()}


def same_gradients(found, expected) -> bool:
    return all(((found[name] - expected[name]).norm() <= 1e-10 * expected[name].norm()) for name in expected)


def pre_activations(module, x):
    return (x - module.b_dec) @ module.W_enc + module.b_enc


def batch_latents(module, x):
    """Return the n·k largest latents of the whole batch, computed densely."""
    pre = pre_activations(module, x)
    kept = pre.flatten().topk(K * len(x)).indices
    mask = torch.zeros(pre.numel(), dtype=torch.bool).index_fill_(0, kept, True).view_as(pre)
    return (pre * mask).relu()


def test_batch_topk_gives_tokens_different_numbers_of_latents(x):
    module = make(sae.BatchTopK, k=K)
    step = module.training_step(x, no_dead())
    latents = batch_latents(module, x)
    x_hat = module.decode(latents)
    loss = (x - x_hat).pow(2).sum(-1).mean()
    assert step.loss.item() == pytest.approx(loss.item(), rel=1e-12) and torch.allclose(step.x_hat, x_hat)
    assert torch.equal(step.fired, (latents > 0).any(0)) and step.l0 == pytest.approx(K)
    per_token = (latents > 0).sum(-1)
    assert per_token.min() < K < per_token.max()
    assert same_gradients(gradients(module, step.loss), gradients(module, loss))


def test_a_token_without_latents_decodes_to_the_bias(x):
    """Any token can have no latents, including the first and the last."""
    module = make(sae.BatchTopK, k=1)
    quiet = module.b_dec.detach().clone()
    rows = x.clone()
    rows[[0, 7, 8, -1]] = quiet
    with torch.no_grad():
        module.b_enc.fill_(-1.0)
        module.W_enc.mul_(3)
    step = module.training_step(rows, no_dead())
    assert torch.allclose(step.x_hat[[0, 7, 8, -1]], quiet.expand(4, -1))
    assert not torch.allclose(step.x_hat[1], quiet)


def test_the_threshold_is_the_mean_of_each_batchs_smallest_kept_latent(x):
    module = make(sae.BatchTopK, k=K)
    smallest = []
    for part in x.split(50):
        latents = batch_latents(module, part)
        smallest.append(latents[latents > 0].min().item())
        module.training_step(part, no_dead())
    assert module.threshold.item() == pytest.approx(sum(smallest) / 3)
    latents, pre = module.encode(x), pre_activations(module, x)
    assert torch.equal(latents, torch.where(pre > module.threshold, pre, 0.0))
    assert (latents > 0).double().sum(-1).mean() == pytest.approx(K, rel=0.3)


def test_l0_equals_k_after_a_short_run():
    """The threshold follows activations that grow during training."""
    generator = torch.Generator().manual_seed(5)
    rows = torch.randn(2000, 16, generator=generator).relu() @ torch.randn(16, D_IN, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = sae.BatchTopK(D_IN, D_SAE, K)
    sae.train(module, rows, config=sae.TrainConfig(steps=100, batch_size=200, lr=1e-2), progress=None)
    assert sae.evaluate(module, rows).l0 == pytest.approx(K, rel=0.05)


def test_a_tokens_latents_do_not_depend_on_its_batch(x):
    module = make(sae.BatchTopK, k=K)
    module.training_step(x, no_dead())
    assert torch.allclose(module.encode(x)[3], module.encode(x[3:4])[0])


def test_matryoshka_averages_over_nested_dictionaries(x):
    module = make(sae.Matryoshka, k=K, sizes=(8, 20, D_SAE))
    step = module.training_step(x, no_dead())
    latents = batch_latents(module, x)
    losses = [(x - latents[:, :m] @ module.W_dec[:m] - module.b_dec).pow(2).sum(-1).mean() for m in (8, 20, D_SAE)]
    assert step.loss.item() == pytest.approx(sum(losses).item() / 3, rel=1e-12)
    assert torch.allclose(step.x_hat, module.decode(latents))
    assert same_gradients(gradients(module, step.loss), gradients(module, sum(losses) / 3))


def test_matryoshka_updates_its_threshold_once_per_batch(x):
    module = make(sae.Matryoshka, k=K)
    module.training_step(x, no_dead())
    assert module.batches == 1 and module.threshold > 0
    assert module.sizes == (4, 8, 16, 32, 64)


@pytest.mark.parametrize("sizes", [(8, 20), (20, 8, D_SAE), (8, 8, D_SAE), (0, D_SAE)])
def test_sizes_that_do_not_rise_to_d_sae_are_refused(sizes):
    with pytest.raises(SAEError, match="rising sizes"):
        sae.Matryoshka(D_IN, D_SAE, K, sizes)


def test_jumprelu_equals_its_formula(x):
    module = make(sae.JumpReLU, threshold=0.7, bandwidth=0.2)
    pre = pre_activations(module, x)
    assert torch.allclose(module.encode(x), torch.where(pre > 0.7, pre, 0.0))


def test_jumprelu_thresholds_learn_by_the_papers_estimator(x):
    """dz/dθ = −θ/ε·K, the L0 term adds −λ/ε·K to dL/dθ, and θ = exp(log θ)."""
    sparsity, width = 0.3, 0.4
    module = make(sae.JumpReLU, sparsity=sparsity, threshold=0.7, bandwidth=width)
    step = module.training_step(x, no_dead(), pressure=0.5)
    pre = pre_activations(module, x).detach()
    latents = torch.where(pre > 0.7, pre, 0.0).requires_grad_()
    x_hat = module.decode(latents)
    error = (x - x_hat).pow(2).sum(-1).mean()
    assert step.loss.item() == pytest.approx(error.item() + 0.5 * sparsity * (pre > 0.7).double().sum(-1).mean().item())
    found = gradients(module, step.loss)
    (to_latents,) = torch.autograd.grad(error, latents)
    near = ((pre - 0.7).abs() < width / 2).double() / width
    to_threshold = -(0.7 * near * to_latents).sum(0) - 0.5 * sparsity * near.sum(0) / N
    assert torch.allclose(found["log_threshold"], 0.7 * to_threshold)
    assert torch.allclose(found["b_enc"], (to_latents * (pre > 0.7)).sum(0))


def test_gated_equals_its_formula(x):
    module = make(sae.Gated, sparsity=0.4)
    shared = (x - module.b_dec) @ module.W_enc
    gate, magnitude = shared + module.b_gate, (shared * module.r_mag.exp() + module.b_mag).relu()
    latents = torch.where(gate > 0, magnitude, 0.0)
    assert torch.allclose(module.encode(x), latents)
    step = module.training_step(x, no_dead(), pressure=0.5)
    by_gates = gate.relu() @ module.W_dec.detach() + module.b_dec.detach()
    parts = [
        (x - module.decode(latents)).pow(2).sum(-1).mean(),
        (x - by_gates).pow(2).sum(-1).mean(),
        gate.relu().sum(-1).mean(),
    ]
    expected = parts[0] + parts[1] + 0.2 * parts[2]
    assert step.loss.item() == pytest.approx(expected.item())
    assert same_gradients(gradients(module, step.loss), gradients(module, expected))


@pytest.mark.parametrize("kind", KINDS)
def test_scaling_an_sae_scales_latents_and_reconstructions(kind, x):
    """An SAE of x / s becomes one of x."""
    module = make(kind)
    module.training_step(x, no_dead())  # sets the threshold
    if hasattr(module, "batches"):
        module.threshold *= 0.999  # away from the latent that set it, where rounding would decide
    latents, x_hat = module.encode(x), module(x)[0]
    module.scale_(30.0)
    assert torch.allclose(module.encode(30 * x), 30 * latents) and torch.allclose(module(30 * x)[0], 30 * x_hat)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_works_in_the_units_of_the_data(kind, precision):
    generator = torch.Generator().manual_seed(3)
    x = 50 * (torch.randn(3000, 6, generator=generator) @ torch.randn(6, D_IN, generator=generator)) + 200
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind(D_IN, D_SAE) if kind in (sae.JumpReLU, sae.Gated) else kind(D_IN, D_SAE, K)
    before = sae.evaluate(module, x).fvu
    config = sae.TrainConfig(steps=300, batch_size=200, lr=3e-3, precision=precision)
    sae.train(module, x, config=config, progress=None)
    after = sae.evaluate(module, x)
    assert after.fvu < 0.25 and after.fvu < before / 3
    if hasattr(module, "k"):
        assert after.l0 == pytest.approx(K, abs=1.5)


def test_impossible_settings_are_refused():
    with pytest.raises(SAEError, match="above 0"):
        sae.JumpReLU(4, 8, threshold=0.0)
    with pytest.raises(SAEError, match="d_sae=0"):
        sae.Gated(4, 0)
