"""Rounding is tolerated; a module that computes something else is seen, however wide, small or rare it is."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from helpers import sae
from helpers.sae.base import SAEError
from helpers.sae.equivalence import outputs, random_rows, same_latents, same_rows
from tests.sae.test_formats import topk
from tests.sae.test_saved_modules import Student

WIDE = 16384


class Sized(nn.Module):
    """A student's module of chosen size; subclasses choose the activation."""

    def __init__(self, d_in=16, d_sae=WIDE, encoder_scale=1.0):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        directions = nn.functional.normalize(torch.randn(d_sae, d_in, generator=random), dim=-1)
        self.W_enc = nn.Parameter((encoder_scale * directions.T).contiguous())
        self.W_dec = nn.Parameter(directions.clone())
        self.b_enc = nn.Parameter(0.1 * encoder_scale * torch.randn(d_sae, generator=random))
        self.b_dec = nn.Parameter(torch.randn(d_in, generator=random))

    def encode(self, x):
        return self.act((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, z):
        return z @ self.W_dec + self.b_dec


class SquareOfTopK(Sized):
    k = 1

    def act(self, values):
        return topk(values, 1) ** 2


class MoreThanK(Sized):
    k = 1

    def act(self, values):
        return topk(values, 2)


class SignedTopK(Sized):
    k = 2

    def act(self, values):
        largest = values.abs().topk(2).indices
        return torch.zeros_like(values).scatter(-1, largest, values.gather(-1, largest))


class OneHiddenThreshold(Sized):
    def act(self, values):
        thresholds = torch.zeros(values.shape[-1])
        thresholds[7] = 2.0
        return values * (values > thresholds)


class BatchTopK(Sized):
    k = 2

    def act(self, values):
        return topk(values.flatten(), 2 * len(values)).view_as(values)


@pytest.mark.parametrize("kind", [SquareOfTopK, MoreThanK, SignedTopK, OneHiddenThreshold, BatchTopK])
def test_a_wide_module_that_computes_something_else_is_refused(tmp_path, kind):
    """One in thousands of latents differs: less than a share of all of them that rounding may take."""
    with pytest.raises(SAEError, match="computes neither"):
        sae.save(kind(), tmp_path / "x")


class Half(Sized):
    k = 4

    def act(self, values):
        return values.relu() / 2


@pytest.mark.parametrize("encoder_scale", [1e-12, 1e-4, 1.0, 1e4])
def test_a_module_of_any_unit_is_compared(tmp_path, encoder_scale):
    with pytest.raises(SAEError, match="computes neither"):
        sae.save(Half(d_sae=256, encoder_scale=encoder_scale), tmp_path)


class WideTopK(Sized):
    """Its formula is expanded, so that it rounds otherwise than ours."""

    k = 32

    def encode(self, x):
        return topk(x @ self.W_enc - self.b_dec @ self.W_enc + self.b_enc, self.k)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_does_not_prevent_saving(tmp_path, dtype):
    module = WideTopK(d_sae=4096).to(dtype)
    module.b_dec.data *= 30
    folder = sae.save(module, tmp_path)
    assert json.loads((folder / "cfg.json").read_text())["architecture"] == "topk"
    assert module.b_dec.dtype == dtype and torch.equal(sae.load(folder).W_enc, module.W_enc.float())


class Transposed(Student):
    def __init__(self):
        super().__init__()
        self.W_enc = nn.Parameter(self.W_enc.T.clone())

    def encode(self, x):
        return ((x - self.b_dec) @ self.W_enc.T + self.b_enc).relu()


class WithLayer(Student):
    def __init__(self):
        super().__init__()
        del self.W_enc
        self.W_enc = nn.Linear(6, 20)


class Pair(Student):
    def decode(self, z):
        return super().decode(z), z


class Fails(Student):
    def encode(self, x):
        raise AssertionError("one row at a time")


class Undefined(Student):
    def __init__(self):
        super().__init__()
        self.W_enc.data[0, 0] = torch.nan


class Silent(Student):
    k = 4

    def act(self, values):
        return 0 * values


class Dense(Student):
    """TopK or ReLU? Never more than k of its latents are active on any row seen."""

    k = 19


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Transposed, r"W_enc is \[20, 6\]. W_enc must be \[d_in d_sae\]"),
        (WithLayer, "has no W_enc"),
        (Pair, "decode fails .*other than a tensor"),
        (Fails, "encode or decode fails .*one row at a time"),
        (Undefined, "W_enc in 'Undefined' has NaN"),
        (Silent, "no active latent"),
        (Dense, "never has more than k=19 active latents .* can't be told apart"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path, kind, reason):
    module = kind().train()
    with pytest.raises(SAEError, match=reason):
        sae.save(module, tmp_path / "x")
    assert module.training and not (tmp_path / "x").exists()


class NumberThreshold(Student):
    threshold = 0.7

    def act(self, values):
        return values * (values > 0.7)


class StoredK(Student):
    def __init__(self):
        super().__init__()
        self.register_buffer("k", torch.tensor(4))

    def act(self, values):
        return topk(values, int(self.k))


def test_our_own_topk_is_saved_with_any_k(tmp_path):
    assert sae.load(sae.save(sae.TopK(6, 20, 19), tmp_path)).k == 19


@pytest.mark.parametrize(("kind", "written"), [(NumberThreshold, "jumprelu"), (StoredK, "topk")])
def test_a_threshold_or_k_of_another_type_counts(tmp_path, kind, written):
    folder = sae.save(kind(), tmp_path)
    assert json.loads((folder / "cfg.json").read_text())["architecture"] == written


def test_saving_draws_no_random_numbers(tmp_path):
    before = torch.get_rng_state()
    sae.save(Student(), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mode_of_every_part_is_restored():
    module = Student()
    module.dropout, module.other = nn.Dropout(), nn.Dropout()
    module.train()
    module.other.eval()
    outputs(module, random_rows(module.b_dec))
    assert module.training and module.dropout.training and not module.other.training


def test_few_rows_may_differ_by_rounding_but_no_latent_in_many():
    x, W_enc, b_enc = random_rows(torch.zeros(6)), torch.ones(6, 50), torch.zeros(50)
    expected = (x @ torch.randn(6, 50, generator=torch.Generator().manual_seed(1))).relu()
    assert same_latents(expected, expected, x, W_enc, b_enc)

    def differing(rows, latents):
        found = expected.clone()
        found[rows, latents] += 1e3 * x.norm(dim=-1)[rows]
        return same_latents(found, expected, x, W_enc, b_enc)

    assert differing(torch.arange(9), torch.arange(9))
    assert not differing(torch.arange(10), torch.arange(10))  # more than 5% of 192 rows
    assert not differing(torch.arange(3), torch.zeros(3, dtype=torch.long))
    assert not same_latents(expected[:, :49], expected, x, W_enc, b_enc)
    assert not same_latents(expected * torch.nan, expected, x, W_enc, b_enc)


def test_rows_are_compared_by_their_own_norm():
    rows = torch.tensor([[1e-6, 0.0], [1e6, 0.0]])
    assert same_rows(rows * 1.0001, rows)
    assert not same_rows(rows + torch.tensor([[1e-6, 0.0], [0.0, 0.0]]), rows)
    assert not same_rows(rows * torch.nan, rows) and not same_rows(rows[:, :1], rows)
