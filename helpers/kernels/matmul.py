"""Products with a model's weights in fp32, in the way that the processor is fastest at.

On AMD processors MKL, which PyTorch multiplies with, is slow in two places. With a few rows, as in decoding token by token, a
product takes the time that the weight takes to be read; ``x @ W.T`` takes up to six times as long for 2 to 4 rows, and
twice as long for one, as the same product written ``(W @ x.T).T``. With more rows oneDNN, which is also part of PyTorch,
takes two thirds to four fifths of MKL's time, and some percent less once the weight lies as oneDNN itself would lay it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from helpers.kernels.hardware import processor

FEW = 4  # rows up to which the weight comes first
ACTIVATIONS = {"nothing": nn.Identity(), "gelu": nn.GELU("tanh"), "silu": nn.SiLU()}
_WITHIN = {
    "nothing": ("none", ""),
    "gelu": ("gelu", "tanh"),
    "silu": ("swish", ""),
}  # oneDNN's names: function, algorithm
_found: WeakKeyDictionary = WeakKeyDictionary()  # model -> its modules that multiply
_packed: dict[nn.Module, Tensor] | None = None  # while weights are packed: module -> its weight in oneDNN's layout


@contextmanager
def fast_products(model) -> Iterator[None]:
    """Within it the model multiplies in the fastest way that is known for this processor; the values stay (fp32: to about 1e-6)."""
    if not is_known():
        yield
        return
    if model not in _found:
        _found[model] = [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]
    if any("forward" in vars(module) for module in _found[model][:1]):  # within it already
        yield
        return
    for module in _found[model]:
        vars(module)["forward"] = partial(product, module)
    try:
        yield
    finally:
        for module in _found[model]:
            vars(module).pop("forward", None)  # the class's shows again


@contextmanager
def replaced(module: nn.Module, name: str, function) -> Iterator[None]:
    """Within it ``module.name`` is ``function``: past a bridge's own ``__setattr__``, which would hand ``forward`` on to what it wraps."""
    before = vars(module).get(name)
    vars(module)[name] = function
    try:
        yield
    finally:
        if before is None:
            del vars(module)[name]  # the class's shows again
        else:
            vars(module)[name] = before


@contextmanager
def packed_weights() -> Iterator[None]:
    """Within it, weights that meet more than a few rows are kept a second time, in oneDNN's layout.

    For many large batches: it costs the memory of these weights, and the weights mustn't change meanwhile.
    """
    global _packed
    before, _packed = _packed, {}
    try:
        yield
    finally:
        _packed = before


@lru_cache
def is_known() -> bool:
    """Whether this processor is one on which the other ways were measured to be faster."""
    return "AuthenticAMD" in processor() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def lay_out(model) -> None:
    """Put each weight into memory output by output, as these products read it; its values and shape stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.weight.data = module.weight.data.contiguous()
        elif type(module) is Conv1D:
            module.weight.data = module.weight.data.T.contiguous().T


def product(
    module: nn.Linear | Conv1D, x: Float[Tensor, "... d_in"], then: str = "nothing"
) -> Float[Tensor, "... d_out"]:
    """What the module gives for ``x``; where another way isn't known to be faster or gradients are wanted, in its own way.

    ``then`` names a function of ``ACTIVATIONS`` that is taken of it, which for more than a few rows spares a pass.
    """
    weight = module.weight.T if type(module) is Conv1D else module.weight
    rows = x.reshape(-1, x.shape[-1])
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and weight.is_contiguous()
    if not plain or not x.numel() or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        found = type(module).forward(module, x)
    elif len(rows) > FEW:
        name, algorithm = _WITHIN[then]
        found = torch.ops.mkldnn._linear_pointwise(
            rows, _layout(module, weight, len(rows)), module.bias, name, [], algorithm
        )
        return found.reshape(*x.shape[:-1], -1)
    else:
        found = _few(rows, weight, module.bias).reshape(*x.shape[:-1], -1)
    return ACTIVATIONS[then](found)


def _few(
    rows: Float[Tensor, "few d_in"], weight: Float[Tensor, "d_out d_in"], bias: Tensor | None
) -> Float[Tensor, "few d_out"]:
    columns = (rows.contiguous() if len(rows) > 1 else rows.repeat(2, 1)).T  # two rows are faster than one
    found = (weight @ columns).T[: len(rows)]
    return found if bias is None else found + bias


def _layout(module: nn.Module, weight: Float[Tensor, "d_out d_in"], rows: int) -> Tensor:
    """The weight itself, or its packed twin where weights are packed; which one changes no value."""
    if _packed is None:
        return weight
    if module not in _packed:
        _packed[module] = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return _packed[module]
