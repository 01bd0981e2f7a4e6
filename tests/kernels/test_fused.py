"""Fused kernels give the bridge's own values, and aren't used where a hook needs what they skip."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache

from helpers.kernels.fused import UNSEEN, fused


@pytest.fixture(params=["gpt2", "llama", "tiny_model"])
def single(request, monkeypatch):
    monkeypatch.setattr("helpers.kernels.matmul.is_known", lambda: hasattr(torch.ops.mkldnn, "_linear_pointwise"))
    return request.getfixturevalue(request.param)


@pytest.fixture
def model(single):
    """In double precision, only Llama's norms round to fp32; any larger difference is a mistake."""
    return copy.deepcopy(single).double()


def _ids(model, rows: int = 3, length: int = 12) -> torch.Tensor:
    return torch.randint(5, model.cfg.d_vocab, (rows, length), generator=torch.Generator().manual_seed(0))


def _is_fused(model) -> bool:
    attn = model.blocks[0].attn
    return bool({"forward", "_reconstruct_attention"} & set(vars(attn)))


def _patterns(model, run) -> int:
    """Return how often a run computes an attention pattern."""
    seen = []
    handles = [block.attn.hook_pattern.register_forward_hook(lambda *_: seen.append(1)) for block in model.blocks]
    run()
    for handle in handles:
        handle.remove()
    return len(seen)


@torch.inference_mode()
def test_fused_gives_the_same_values(model):
    ids = _ids(model)
    plain = model.original_model(ids, use_cache=False).logits
    with fused(model):
        assert _is_fused(model)
        assert _patterns(model, lambda: model.original_model(ids, use_cache=False)) == 0
        actual = model.original_model(ids, use_cache=False).logits
    torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)
    assert _patterns(model, lambda: model.original_model(ids, use_cache=False)) == model.cfg.n_layers


@torch.inference_mode()
def test_fp32_loses_no_precision(single):
    """Fast products apply in fp32 only."""
    ids = _ids(single)
    plain = single.original_model(ids, use_cache=False).logits
    with fused(single):
        actual = single.original_model(ids, use_cache=False).logits
    assert (actual - plain).norm() < 1e-6 * plain.norm()


@torch.inference_mode()
@pytest.mark.parametrize("padded", [False, True])
def test_cache_and_padding_give_the_same_values(model, padded):
    """Read a prompt at once, then two more tokens, then one, as generation and the judge do."""
    ids = _ids(model)
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)

    def run() -> torch.Tensor:
        cache, actual = DynamicCache(), []
        for first, end in ((0, 9), (9, 11), (11, 12)):
            more = {"attention_mask": mask[:, :end], "position_ids": positions[:, first:end]} if padded else {}
            actual.append(model.original_model(ids[:, first:end], past_key_values=cache, use_cache=True, **more).logits)
        return torch.cat(actual, 1)[mask.bool()] if padded else torch.cat(actual, 1)

    plain = run()
    with fused(model):
        assert _is_fused(model)
        actual = run()
    torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_hooks_on_the_pattern_fire(model):
    shapes = []
    watch = [
        (name, lambda value, hook: shapes.append(value.shape)) for name in model.hook_dict if name.endswith(UNSEEN[:2])
    ]
    with model.hooks(fwd_hooks=watch), fused(model):
        assert not _is_fused(model)
        model.original_model(_ids(model), use_cache=False)
    assert len(shapes) == 2 * model.cfg.n_layers


@torch.inference_mode()
@pytest.mark.parametrize(
    "point",
    [
        "hook_resid_pre",
        "attn.hook_z",
        "attn.hook_q",
        "hook_attn_out",
        "hook_mlp_out",
        "ln2.hook_normalized",
        "mlp.hook_pre",
        "mlp.hook_pre_linear",
        "mlp.hook_post",
    ],
)
def test_other_hooks_fire_and_edit(model, point):
    if f"blocks.1.{point}" not in model.hook_dict:
        pytest.skip("a gated MLP has this point")
    ids, seen = _ids(model), []

    def halve(value, hook):
        seen.append(value.clone())
        return value / 2

    name = f"blocks.1.{point}"
    with model.hooks(fwd_hooks=[(name, halve)]):
        plain = model.original_model(ids, use_cache=False).logits
        with fused(model):
            actual = model.original_model(ids, use_cache=False).logits
    assert len(seen) == 2
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_nested_contexts_give_the_same_values(model):
    """Even after the inner one ends, while the outer one's GELU is still part of a product."""
    ids = _ids(model)
    plain = model.original_model(ids, use_cache=False).logits
    with fused(model):
        with fused(model):
            inner = model.original_model(ids, use_cache=False).logits
        outer = model.original_model(ids, use_cache=False).logits
    for actual in (inner, outer, model.original_model(ids, use_cache=False).logits):
        torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_hooks_put_on_between_nested_contexts_fire(model):
    """The outer context includes the activation in the product; the inner one must not."""
    ids, seen = _ids(model), []
    watch = [("blocks.1.mlp.hook_pre", lambda value, hook: seen.append(value.clone()))]
    with model.hooks(fwd_hooks=watch):
        plain = model.original_model(ids, use_cache=False).logits
    with fused(model), model.hooks(fwd_hooks=watch), fused(model):
        actual = model.original_model(ids, use_cache=False).logits
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)


def test_leaving_the_context_restores_the_model(model):
    config, act = model.original_model.config, getattr(model.blocks[0].mlp.original_component, "act", None)
    before = config._attn_implementation
    with pytest.raises(RuntimeError, match="broken"), fused(model):
        with fused(model):
            assert _is_fused(model)
        assert _is_fused(model)
        raise RuntimeError("broken")
    assert not _is_fused(model) and config._attn_implementation == before
    assert getattr(model.blocks[0].mlp.original_component, "act", None) is act


@pytest.mark.parametrize("flag", ["use_attn_result", "use_split_qkv_input", "use_attn_in"])
def test_attention_head_by_head_is_not_fused(model, monkeypatch, flag):
    monkeypatch.setattr(model.cfg, flag, True)
    with fused(model):
        assert not _is_fused(model)


def test_an_unknown_attention_is_not_fused(model, monkeypatch):
    monkeypatch.setattr(
        "helpers.kernels.fused._replacement", lambda attn: None if attn is model.blocks[-1].attn else ("forward", None)
    )
    with fused(model):
        assert not _is_fused(model)
