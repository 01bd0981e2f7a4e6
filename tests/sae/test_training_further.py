"""An SAE that is already trained is trained further: a step that moves nothing changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers import sae
from helpers.sae.rescaling import can_rescale
from tests.sae.test_checkpoints import interrupting

D_IN, D_SAE, K = 16, 48, 6
KINDS = [sae.TopK, sae.BatchTopK, sae.Matryoshka, sae.JumpReLU, sae.Gated]
NOTHING = sae.TrainConfig(steps=1, batch_size=500, lr=1e-9)


def data() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 50 * (torch.randn(3000, 6, generator=generator) @ torch.randn(6, D_IN, generator=generator)) + 200


def make(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(D_IN, D_SAE) if kind in (sae.JumpReLU, sae.Gated) else kind(D_IN, D_SAE, K)


def trained(kind, loss_fn=None, **config):
    module = make(kind) if kind in KINDS else kind()
    settings = {"steps": 150, "batch_size": 200, "lr": 3e-3} | config
    sae.train(module, data(), loss_fn, sae.TrainConfig(**settings), progress=None)
    return module


def expect_unchanged(module, loss_fn=None):
    before = sae.evaluate(module, data())
    assert before.fvu < 0.5  # it has learnt something that could be lost
    sae.train(module, data(), loss_fn, NOTHING, progress=None)
    after = sae.evaluate(module, data())
    assert after.fvu == pytest.approx(before.fvu, rel=0.01)
    assert after.l0 == pytest.approx(before.l0, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_at_no_learning_rate_changes_nothing(kind):
    expect_unchanged(trained(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_nor_after_saving_and_loading(kind, tmp_path):
    sae.save(trained(kind), tmp_path)
    expect_unchanged(sae.load(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_nor_without_normalisation(kind):
    module = trained(kind)
    before = sae.evaluate(module, data()).fvu
    config = sae.TrainConfig(steps=1, batch_size=500, lr=1e-9, normalize=False)
    sae.train(module, data(), config=config, progress=None)
    assert sae.evaluate(module, data()).fvu == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_run_starts_where_the_first_ended(kind):
    module = trained(kind)
    before = sae.evaluate(module, data()).fvu
    history = sae.train(
        module, data(), config=sae.TrainConfig(steps=100, batch_size=200, lr=1e-3, log_every=1), progress=None
    )
    assert history.fvu[0] == pytest.approx(before, rel=0.25)  # on one batch
    assert sae.evaluate(module, data()).fvu < 1.05 * before


@pytest.mark.parametrize("kind", [sae.JumpReLU, sae.TopK])
def test_a_loaded_sae_without_biases_keeps_its_unit(kind, tmp_path):
    module = make(kind)
    x = data() - data().mean(0)
    if kind is sae.JumpReLU:
        module.scale_(30.0)
    sae.save(module, tmp_path)
    module = sae.load(tmp_path)
    before = module(x)[0]
    sae.train(module, x + 1, config=NOTHING, progress=None)  # the mean isn't zero
    assert torch.allclose(module(x)[0], before, rtol=1e-3, atol=1e-3)


class Student(nn.Module):
    """A ReLU SAE as in task 2.1."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            directions = nn.functional.normalize(torch.randn(D_SAE, D_IN), dim=-1)
        self.W_enc, self.W_dec = nn.Parameter(directions.T.clone()), nn.Parameter(directions.clone())
        self.b_enc, self.b_dec = nn.Parameter(torch.zeros(D_SAE)), nn.Parameter(torch.zeros(D_IN))

    def encode(self, x):
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, h):
        return h @ self.W_dec + self.b_dec


class WithThreshold(Student):
    """Thresholds in the unit of the activations, under a usual name."""

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.full((D_SAE,), 0.5))

    def encode(self, x):
        pre = super().encode(x)
        return pre * (pre > self.threshold)


class WithOtherName(WithThreshold):
    """Thresholds in the unit of the activations, under a name that can't be known."""

    def __init__(self):
        super().__init__()
        self.theta = self.threshold
        del self.threshold

    def encode(self, x):
        pre = Student.encode(self, x)
        return pre * (pre > self.theta)


class Bounded(Student):
    """Latents that don't grow with the activations."""

    def encode(self, x):
        return torch.tanh(super().encode(x) / 50) * 50


def loss(x, x_hat, h):
    return (x - x_hat).pow(2).sum(-1).mean() + 0.1 * h.abs().sum(-1).mean()


@pytest.mark.parametrize("kind", [Student, WithThreshold, WithOtherName, Bounded])
def test_a_students_module_is_trained_further_too(kind):
    rate = 3e-3 if kind in (Student, WithThreshold) else 0.3  # those that aren't rescaled see larger numbers
    expect_unchanged(trained(kind, loss, lr=rate, steps=300), loss)


@pytest.mark.parametrize(
    ("kind", "expected"), [(Student, True), (WithThreshold, True), (WithOtherName, False), (Bounded, False)]
)
def test_only_a_module_that_scales_with_its_biases_is_rescaled(kind, expected):
    module = kind()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert can_rescale(module, data()[:50], 200.0) is expected
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_decoder_rows_of_another_norm_are_kept_by_a_trained_sae():
    module = trained(sae.TopK)
    with torch.no_grad():  # as a loaded SAE may have them
        norms = torch.linspace(0.5, 3, D_SAE)[:, None]
        module.W_dec.mul_(norms)
        module.W_enc.div_(norms.T)
        module.b_enc.div_(norms[:, 0])
    before = module(data())[0].detach()
    sae.train(module, data(), config=NOTHING, progress=None)
    assert torch.allclose(module(data())[0], before, rtol=1e-3, atol=0.05)
    sae.train(module, data(), config=sae.TrainConfig(steps=20, batch_size=200, lr=1e-2), progress=None)
    assert torch.allclose(module.W_dec.norm(dim=-1), norms[:, 0], rtol=1e-4)


def test_decoder_rows_of_a_new_sae_get_norm_one():
    module = Student()
    with torch.no_grad():
        module.W_dec.mul_(7)
    sae.train(module, data(), loss, NOTHING, progress=None)
    assert torch.allclose(module.W_dec.norm(dim=-1), torch.ones(D_SAE), rtol=1e-5)


def test_an_interrupted_run_can_be_continued_by_hand():
    module = make(sae.JumpReLU)
    with interrupting(module, "training_step", 100):
        sae.train(module, data(), config=sae.TrainConfig(steps=150, batch_size=200, lr=3e-3), progress=None)
    expect_unchanged(module)
