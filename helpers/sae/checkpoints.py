"""Checkpoints, from which a killed training run resumes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from helpers.files import replacing
from helpers.sae.base import SAEError
from helpers.sae.batches import Rows
from helpers.sae.config import TrainConfig

SAMPLE = 64  # rows that a run is recognised by
CLOSE = 1e-3  # relative difference that another number of threads may make


def write_checkpoint(path: Path, state: dict) -> None:
    """Write a state atomically: a kill in the middle leaves the previous file intact."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def read_checkpoint(path: Path, about: dict) -> dict:
    """Return the saved state of this run.

    Args:
        about: what :func:`describe` returned for this run, which the file must match.

    Raises:
        SAEError: the file is broken or belongs to another run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["about"]
    except Exception as error:  # torch raises half a dozen types on a truncated file
        raise SAEError(
            f"The checkpoint {str(path)!r} is broken ({str(error)[:80]}): delete it to start again."
        ) from error
    for name, value in about.items():
        if not _alike(saved.get(name), value):
            raise SAEError(
                f"The checkpoint {str(path)!r} belongs to another run ({name}: {saved.get(name)} there, {value} here): "
                "delete it to start again, or choose another file."
            )
    return state


def describe(module: nn.Module, rows: Rows, loss_fn, config: TrainConfig) -> dict:
    """Return what identifies a run: module, settings, loss and rows. The first weights aren't part of it.

    A loss is recognised by its values on fixed random tensors, since a coefficient may be a constant, a default, a
    global variable or part of a closure. Rows are recognised by their number, their mean and a sample.
    """
    sample = rows[torch.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).long()].float().cpu()
    signs = torch.ones(rows.width)
    signs[1::2] = -1
    return {
        "module": type(module).__name__,
        "shapes": {name: list(value.shape) for name, value in module.state_dict().items()},
        "attributes": _attributes(module),
        "config": _plain(asdict(config)),
        "loss": _loss_values(module, rows.width, loss_fn),
        "rows": len(rows),
        "mean norm": rows.mean_norm,
        "mean": [rows.mean.sum().item(), (rows.mean * signs).sum().item()],
        "sample of rows": hashlib.sha256(sample.numpy().tobytes()).hexdigest(),
    }


def _attributes(module: nn.Module) -> dict:
    """Return the plain attributes of a module and its parts, such as ``k``, a sparsity or sizes."""
    return {
        f"{path}.{name}".lstrip("."): _plain(value)
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if not name.startswith("_") and name not in ("training", "trained") and _is_plain(value)
    }


@torch.no_grad()
def _loss_values(module, width: int, loss_fn) -> list[float] | None:
    if loss_fn is None:
        return None
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x, x_hat = (torch.randn(8, width, generator=generator).to(device) for _ in range(2))
    n_latents = module.encode(x).shape[-1]
    values = loss_fn(x, x_hat, torch.randn(8, n_latents, generator=generator).to(device))
    return [float(value) for value in (values if isinstance(values, tuple) else (values,))]


def _is_plain(value) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _plain(value):
    """Return the value as a checkpoint stores it: tuples become lists."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _alike(saved, here) -> bool:
    if isinstance(saved, Sequence) and isinstance(here, Sequence) and not isinstance(here, str):
        return len(saved) == len(here) and all(map(_alike, saved, here))
    if isinstance(saved, float) and isinstance(here, float):
        return math.isclose(saved, here, rel_tol=CLOSE, abs_tol=1e-12)
    return saved == here
