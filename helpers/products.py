"""Products with a model's weights in fp32, in the way that the processor is fastest at.

On AMD processors MKL, which PyTorch multiplies with, is slow in two places. With a few rows, as in decoding token by token, a
product takes the time that the weight takes to be read; ``x @ W.T`` takes up to six times as long for 2 to 4 rows, and
twice as long for one, as the same product written ``(W @ x.T).T``. With more rows oneDNN, which is also part of PyTorch,
takes two thirds to four fifths of MKL's time.
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

from helpers.settings import processor

FEW = 4  # rows up to which the weight comes first
_found: WeakKeyDictionary = WeakKeyDictionary()  # model -> its modules that multiply


@contextmanager
def fast_products(model) -> Iterator[None]:
    """Within it the model multiplies in the fastest way that is known for this processor; the values stay (fp32: to about 1e-6)."""
    if not is_known():
        yield
        return
    if model not in _found:
        _found[model] = [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]
    for module in _found[model]:
        vars(module)["forward"] = partial(product, module)
    try:
        yield
    finally:
        for module in _found[model]:
            vars(module).pop("forward", None)  # the class's shows again


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


def product(module: nn.Linear | Conv1D, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
    """What the module gives for ``x``; where another way isn't known to be faster or gradients are wanted, the module's own."""
    weight = module.weight.T if type(module) is Conv1D else module.weight
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and weight.is_contiguous()
    if not plain or not x.numel() or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return type(module).forward(module, x)
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > FEW:
        found = torch.ops.mkldnn._linear_pointwise(rows, weight, module.bias, "none", [], "")
    else:
        columns = (rows.contiguous() if len(rows) > 1 else rows.repeat(2, 1)).T  # two rows are faster than one
        found = (weight @ columns).T[: len(rows)]
        if module.bias is not None:
            found = found + module.bias
    return found.reshape(*x.shape[:-1], -1)
