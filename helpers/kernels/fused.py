"""Fused kernels under TransformerBridge's hooks.

TransformerBridge computes every value that a hook might want to see, which takes extra passes over memory:

- Attention passes four times over ``[batch head pos pos]``, so that scores and pattern can be hooked.
- Every norm is computed twice, once for its hooks.
- GPT-2's GELU is written as eight elementwise operations.
- A Llama's MLP multiplies without calling its own modules, and its rotation copies every half that it swaps.

Where no hook needs these values, PyTorch's own kernels give the same results (fp32: to about 1e-6) in fewer passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from inspect import signature
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from helpers.kernels.matmul import ACTIVATIONS, fast_products, product, replaced

try:
    from transformer_lens.model_bridge.generalized_components import (
        GatedMLPBridge,
        JointQKVAttentionBridge,
        LinearBridge,
        NormalizationBridge,
        PositionEmbeddingsAttentionBridge,
        RMSNormalizationBridge,
    )
    from transformer_lens.model_bridge.generalized_components.gated_mlp import resolve_activation_fn
    from transformers.activations import NewGELUActivation
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.models.llama import modeling_llama
except ImportError:  # another TransformerLens or transformers: is_known says no
    pass

# Hook points of attention and norms that don't fire in the fused versions.
UNSEEN = (
    "hook_attn_scores", "hook_pattern", "hook_rot_q", "hook_rot_k", "hook_cos", "hook_sin", "hook_scale",
    "hook_normalized",
)  # fmt: skip
PER_HEAD = ("use_attn_result", "use_split_qkv_input", "use_attn_in")  # with these settings attention runs head by head


@contextmanager
def fused(model) -> Iterator[None]:
    """Run the model with fast products and, if every block's attention is known, fused attention, norms and GELU.

    Known are GPT-2's attention and Llama's (smollm2's). Only fast products are used if a block has another
    attention, if a hook is at an attention point that wouldn't fire, or if TransformerLens is set to compute
    attention head by head. A norm with a hook inside isn't fused. Hook points of the residual stream, queries,
    keys, values, ``z`` and the MLP fire as usual.

    Put hooks on before entering this context: it checks for them once, at its start.
    """
    if not is_known():
        with fast_products(model):
            yield
        return
    blocks = [(block, _replacement(block.attn)) for block in model.blocks]
    split = any(getattr(model.cfg, flag, False) for flag in PER_HEAD)
    with ExitStack() as stack:
        stack.enter_context(fast_products(model))
        if split or any(method is None or _has_unseen_hooks(block.attn) for block, method in blocks):
            yield
            return
        # sdpa builds no mask where none is needed.
        stack.enter_context(_set(model.original_model.config, "_attn_implementation", "sdpa"))
        if any(method[1] is _rotary for _, method in blocks):
            stack.enter_context(_set(modeling_llama, "apply_rotary_pos_emb", _rotated))
        for block, method in blocks:
            stack.enter_context(_method(block.attn, *method))
            if _is_gated(block.mlp):
                silu = _activation(stack, block.mlp._modules["gate"], "silu")
                stack.enter_context(_method(block.mlp, "forward", partial(_gated, act=silu)))
            for norm in (block.ln1, block.ln2):
                if _is_wrapped(norm) and not _has_unseen_hooks(norm):
                    stack.enter_context(_method(norm, "forward", _norm))
            mlp = block.mlp.original_component
            act = mlp._modules.get("act")
            if isinstance(act, NewGELUActivation) or act in ACTIVATIONS.values():  # the latter inside another ``fused``
                stack.enter_context(_set(mlp, "act", _activation(stack, mlp._modules.get("c_fc"), "gelu")))
        yield


@lru_cache
def is_known() -> bool:
    """Return whether the private functions that fused kernels call and replace exist and take what is expected here."""
    try:
        attention = JointQKVAttentionBridge
        return (
            _takes(attention._reconstruct_attention, "self", "q", "k", "v")
            and _takes(attention._reshape_qkv_to_heads, "self", "q", "k", "v", "num_heads", "num_kv_heads")
            and _takes(attention._update_kv_cache, "self", "k", "v")
            and _takes(attention._apply_output_projection, "self", "attn_output")
            and _takes(sdpa_attention_forward, "module", "query", "key", "value", "attention_mask")
            and _takes(modeling_llama.apply_rotary_pos_emb, "q", "k", "cos", "sin", "unsqueeze_dim")
            and _takes(modeling_llama.LlamaAttention.forward, "self", "hidden_states")
            and _takes(resolve_activation_fn, "config")
        )
    except (AttributeError, NameError, TypeError, ValueError):
        return False


def _takes(function: Callable, *names: str) -> bool:
    return tuple(signature(function).parameters)[: len(names)] == names


@contextmanager
def _set(thing, name: str, value) -> Iterator[None]:
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)


def _method(bridge, name: str, function):
    return replaced(bridge, name, MethodType(function, bridge))


def _activation(stack: ExitStack, first, name: str) -> nn.Module:
    """Return the activation to apply after the MLP's first product: the identity if the product includes it.

    The product includes it if fast products are on and no hook sees the product's output.
    """
    if not isinstance(first, LinearBridge) or "forward" not in vars(first.original_component):
        return ACTIVATIONS[name]
    within, after = ("nothing", name) if first.hook_out.has_hooks() else (name, "nothing")
    multiplies: Any = first.original_component
    stack.enter_context(replaced(multiplies, "forward", partial(product, multiplies, then=within)))
    return ACTIVATIONS[after]


def _replacement(attn):
    """Return which method of an attention to replace, and with what; None if its architecture is unknown."""
    original = attn.original_component
    unusual = getattr(original, "scale_attn_by_inverse_layer_idx", 0) or getattr(original, "reorder_and_upcast_attn", 0)
    if type(attn) is JointQKVAttentionBridge and not unusual:
        return "_reconstruct_attention", _joint
    if type(attn) is PositionEmbeddingsAttentionBridge and type(original) is modeling_llama.LlamaAttention:
        return "forward", _rotary
    return None


def _has_unseen_hooks(bridge) -> bool:
    # getattr would also search the wrapped module for a missing point, which is slow.
    points = map(bridge._modules.get, UNSEEN)
    return any(point is not None and point.has_hooks() for point in points)


def _is_wrapped(norm) -> bool:
    """Return whether the bridge computes the same as the module that it wraps."""
    if type(norm) is NormalizationBridge and type(norm.original_component) is nn.LayerNorm:
        config: Any = norm.config
        return norm.original_component.eps == config.eps and not norm.uses_weight_offset
    return type(norm) is RMSNormalizationBridge and norm.use_native_layernorm_autograd


def _joint(attn, q, k, v, **given):
    heads = attn.config.n_heads
    q, k, v, batch, seq, width = attn._reshape_qkv_to_heads(q, k, v, heads, heads)
    k, v = attn._update_kv_cache(k, v, **given)
    z, _ = sdpa_attention_forward(attn, q, k, v, given.get("attention_mask"), scaling=width**-0.5)
    return attn._apply_output_projection(z.reshape(batch, seq, heads * width)), None


def _rotary(attn, *args, hidden_states=None, **given):
    """Run Llama's own attention. Its projections are the bridge's, so their hooks fire."""
    hidden_states = args[0] if hidden_states is None else hidden_states
    z, _ = attn.original_component(attn.hook_in(hidden_states), **given)
    return attn.hook_out(z), None


def _rotated(q, k, cos, sin, unsqueeze_dim=1):
    """Apply Llama's rotary positions (Su et al. 2021): x cos + (−x₂, x₁) sin, where x₁ and x₂ are the halves of x."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    half = cos.shape[-1] // 2

    def rotated(x):
        turned = x * cos
        turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return turned

    return rotated(q), rotated(k)


def _is_gated(mlp) -> bool:
    return (
        type(mlp) is GatedMLPBridge
        and bool(vars(mlp).get("_use_processed_weights"))
        and resolve_activation_fn(mlp.config) is F.silu
    )


def _gated(mlp, hidden_states: torch.Tensor, act: nn.Module) -> torch.Tensor:
    """Do the bridge's own steps, hooks included, by calling the modules that fast products replace."""
    parts = mlp._modules
    hidden_states = mlp.hook_in(hidden_states)
    gate, linear = (parts[name].hook_out(parts[name].original_component(hidden_states)) for name in ("gate", "in"))
    hidden = parts["out"].hook_in(act(gate).mul_(linear))
    return mlp.hook_out(parts["out"].hook_out(parts["out"].original_component(hidden)))


def _norm(norm, hidden_states, **given):
    return norm.hook_out(norm.original_component(norm.hook_in(hidden_states)).to(hidden_states.dtype))
