"""Fast products give PyTorch's own values for every model, number of rows and weight layout."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from helpers.kernels import matmul
from helpers.models.loading import load_model

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="PyTorch is built without oneDNN here"
)


@pytest.fixture(params=["gpt2", "llama", "tiny_model"])
def model(request, monkeypatch):
    monkeypatch.setattr(matmul, "is_known", lambda: True)
    return request.getfixturevalue(request.param)


def _products(model) -> list:
    return [module for module in model.modules() if type(module) in (torch.nn.Linear, matmul.Conv1D)]


def _ids(model, rows: int) -> torch.Tensor:
    return torch.randint(5, model.cfg.d_vocab, (rows, 1), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 2, 5, matmul.FEW, matmul.FEW + 1, 300])
def test_a_model_gives_the_same_values(model, rows):
    ids = _ids(model, rows)
    plain = model.original_model(ids, use_cache=False).logits
    with matmul.fast_products(model):
        actual = model.original_model(ids, use_cache=False).logits
    torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(1, 8), (3, 8), (2, 3, 8), (0, 8), (100, 8)])
@pytest.mark.parametrize("kind", ["with a bias", "without a bias", "Conv1D", "Conv1D laid out"])
def test_one_product_gives_the_same_values(shape, kind):
    module = matmul.Conv1D(5, 8) if "Conv1D" in kind else torch.nn.Linear(8, 5, bias=kind == "with a bias")
    if "laid out" in kind:
        matmul.lay_out(module)
        assert module.weight.T.is_contiguous()
    x = torch.randn(shape)
    with torch.no_grad():
        actual = matmul.product(module, x)
    assert actual.shape == (*shape[:-1], 5)
    torch.testing.assert_close(actual, module(x), rtol=1e-5, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("rows", [0, 1, matmul.FEW, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_a_product_with_its_activation_gives_the_same_values(rows, dtype, name):
    module, x = torch.nn.Linear(8, 5).to(dtype), torch.randn(rows, 8, dtype=dtype)
    function = {"gelu": partial(F.gelu, approximate="tanh"), "silu": F.silu}[name]
    torch.testing.assert_close(matmul.product(module, x, then=name), function(module(x)))


@torch.inference_mode()
def test_packed_weights_give_the_same_values(model):
    ids = _ids(model, 300)
    plain = model.original_model(ids, use_cache=False).logits
    with matmul.packed_weights(), matmul.fast_products(model):
        actual = [model.original_model(part, use_cache=False).logits for part in (ids, ids[:7])]
        assert matmul._packed
    assert matmul._packed is None
    for rows in actual:
        torch.testing.assert_close(rows, plain[: len(rows)], rtol=1e-5, atol=1e-5)


def test_weights_may_change_between_two_packings():
    module, x = torch.nn.Linear(8, 5), torch.randn(100, 8)
    for _ in range(2):
        with torch.no_grad(), matmul.packed_weights():
            module.weight += 1
            torch.testing.assert_close(matmul.product(module, x), module(x))


@pytest.mark.parametrize("rows", [3, 100])
def test_gradients_are_pytorchs_own(rows):
    module, x = torch.nn.Linear(8, 5), torch.randn(rows, 8, requires_grad=True)
    actual = torch.autograd.grad(matmul.product(module, x).sum(), [x, module.weight])
    wanted = torch.autograd.grad(module(x).sum(), [x, module.weight])
    assert all(map(torch.equal, actual, wanted))


def test_bf16_is_pytorchs_own():
    module, x = torch.nn.Linear(8, 5).bfloat16(), torch.randn(2, 8, dtype=torch.bfloat16)
    assert torch.equal(matmul.product(module, x), module(x))


@torch.inference_mode()
def test_lay_out_changes_no_value(model):
    other = copy.deepcopy(model.original_model)
    before = copy.deepcopy(other.state_dict())
    matmul.lay_out(other)
    for name, value in other.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_leaving_the_context_restores_the_modules(model):
    with pytest.raises(RuntimeError, match="broken"), matmul.fast_products(model):
        with matmul.fast_products(model):
            assert all("forward" in vars(module) for module in _products(model))
        raise RuntimeError("broken")
    assert not any("forward" in vars(module) for module in _products(model))


def test_products_stay_plain_where_they_are_not_faster(model, monkeypatch):
    monkeypatch.setattr(matmul, "is_known", lambda: False)
    with matmul.fast_products(model):
        assert not any("forward" in vars(module) for module in _products(model))


@pytest.mark.parametrize(("maker", "faster"), [("AuthenticAMD", True), ("GenuineIntel", False), ("arm", False)])
def test_fast_products_are_known_for_amd_only(monkeypatch, maker, faster):
    monkeypatch.undo()
    monkeypatch.setattr(matmul, "processor", lambda: f"vendor_id : {maker}")
    assert matmul.is_known.__wrapped__() is faster


def test_a_loaded_model_is_laid_out(tiny_folder, monkeypatch):
    monkeypatch.setattr(matmul, "is_known", lambda: True)
    module = load_model(tiny_folder, device="cpu").blocks[0].mlp.original_component.c_fc.original_component
    assert module.weight.T.is_contiguous()
