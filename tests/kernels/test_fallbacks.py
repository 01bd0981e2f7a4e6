"""If a private function of PyTorch, transformers or TransformerLens is missing, plain code gives the same values."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from helpers import sae
from helpers.kernels import fused, hardware, matmul, sparse_latents

KNOWN = (
    fused.is_known,
    hardware.bf16_is_fast,
    matmul.is_known,
    matmul.onednn_is_known,
    sparse_latents.embedding_bag_is_known,
)


@pytest.fixture(autouse=True)
def fresh_answers():
    """Clear the cached answers before and after each test."""
    for known in KNOWN:
        known.cache_clear()
    yield
    for known in KNOWN:
        known.cache_clear()


def logits(model) -> torch.Tensor:
    ids = torch.arange(5, 17).reshape(2, 6)
    with torch.inference_mode(), fused.fused(model):
        return model.original_model(ids, use_cache=False).logits


def hide(monkeypatch, owner: str, name: str, value) -> None:
    module, _, class_name = owner.partition(":")
    namespace = importlib.import_module(module)
    monkeypatch.setattr(getattr(namespace, class_name) if class_name else namespace, name, value)


BRIDGE = "transformer_lens.model_bridge.generalized_components"
FUSED = [
    (f"{BRIDGE}:JointQKVAttentionBridge", "_reconstruct_attention"),
    (f"{BRIDGE}:JointQKVAttentionBridge", "_reshape_qkv_to_heads"),
    (f"{BRIDGE}:JointQKVAttentionBridge", "_update_kv_cache"),
    (f"{BRIDGE}:JointQKVAttentionBridge", "_apply_output_projection"),
    ("helpers.kernels.fused", "sdpa_attention_forward"),
    ("helpers.kernels.fused", "resolve_activation_fn"),
    ("transformers.models.llama.modeling_llama", "apply_rotary_pos_emb"),
]


@pytest.mark.parametrize(("owner", "name"), FUSED, ids=lambda value: value.rpartition(".")[2])
def test_fused_kernels_are_off_for_another_signature(owner, name, monkeypatch):
    assert fused.is_known()
    fused.is_known.cache_clear()
    hide(monkeypatch, owner, name, lambda other, names=None: None)
    assert not fused.is_known()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_without_fused_kernels_the_values_are_the_same(architecture, request, monkeypatch):
    model = request.getfixturevalue(architecture)
    expected = logits(model)
    monkeypatch.setattr(fused, "is_known", lambda: False)
    with fused.fused(model):
        assert not {"forward", "_reconstruct_attention"} & set(vars(model.blocks[0].attn))
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)


MODULES = (
    "transformers.integrations.sdpa_attention",
    "transformers.models.llama.modeling_llama",
    f"{BRIDGE}.gated_mlp",
    "transformers.activations",
)


@pytest.mark.parametrize("module", MODULES)
def test_import_works_without_a_private_module(module, monkeypatch):
    with monkeypatch.context() as patch:
        parent, _, name = module.rpartition(".")
        patch.delitem(vars(sys.modules[parent]), name, raising=False)
        patch.setitem(sys.modules, module, None)
        fresh = importlib.util.module_from_spec(importlib.util.find_spec("helpers.kernels.fused"))
        fresh.__spec__.loader.exec_module(fresh)
        assert not fresh.is_known()


def test_without_conv1d_linear_layers_are_still_known(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "transformers.pytorch_utils", None)
        fresh = importlib.util.module_from_spec(importlib.util.find_spec("helpers.kernels.matmul"))
        fresh.__spec__.loader.exec_module(fresh)
    layer, x = torch.nn.Linear(4, 3), torch.rand(6, 4)
    with torch.no_grad():
        torch.testing.assert_close(fresh.product(layer, x), layer(x))


def missing(*arguments):
    raise AttributeError


def refusing(*arguments):
    raise RuntimeError("expected 7 arguments")


def wrong(*arguments):
    return torch.zeros(5, 2)


@pytest.mark.parametrize("operator", [missing, refusing, wrong])
@pytest.mark.parametrize("name", ["_linear_pointwise", "_reorder_linear_weight"])
def test_products_are_plain_without_onednns_operators(name, operator, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, name, operator, raising=False)
    assert not matmul.onednn_is_known()
    monkeypatch.setattr(matmul, "processor", lambda: "vendor_id : AuthenticAMD")
    assert not matmul.is_known()


@pytest.mark.parametrize("operator", [missing, refusing, wrong])
def test_sparse_gradients_are_the_same_without_embedding_bags_gradient(operator, monkeypatch):
    monkeypatch.setattr("helpers.sae.topk.bf16_is_fast", lambda device: False)
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = sae.TopK(8, 24, k=3)
        module.training_step(x, torch.zeros(24, dtype=torch.bool)).loss.backward()
        return [parameter.grad for parameter in module.parameters()]

    expected = gradients()
    sparse_latents.embedding_bag_is_known.cache_clear()
    monkeypatch.setattr(sparse_latents, "_bag_gradient", operator)
    assert not sparse_latents.embedding_bag_is_known()
    for actual, expected_gradient in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(actual, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", [missing, refusing])
def test_bf16_counts_as_slow_if_pytorch_cannot_tell(operator, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", operator, raising=False)
    assert hardware.bf16_is_fast("cpu") is False


def test_checking_what_is_known_draws_no_random_numbers():
    state = torch.get_rng_state()
    for known in (fused.is_known, matmul.onednn_is_known, sparse_latents.embedding_bag_is_known):
        known()
    assert torch.equal(torch.get_rng_state(), state)
