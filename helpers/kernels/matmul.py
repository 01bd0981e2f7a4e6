"""Faster fp32 products with a model's weights on AMD processors, where PyTorch's MKL is slow in two cases.

With few rows, as in decoding token by token, reading the weight takes most of the time. ``x @ W.T`` takes up to six
times as long for 2 to 4 rows, and twice as long for one, as the same product written ``(W @ x.T).T``.

With more rows, oneDNN (also part of PyTorch) takes two thirds to four fifths of MKL's time. It takes some percent
less if the weight is stored in oneDNN's own layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.kernels.hardware import processor

try:
    from transformers.pytorch_utils import Conv1D
except ImportError:  # another version of transformers: no module is a Conv1D there

    class Conv1D(nn.Module):  # type: ignore[no-redef]
        """Stands in for GPT-2's transposed linear layer."""


FEW = 4  # up to this many rows, multiply as (W @ x.T).T
ACTIVATIONS = {"nothing": nn.Identity(), "gelu": nn.GELU("tanh"), "silu": nn.SiLU()}
# oneDNN's names: function, algorithm.
_ONEDNN_NAMES = {"nothing": ("none", ""), "gelu": ("gelu", "tanh"), "silu": ("swish", "")}
_multiplying: WeakKeyDictionary = WeakKeyDictionary()  # model -> its modules that multiply
_packed: dict[nn.Module, Tensor] | None = None  # inside packed_weights: module -> its weight in oneDNN's layout


@contextmanager
def fast_products(model) -> Iterator[None]:
    """Multiply in the fastest way known for this processor; the values stay the same (fp32: to about 1e-6)."""
    if not is_known():
        yield
        return
    if model not in _multiplying:
        _multiplying[model] = [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]
    if any("forward" in vars(module) for module in _multiplying[model][:1]):  # already inside fast_products
        yield
        return
    for module in _multiplying[model]:
        vars(module)["forward"] = partial(product, module)
    try:
        yield
    finally:
        for module in _multiplying[model]:
            vars(module).pop("forward", None)  # the class's own method applies again


@contextmanager
def replaced(module: nn.Module, name: str, function) -> Iterator[None]:
    """Replace ``module.name`` with ``function`` inside the context.

    Bypass a bridge's ``__setattr__``, which would set ``forward`` on the module that it wraps.
    """
    before = vars(module).get(name)
    vars(module)[name] = function
    try:
        yield
    finally:
        if before is None:
            del vars(module)[name]  # the class's own method applies again
        else:
            vars(module)[name] = before


@contextmanager
def packed_weights() -> Iterator[None]:
    """Keep a second copy, in oneDNN's layout, of weights that are multiplied with more than a few rows.

    For many large batches: the copies take memory, and the weights mustn't change inside the context.
    """
    global _packed
    before, _packed = _packed, {}
    try:
        yield
    finally:
        _packed = before


@lru_cache
def is_known() -> bool:
    """Return whether the other ways were measured to be faster on this processor."""
    return "AuthenticAMD" in processor() and onednn_is_known()


@lru_cache
def onednn_is_known() -> bool:
    """Return whether PyTorch's private oneDNN operators exist and give what the plain product gives."""
    # No random numbers: drawing some would change what a seed gives afterwards.
    rows, weight, bias = torch.eye(FEW + 1, 3), torch.eye(2, 3) - 0.5, torch.ones(2)
    plain = ACTIVATIONS["gelu"](nn.functional.linear(rows, weight, bias))
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(rows))
        output = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, *_pointwise("gelu"))
        return torch.allclose(output, plain, atol=1e-5)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _pointwise(then: str) -> tuple[str, list, str]:
    """Return the last three arguments of oneDNN's product: the function, its numbers, and its algorithm."""
    function, algorithm = _ONEDNN_NAMES[then]
    return function, [], algorithm


def lay_out(model) -> None:
    """Store each weight output by output, as these products read it; its values and shape stay the same."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.weight.data = module.weight.data.contiguous()
        elif type(module) is Conv1D:
            module.weight.data = module.weight.data.T.contiguous().T


def product(
    module: nn.Linear | Conv1D, x: Float[Tensor, "... d_in"], then: str = "nothing"
) -> Float[Tensor, "... d_out"]:
    """Return the activation ``then`` of the module's output for ``x``, computed in the fastest known way.

    The module's own ``forward`` runs if no faster way is known or if gradients are needed.

    Args:
        then: a key of ``ACTIVATIONS``. With more than a few rows, including it in the product saves a pass.
    """
    weight = module.weight.T if type(module) is Conv1D else module.weight
    rows = x.reshape(-1, x.shape[-1])
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and weight.is_contiguous()
    if not plain or not x.numel() or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        own_forward: Callable = type(module).forward  # module.forward may be this function
        output = own_forward(module, x)
    elif len(rows) > FEW:
        laid_out = _layout(module, weight, len(rows))
        output = torch.ops.mkldnn._linear_pointwise(rows, laid_out, module.bias, *_pointwise(then))
        return output.reshape(*x.shape[:-1], -1)
    else:
        output = _few(rows, weight, module.bias).reshape(*x.shape[:-1], -1)
    return ACTIVATIONS[then](output)


def _few(
    rows: Float[Tensor, "few d_in"], weight: Float[Tensor, "d_out d_in"], bias: Tensor | None
) -> Float[Tensor, "few d_out"]:
    columns = (rows.contiguous() if len(rows) > 1 else rows.repeat(2, 1)).T  # two rows are faster than one
    output = (weight @ columns).T[: len(rows)]
    return output if bias is None else output + bias


def _layout(module: nn.Module, weight: Float[Tensor, "d_out d_in"], rows: int) -> Tensor:
    """Return the weight, or its packed copy inside ``packed_weights``; the product is the same with both."""
    if _packed is None:
        return weight
    if module not in _packed:
        _packed[module] = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return _packed[module]
