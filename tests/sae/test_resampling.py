"""Resampling of dead latents, warm-up of penalties, tied encoders, and stops on NaN gradients."""

from __future__ import annotations

import pytest
import torch

from helpers import sae
from helpers.sae import SAEError
from helpers.sae.resampling import resample
from tests.sae.test_training import D_IN, D_SAE, Plain, data, make


@pytest.fixture
def partly_dead():
    """Return a ReLU SAE whose latents 0 to 9 never fire, its Adam after one step, and the mask of dead latents."""
    module = make(Plain)
    with torch.no_grad():
        module.b_enc[:10] = -1000.0
    optimizer = torch.optim.Adam(module.parameters())
    module.decode(module.encode(data())).sum().backward()
    optimizer.step()
    dead = torch.zeros(D_SAE, dtype=torch.bool)
    dead[:10] = True
    return module, optimizer, dead


def test_resampled_latents_point_at_large_errors(partly_dead):
    module, optimizer, dead = partly_dead
    x = data()
    x[17] += 300 * torch.randn(D_IN, generator=torch.Generator().manual_seed(1))  # by far the largest error
    centred = (x[17] - module.b_dec).detach()
    living = {name: p.detach().clone() for name, p in module.named_parameters()}
    assert resample(module, optimizer, dead, x, torch.Generator().manual_seed(0)) == 10
    direction = centred / centred.norm()
    assert torch.allclose(module.W_dec[:10], direction.expand(10, -1), atol=1e-5)
    norm = living["W_enc"][:, 10:].norm(dim=0).mean()
    assert torch.allclose(module.W_enc[:, :10], 0.2 * norm * direction[:, None].expand(-1, 10), atol=1e-5)
    assert module.b_enc[:10].eq(0).all()
    for name in ("W_dec", "b_enc"):
        assert torch.equal(getattr(module, name)[10:], living[name][10:])
    assert torch.equal(module.W_enc[:, 10:], living["W_enc"][:, 10:])
    assert (module.encode(x[17:18])[0, :10] > 0).all()


def test_only_resampled_latents_lose_their_adam_moments(partly_dead):
    module, optimizer, dead = partly_dead
    before = optimizer.state[module.W_enc]["exp_avg"].clone(), optimizer.state[module.W_dec]["exp_avg_sq"].clone()
    assert before[1][:10].ne(0).any() or before[0][:, :10].eq(0).all()
    resample(module, optimizer, dead, data(), torch.Generator().manual_seed(0))
    assert optimizer.state[module.W_enc]["exp_avg"][:, :10].eq(0).all()
    assert optimizer.state[module.W_dec]["exp_avg_sq"][:10].eq(0).all()
    assert torch.equal(optimizer.state[module.W_enc]["exp_avg"][:, 10:], before[0][:, 10:])
    assert torch.equal(optimizer.state[module.W_dec]["exp_avg_sq"][10:], before[1][10:])


def test_nothing_is_resampled_if_no_latent_or_every_latent_is_dead(partly_dead):
    module, optimizer, dead = partly_dead
    generator = torch.Generator().manual_seed(0)
    assert resample(module, optimizer, torch.zeros_like(dead), data(), generator) == 0
    assert resample(module, optimizer, torch.ones_like(dead), data(), generator) == 0


def test_training_revives_dead_latents_only_with_resampling_and_normalize(monkeypatch):
    """Latents that can't fire are revived, but not without resampling or normalisation."""

    def loss(x, x_hat, h):
        return (x - x_hat).pow(2).sum(-1).mean() + 0.01 * h.sum(-1).mean()

    dead = {}
    for shares, normalize in (((0.25, 0.5), True), ((), True), ((0.25, 0.5), False)):
        module = make(Plain)
        with torch.no_grad():
            module.b_enc[8:] = -1000.0
        config = sae.TrainConfig(steps=200, batch_size=128, lr=3e-3, resample=shares, normalize=normalize)
        sae.train(module, data(), loss, config, progress=None)
        dead[bool(shares), normalize] = sae.evaluate(module, data()).dead_fraction
    assert dead[True, True] < 0.5 and dead[False, True] > 0.8 and dead[True, False] > 0.8, dead


