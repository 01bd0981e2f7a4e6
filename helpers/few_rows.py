"""Products of a few rows with a large weight, which is most of what decoding token by token does.

They take the time that the weight takes to be read. On AMD processors PyTorch's BLAS (MKL) takes up to six times as long for
``x @ W.T`` with 2 to 8 rows in fp32, and twice as long with one, as for the same product written ``(W @ x.T).T``.
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

MOST_ROWS = 64  # beyond it neither way is much faster
_found: WeakKeyDictionary = WeakKeyDictionary()  # model -> its modules that multiply


@contextmanager
def few_rows(model) -> Iterator[None]:
    """Within it the model's products with up to 64 rows are written in the faster way, where it is known to be faster."""
    if not is_faster():
        yield
        return
    if model not in _found:
        _found[model] = [module for module in model.modules() if type(module) in (nn.Linear, Conv1D)]
    for module in _found[model]:
        vars(module)["forward"] = partial(_forward, module)
    try:
        yield
    finally:
        for module in _found[model]:
            vars(module).pop("forward", None)  # the class's shows again


@lru_cache
def is_faster() -> bool:
    return "AuthenticAMD" in processor()


def lay_out(model) -> None:
    """Put each weight into memory output by output, as these products read it; its values and shape stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.weight.data = module.weight.data.contiguous()
        elif type(module) is Conv1D:
            module.weight.data = module.weight.data.T.contiguous().T


def _forward(module: nn.Linear | Conv1D, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
    weight = module.weight.T if type(module) is Conv1D else module.weight
    rows = x.reshape(-1, x.shape[-1])
    few = 0 < len(rows) <= MOST_ROWS
    if not few or x.dtype != torch.float32 or weight.dtype != x.dtype or x.device.type != "cpu" or not weight.is_contiguous():
        return type(module).forward(module, x)
    columns = (rows if len(rows) > 1 else rows.repeat(2, 1)).T  # two rows are faster than one
    found = (weight @ columns).T[: len(rows)]
    if module.bias is not None:
        found = found + module.bias
    return found.reshape(*x.shape[:-1], -1)
