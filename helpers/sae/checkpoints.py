"""Checkpoints: a training run that was killed resumes from the last one."""

from __future__ import annotations

from pathlib import Path

import torch

from helpers.files import replacing
from helpers.sae.base import SAEError


def write_checkpoint(path: Path, state: dict) -> None:
    """Save a state whole or not at all: a kill in the middle leaves the file that was there before."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def read_checkpoint(path: Path, about: dict) -> dict:
    """The saved state, if it is of the same run.

    Args:
        about: what the run is (sizes, config, data), compared with what the file says.

    Raises:
        SAEError: a file that is broken or of another run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["about"]
    except Exception as error:  # torch raises half a dozen kinds on a file that was cut short
        raise SAEError(
            f"The checkpoint {str(path)!r} is broken ({str(error)[:80]}): delete it to begin anew."
        ) from error
    for name, value in about.items():
        if saved.get(name) != value:
            raise SAEError(
                f"The checkpoint {str(path)!r} is of another run ({name}: {saved.get(name)} there, {value} here): "
                "delete it to begin anew, or name another file."
            )
    return state