def test_a_penalty_is_warmed_up():
    seen = []

    def loss(x, x_hat, h):
        seen.append(h.detach().sum(-1).mean().item())
        return (x - x_hat).pow(2).sum(-1).mean(), 2.0 * h.sum(-1).mean()

    config = sae.TrainConfig(steps=40, batch_size=128, sparsity_warmup=0.5, log_every=1)
    history = sae.train(make(Plain), data(), loss, config, progress=None)
    assert [config.pressure(i) for i in (0, 9, 19, 39)] == [0.05, 0.5, 1.0, 1.0]
    error = history.loss[0] - 0.05 * 2 * seen[0]
    assert error > 0 and error < history.loss[0]


def test_training_step_gets_the_warmed_up_pressure(monkeypatch):
    pressures = []

    class Watching(sae.Gated):
        def training_step(self, x, dead, pressure=1.0):
            pressures.append(pressure)
            return super().training_step(x, dead, pressure)

    sae.train(Watching(D_IN, D_SAE), data(), config=sae.TrainConfig(steps=20, batch_size=64), progress=None)
    assert pressures[:3] == [0.5, 1.0, 1.0]


def test_tie_keeps_the_encoder_the_decoders_transpose_for_a_share_of_the_steps():
    module = make()
    sae.train(module, data(), config=sae.TrainConfig(steps=10, batch_size=64, tie=1.0, tied_for=1.0), progress=None)
    assert torch.allclose(module.W_enc, module.W_dec.T)
    freed = make()
    sae.train(freed, data(), config=sae.TrainConfig(steps=10, batch_size=64, tie=1.0, tied_for=0.5), progress=None)
    assert not torch.allclose(freed.W_enc, freed.W_dec.T, atol=1e-4)


def test_bad_settings_are_refused():
    for name, value in (("tie", 1.5), ("precision", "fp16"), ("save_every", 0)):
        with pytest.raises(SAEError, match=f"TrainConfig\\({name}="):
            sae.TrainConfig(**{name: value})


def test_a_gradient_of_nan_stops_with_the_last_good_weights():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan")

    calls = []

    def loss(x, x_hat, h):
        calls.append(1)
        error = (x - x_hat).pow(2).sum(-1).mean()
        return Broken.apply(error) if len(calls) == 4 else error

    module = make(Plain)
    with pytest.raises(SAEError, match="gradient became nan at step 3; the weights of step 2 are kept"):
        sae.train(module, data(), loss, sae.TrainConfig(steps=9, batch_size=64), progress=None)
    assert all(torch.isfinite(p).all() for p in module.parameters()) and len(calls) == 4


def test_too_few_or_identical_tokens_are_refused():
    with pytest.raises(SAEError, match=r"40 tokens for 48 latents.*Harvest more"):
        sae.train(make(), data(40), config=sae.TrainConfig(steps=2, batch_size=8), progress=None)
    with pytest.raises(SAEError, match="alike"):
        sae.train(make(), torch.ones(100, D_IN), config=sae.TrainConfig(steps=2, batch_size=8), progress=None)


def test_a_latent_is_dead_after_a_share_of_the_runs_tokens():
    """With ``dead_after=0.25``, a latent may miss a quarter of 20 batches."""
    seen = []

    class Watching(sae.TopK):
        def training_step(self, x, dead, pressure=1.0):
            seen.append(dead[:2].tolist())
            step = super().training_step(x, dead, pressure)
            step.fired[0], step.fired[1] = False, len(seen) % 5 == 0  # never; every fifth batch
            return step

    config = sae.TrainConfig(steps=20, batch_size=50, dead_after=0.25)
    sae.train(Watching(D_IN, D_SAE, 4), data(), config=config, progress=None)
    assert [never for never, _ in seen] == [False] * 6 + [True] * 14
    assert not any(sometimes for _, sometimes in seen)


def test_dead_after_counts_the_rows_of_the_actual_batches():
    """If there are fewer rows than ``batch_size``, a batch has all rows, and tokens are counted accordingly."""
    seen = []

    class Watching(sae.TopK):
        def training_step(self, x, dead, pressure=1.0):
            seen.append(bool(dead[0]))
            step = super().training_step(x, dead, pressure)
            step.fired[0] = False
            return step

    config = sae.TrainConfig(steps=20, batch_size=5000, dead_after=0.25)
    sae.train(Watching(D_IN, D_SAE, 4), data(100), config=config, progress=None)
    assert seen == [False] * 6 + [True] * 14
