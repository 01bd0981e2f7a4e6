"""Whether two SAEs compute the same, seen on random rows of many sizes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.sae.base import SAEError

SCALES = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)  # large rows make latents active in spite of large biases
ROWS_PER_SCALE = 32
ROUNDING = 1e-5  # of the norms that go into a number
MOST_ROWS = 0.05
MOST_ROWS_OF_A_LATENT = 2


def random_rows(b_dec: Float[Tensor, " d_in"]) -> Float[Tensor, "n d_in"]:
    """Return random rows around ``b_dec``, of all :data:`SCALES`."""
    rows = torch.randn(ROWS_PER_SCALE, len(b_dec), generator=torch.Generator().manual_seed(0))
    return torch.cat([scale * rows for scale in SCALES]).to(b_dec) + b_dec


def in_full_precision(module: nn.Module) -> nn.Module:
    """Return the module, or its fp32 copy if it is fp16 or bf16, whose rounding changes which latents are largest."""
    is_half = any(value.dtype in (torch.float16, torch.bfloat16) for value in module.parameters())
    return copy.deepcopy(module).float() if is_half else module


def outputs(module, x: Float[Tensor, "n d_in"]) -> tuple[Float[Tensor, "n d_sae"], Float[Tensor, "n d_in"]]:
    """Return the latents and reconstructions of a module in evaluation mode. The mode is restored.

    Raises:
        SAEError: encode or decode fails, or returns something other than one tensor.
    """
    try:
        with evaluation_mode(module):
            latents = module.encode(x)
            x_hat = module.decode(latents)
        if not (isinstance(latents, Tensor) and isinstance(x_hat, Tensor)):
            raise TypeError("one of them returns something other than a tensor")
    except Exception as error:  # a student's code may fail in any way
        raise SAEError(f"{type(module).__name__}: encode or decode fails on {list(x.shape)} rows ({error}).") from error
    return latents, x_hat


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and restore the mode of each of its parts afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def same_latents(
    found: Float[Tensor, "n d_sae"],
    expected: Float[Tensor, "n d_sae"],
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, " d_sae"],
) -> bool:
    """Return whether the latents are equal but for rounding.

    Rounding may lift a pre-activation over a threshold or among the k largest: in few rows, and hardly ever twice in
    the same latent. A share of all numbers would say little, since k of them are active and the rest are 0 in both.
    """
    if found.shape != expected.shape:
        return False
    rounding = ROUNDING * (x.norm(dim=-1, keepdim=True) * W_enc.norm(dim=0) + b_enc.abs())
    differ = ~((found - expected).abs() <= rounding + 1e-3 * expected.abs())  # also where one is NaN
    few_rows = differ.any(dim=1).float().mean() <= MOST_ROWS
    return bool(few_rows and (differ.sum(dim=0) <= MOST_ROWS_OF_A_LATENT).all())


def same_rows(found: Float[Tensor, "n d_in"], expected: Float[Tensor, "n d_in"]) -> bool:
    """Return whether all rows are equal but for rounding."""
    if found.shape != expected.shape:
        return False
    return bool(((found - expected).norm(dim=-1) <= 1e-3 * expected.norm(dim=-1) + 1e-30).all())
