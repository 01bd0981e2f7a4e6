"""Checkpoints, from which a killed training run resumes."""

from __future__ import annotations

from pathlib import Path

import torch

from helpers.files import replacing
from helpers.sae.base import SAEError


def write_checkpoint(path: Path, state: dict) -> None:
    """Write a state atomically: a kill in the middle leaves the previous file intact."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def read_checkpoint(path: Path, about: dict) -> dict:
    """Return the saved state of this run.

    Args:
        about: sizes, config and data of this run, which the file must match.

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
        if saved.get(name) != value:
            raise SAEError(
                f"The checkpoint {str(path)!r} belongs to another run ({name}: {saved.get(name)} there, {value} here): "
                "delete it to start again, or choose another file."
            )
    return state
