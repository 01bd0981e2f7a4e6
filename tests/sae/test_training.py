"""The training loop: it learns, reproduces, restores the scale, and stops safely."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from helpers import sae
from helpers.caching.activations import Activations, mark_sinks
from helpers.sae import TrainConfig, topk
from helpers.sae.base import SAEError
from helpers.sae.topk import TopK

D_IN, D_SAE = 16, 48
SHORT = TrainConfig(steps=30, batch_size=128, lr=3e-3, log_every=10)


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    monkeypatch.setattr(topk, "bf16_is_fast", lambda device: False)


class Plain(nn.Module):
    """A student's ReLU SAE, without a ``training_step``."""

    def __init__(self, d_in=D_IN, d_sae=D_SAE):
        super().__init__()
        self.W_dec = nn.Parameter(nn.functional.normalize(torch.randn(d_sae, d_in), dim=-1))
        self.W_enc = nn.Parameter(self.W_dec.detach().T.clone())
        self.b_enc, self.b_dec = nn.Parameter(torch.zeros(d_sae)), nn.Parameter(torch.zeros(d_in))

    def encode(self, x):
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, h):
        return h @ self.W_dec + self.b_dec


class Linear(nn.Module):
    """SAE without ``W_dec`` and without biases of the usual names."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(D_IN, D_SAE), nn.Linear(D_SAE, D_IN)

    def encode(self, x):
        return self.inner(x).relu()

    def decode(self, h):
        return self.outer(h)


def l1_loss(x, x_hat, h):
    return (x - x_hat).pow(2).sum(-1).mean() + 0.01 * h.abs().sum(-1).mean()


def make(kind=TopK, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(D_IN, D_SAE, 4) if kind is TopK else kind()


def data(n=1000, scale=1.0, shift=3.0):
    generator = torch.Generator().manual_seed(7)
    return scale * (torch.randn(n, 4, generator=generator) @ torch.randn(4, D_IN, generator=generator) + shift)


def weights(module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("kind", "loss"), [(TopK, None), (TopK, l1_loss), (Plain, l1_loss), (Linear, l1_loss)])
def test_training_reduces_fvu(kind, loss):
    module, x = make(kind), data()
    before = sae.evaluate(module, x).fvu
    history = sae.train(module, x, loss, TrainConfig(steps=200, batch_size=128, lr=3e-3), progress=None)
    after = sae.evaluate(module, x)
    assert after.fvu < 0.2 and after.fvu < before / 2
    assert history.fvu[-1] == pytest.approx(after.fvu, abs=0.05)
    assert history.l0[-1] == pytest.approx(after.l0, rel=0.2)


def test_history_has_an_entry_per_logged_step():
    history = sae.train(make(), data(), config=SHORT, progress=None)
    assert history.step == [0, 10, 20, 29]
    assert len(history.loss) == len(history.fvu) == len(history.l0) == len(history.dead_fraction) == 4
    assert history.loss[-1] < history.loss[0]


def test_a_known_dictionary_is_recovered():
    """The decoder finds 64 directions, 3 active at a time, around a mean far from 0."""
    generator = torch.Generator().manual_seed(0)
    truth = nn.functional.normalize(torch.randn(64, 32, generator=generator), dim=-1)
    on = torch.rand(20_000, 64, generator=generator).argsort(-1)[:, :3]
    strength = 1 + torch.rand(20_000, 3, generator=generator)
    x = (truth[on] * strength[..., None]).sum(1) + 5 * torch.randn(32, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TopK(32, 64, 3)
    sae.train(module, x, config=TrainConfig(steps=1200, batch_size=256, lr=5e-3), progress=None)
    closest = (truth @ module.W_dec.detach().T).max(-1).values
    assert closest.mean() > 0.9


@pytest.mark.parametrize("kind", [TopK, Plain])
def test_the_decoder_keeps_unit_norm(kind):
    module = make(kind)
    sae.train(module, data(), None if kind is TopK else l1_loss, SHORT, progress=None)
    assert torch.allclose(module.W_dec.norm(dim=-1), torch.ones(D_SAE), atol=1e-5)
    free = make(kind)
    config = TrainConfig(steps=30, batch_size=128, lr=3e-3, unit_norm_decoder=False)
    sae.train(free, data(), None if kind is TopK else l1_loss, config, progress=None)
    assert not torch.allclose(free.W_dec.norm(dim=-1), torch.ones(D_SAE), atol=1e-3)


def test_the_scale_is_folded_back():
    """Training on x and on 100 x gives the same SAE, in the units of each."""
    small, large = make(), make()
    sae.train(small, data(scale=1), config=SHORT, progress=None)
    sae.train(large, data(scale=100), config=SHORT, progress=None)
    one, other = sae.evaluate(small, data(scale=1)), sae.evaluate(large, data(scale=100))
    assert other.fvu == pytest.approx(one.fvu, rel=1e-3) and other.l0 == pytest.approx(one.l0, rel=1e-3)
    assert torch.allclose(large.b_dec, 100 * small.b_dec, rtol=1e-3)
    assert torch.allclose(large.W_dec, small.W_dec, atol=1e-3)
    assert torch.allclose(large.encode(data(scale=100)), 100 * small.encode(data()), rtol=1e-2, atol=0.3)


def test_folding_is_exact():
    """After a step at a negligible learning rate, the module computes what it did before, at the data's scale."""
    module, x = make(), data(scale=50)
    sae.train(module, x, config=TrainConfig(steps=1, batch_size=8, lr=1e-30), progress=None)
    scale = x.norm(dim=-1).mean() / math.sqrt(D_IN)
    reference = make()
    with torch.no_grad():
        reference.b_dec.copy_(x.mean(0) / scale)
    assert torch.allclose(module.encode(x), scale * reference.encode(x / scale), rtol=1e-4, atol=1e-3)
    assert torch.allclose(module(x)[0], scale * reference(x / scale)[0], rtol=1e-4, atol=1e-2)


