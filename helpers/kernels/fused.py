"""Fused kernels under TransformerBridge's hooks.

TransformerBridge computes attention step by step so that scores and pattern can be hooked, and passes four times over
``[batch head pos pos]`` on the way, and every norm twice, once for its hooks; GPT-2's GELU is written as eight elementwise
operations; a Llama's MLP multiplies past its own modules, and its rotation copies every half that it swaps. Where nobody
looks there, PyTorch's own kernels give the same values (fp32: to about 1e-6) in fewer passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MethodType

import torch
from torch import nn
from torch.nn import functional as F
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

from helpers.kernels.matmul import ACTIVATIONS, fast_products, product, replaced

# Hook points of attention and of a norm that don't fire.
UNSEEN = (
    "hook_attn_scores",
    "hook_pattern",
    "hook_rot_q",
    "hook_rot_k",
    "hook_cos",
    "hook_sin",
    "hook_scale",
    "hook_normalized",
)
PER_HEAD = ("use_attn_result", "use_split_qkv_input", "use_attn_in")  # settings with which attention goes head by head


@contextmanager
def fused(model) -> Iterator[None]:
    """Within it the model runs on fast products, and on fused attention and GELU where all blocks' architecture is known here.

    Known are GPT-2's attention and Llama's (smollm2's). Attention, norms and GELU are left as they are if a block has another
    one, if a hook point of attention that wouldn't fire has a hook, or if TransformerLens is set to go head by head. A norm that
    is looked into is left alone. Put your hooks on first. Hook points of the residual stream, of queries, keys, values, ``z``,
    and of the MLP fire as ever.
    """
    blocks = [(block, _replacement(block.attn)) for block in model.blocks]
    split = any(getattr(model.cfg, flag, False) for flag in PER_HEAD)
    with ExitStack() as stack:
        stack.enter_context(fast_products(model))
        if split or any(method is None or _is_looked_at(block.attn) for block, method in blocks):
            yield
            return
        stack.enter_context(
            _set(model.original_model.config, "_attn_implementation", "sdpa")
        )  # no mask where none is needed
        if any(method[1] is _rotary for _, method in blocks):
            stack.enter_context(_set(modeling_llama, "apply_rotary_pos_emb", _rotated))
        for block, method in blocks:
            stack.enter_context(_method(block.attn, *method))
            if _is_gated(block.mlp):
                silu = _activation(stack, block.mlp._modules["gate"], "silu")
                stack.enter_context(_method(block.mlp, "forward", partial(_gated, act=silu)))
            for norm in (block.ln1, block.ln2):
                if _is_wrapped(norm) and not _is_looked_at(norm):
                    stack.enter_context(_method(norm, "forward", _norm))
            mlp = block.mlp.original_component
            act = mlp._modules.get("act")
            if isinstance(act, NewGELUActivation) or act in ACTIVATIONS.values():  # the latter within another ``fused``
                stack.enter_context(_set(mlp, "act", _activation(stack, mlp._modules.get("c_fc"), "gelu")))
        yield


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
    """What is still to be taken of the MLP's first product: nothing where products are fast and nobody looks at this one."""
    if not isinstance(first, LinearBridge) or "forward" not in vars(first.original_component):
        return ACTIVATIONS[name]
    within, after = ("nothing", name) if first.hook_out.has_hooks() else (name, "nothing")
    multiplies = first.original_component
    stack.enter_context(replaced(multiplies, "forward", partial(product, multiplies, then=within)))
    return ACTIVATIONS[after]


def _replacement(attn):
    """Which method of an attention to replace, and with what; None where the architecture isn't known."""
    original = attn.original_component
    if type(attn) is JointQKVAttentionBridge and not (
        original.scale_attn_by_inverse_layer_idx or original.reorder_and_upcast_attn
    ):
        return "_reconstruct_attention", _joint
    if type(attn) is PositionEmbeddingsAttentionBridge and type(original) is modeling_llama.LlamaAttention:
        return "forward", _rotary
    return None


def _is_looked_at(bridge) -> bool:
    points = map(
        bridge._modules.get, UNSEEN
    )  # for what isn't there, getattr asks the wrapped module, too, and takes long
    return any(point is not None and point.has_hooks() for point in points)


def _is_wrapped(norm) -> bool:
    """Whether the bridge gives what the module that it wraps gives."""
    if type(norm) is NormalizationBridge and type(norm.original_component) is nn.LayerNorm:  # written out in Python
        return norm.original_component.eps == norm.config.eps and not norm.uses_weight_offset
    return type(norm) is RMSNormalizationBridge and norm.use_native_layernorm_autograd


def _joint(attn, q, k, v, **given):
    heads = attn.config.n_heads
    q, k, v, batch, seq, width = attn._reshape_qkv_to_heads(q, k, v, heads, heads)
    k, v = attn._update_kv_cache(k, v, **given)
    z, _ = sdpa_attention_forward(attn, q, k, v, given.get("attention_mask"), scaling=width**-0.5)
    return attn._apply_output_projection(z.reshape(batch, seq, heads * width)), None


def _rotary(attn, *args, hidden_states=None, **given):
    """Llama's own attention; its projections are the bridge's, so their hooks fire."""
    hidden_states = args[0] if hidden_states is None else hidden_states
    z, _ = attn.original_component(attn.hook_in(hidden_states), **given)
    return attn.hook_out(z), None


def _rotated(q, k, cos, sin, unsqueeze_dim=1):
    """Rotary positions (Su et al. 2021) as Llama has them: x cos + (−x₂, x₁) sin, x₁ and x₂ being x's halves."""
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
        and vars(mlp).get("_use_processed_weights")
        and resolve_activation_fn(mlp.config) is F.silu
    )


def _gated(mlp, hidden_states: torch.Tensor, act: nn.Module) -> torch.Tensor:
    """The bridge's own steps, its hooks included, by the modules that fast products know."""
    parts = mlp._modules
    hidden_states = mlp.hook_in(hidden_states)
    gate, linear = (parts[name].hook_out(parts[name].original_component(hidden_states)) for name in ("gate", "in"))
    hidden = parts["out"].hook_in(act(gate).mul_(linear))
    return mlp.hook_out(parts["out"].hook_out(parts["out"].original_component(hidden)))


def _norm(norm, hidden_states, **given):
    return norm.hook_out(norm.original_component(norm.hook_in(hidden_states)).to(hidden_states.dtype))