def test_without_normalize_nothing_is_scaled():
    module = make()
    sae.train(
        module, data(scale=50), config=TrainConfig(steps=1, batch_size=8, lr=1e-30, normalize=False), progress=None
    )
    assert torch.allclose(module.W_dec, make().W_dec, atol=1e-6)
    assert module.b_dec.abs().max() < 1e-20


def test_the_same_seed_gives_the_same_run():
    runs = {}
    for name, seed in (("a", 0), ("again", 0), ("other", 1)):
        module = make()
        history = sae.train(module, data(), config=TrainConfig(steps=20, batch_size=64, seed=seed), progress=None)
        runs[name] = weights(module), history
    assert same(runs["a"][0], runs["again"][0]) and runs["a"][1] == runs["again"][1]
    assert not same(runs["a"][0], runs["other"][0])


def test_the_global_rng_state_is_unchanged():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    sae.train(make(), data(), config=SHORT, progress=None)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_result_does_not_depend_on_the_global_rng_state():
    class Noisy(Plain):
        def encode(self, x):
            return super().encode(x + 0.01 * torch.randn_like(x))

    found = []
    for seed in (1, 2):
        module = make(Noisy)
        torch.manual_seed(seed)
        sae.train(module, data(), l1_loss, SHORT, progress=None)
        found.append(weights(module))
    assert same(*found)


def test_every_row_is_seen_once_per_pass():
    seen = []

    class Watching(Plain):
        def encode(self, x):
            seen.append(x[:, 0].tolist())
            return super().encode(x)

    x = data(100)
    sae.train(
        make(Watching), x, l1_loss, TrainConfig(steps=8, batch_size=25, normalize=False, resample=()), progress=None
    )
    first, second = ([value for batch in half for value in batch] for half in (seen[:4], seen[4:]))
    assert sorted(first) == sorted(second) == sorted(x[:, 0].tolist()) and first != second


def test_sinks_are_excluded():
    x = data(500)
    x[::50] *= 1000
    ids = torch.arange(500)
    acts = Activations(x, ids, ids + 1, ids, mark_sinks(x))
    with_table, by_hand = make(), make()
    sae.train(with_table, acts, config=SHORT, progress=None)
    sae.train(by_hand, x[~acts.is_sink], config=SHORT, progress=None)
    assert int(acts.is_sink.sum()) == 10 and same(weights(with_table), weights(by_hand))


def test_the_data_is_not_changed():
    x = data()
    before = x.clone()
    sae.train(make(), x, config=SHORT, progress=None)
    assert torch.equal(x, before)


def test_a_loss_of_nan_stops_with_the_last_good_weights():
    module, calls = make(Plain), []

    def loss(x, x_hat, h):
        calls.append(weights(module))
        return l1_loss(x, x_hat, h) * (math.nan if len(calls) == 6 else 1.0)

    x = data(scale=10)
    with pytest.raises(SAEError, match=r"nan at step 5; the weights of step 4 are kept.*smaller lr than 0\.003"):
        sae.train(module, x, loss, SHORT, progress=None)
    last, scale = calls[-1], x.norm(dim=-1).mean() / math.sqrt(D_IN)
    assert len(calls) == 6 and same({"W": last["W_dec"]}, {"W": module.W_dec.detach()})
    assert torch.allclose(module.b_dec, last["b_dec"] * scale)
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_an_interrupted_module_is_usable():
    module, calls, x = make(Plain), [], data(scale=100)

    def loss(x, x_hat, h):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return l1_loss(x, x_hat, h)

    with pytest.raises(KeyboardInterrupt):
        sae.train(module, x, loss, SHORT, progress=None)
    assert sae.evaluate(module, x).fvu < 0.5  # in the data's units, so the scale was folded back


def test_auxk_revives_dead_latents():
    """Latents that start too low to be chosen are revived with AuxK, but not without it."""
    x = torch.randn(2000, D_IN, generator=torch.Generator().manual_seed(3))  # more than 8 latents can explain
    dead_after = {}
    for coefficient in (1 / 32, 0.0):
        module = make()
        module.aux_coefficient = coefficient
        with torch.no_grad():
            module.b_enc[8:] = -2.0
            module.b_enc[:8] = 2.0
        sae.train(module, x, config=TrainConfig(steps=300, batch_size=128, lr=5e-3, dead_after=0.05), progress=None)
        dead_after[coefficient] = sae.evaluate(module, x).dead_fraction
    assert dead_after[1 / 32] < dead_after[0.0] - 0.2, dead_after


def test_bad_modules_and_activations_are_refused():
    x = data()
    broken = x.clone()
    broken[3, 2] = math.nan
    for arguments, words in (
        ((make(Plain), x), "Plain has no training_step: pass loss_fn"),
        ((nn.Linear(D_IN, D_IN), x, l1_loss), "Linear has no method 'encode'"),
        ((make(), broken), "NaN or infinity"),
        ((make(), x[:, :5]), "16 wide, the activations 5.*d_in=5"),
        ((make(), x[0]), "at least one row"),
        ((make(), x[:0]), "at least one row"),
        ((make(), torch.zeros(50, D_IN)), "All activations are zero"),
    ):
        with pytest.raises(SAEError, match=words):
            sae.train(*arguments, config=SHORT, progress=None)


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("batch_size", -1), ("lr", 0.0), ("lr", math.nan), ("log_every", 0)]
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(SAEError, match=f"{name}={value}"):
        TrainConfig(**{name: value})
