"""Steering vectors on disk: safetensors with metadata, and repeng's GGUF control vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from helpers.files import replacing
from helpers.steering.curves import SteeringError

NAME = "steering_vectors"
GGUF_ARCHITECTURE = "controlvector"


@dataclass(frozen=True, eq=False)
class SteeringVectors:
    """One steering vector per layer, with the model and hook point that they were made for."""

    values: Float[Tensor, "n_layers d_model"]
    model: str
    hook: str = "blocks.{layer}.hook_resid_pre"

    @property
    def norms(self) -> list[float]:
        return self.values.float().norm(dim=-1).tolist()


def save(vectors: SteeringVectors, path: str | Path) -> Path:
    """Write a ``.safetensors`` or ``.gguf`` file, chosen by the extension, and return its path.

    The safetensors file holds one tensor, ``steering_vectors`` ``[n_layers d_model]``. Its metadata are
    ``model``, ``hook`` (which contains ``{layer}``), ``layers`` and ``norms``.

    In GGUF, llama.cpp and repeng add ``direction.L`` to the *output* of block L, for L from 1. That is
    ``hook_resid_pre`` of layer L+1, so the file can't hold the vectors of layers 0 and 1: they load as zero.

    Raises:
        SteeringError: another extension, values that aren't finite ``[n_layers d_model]``, no ``gguf`` package.
    """
    path, values = Path(path), vectors.values.detach().float().cpu().contiguous()
    too_few_layers = path.suffix == ".gguf" and len(values) < 3
    if values.dim() != 2 or too_few_layers or not torch.isfinite(values).all():
        raise SteeringError(
            f"Vectors of shape {list(values.shape)} can't be saved. "
            "Pass finite values of shape [n_layers, d_model], with at least three layers for .gguf."
        )
    if path.suffix not in (".safetensors", ".gguf"):
        raise SteeringError(f"{path.name!r}: choose a name that ends in .safetensors or .gguf.")
    write = _write_safetensors if path.suffix == ".safetensors" else _write_gguf
    with replacing(path) as temporary:
        write(vectors, values, temporary)
    return path


def load(path: str | Path, n_layers: int | None = None) -> SteeringVectors:
    """Read a file written by :func:`save` or by repeng.

    Args:
        n_layers: number of layers of the model. repeng's files also hold a direction for the output of the
            last block, which no layer reads; ``n_layers`` drops it.

    Raises:
        SteeringError: no such file, another extension, or no steering vectors in the file.
    """
    path = Path(path)
    if not path.is_file():
        raise SteeringError(f"There is no file {str(path)!r}. Check the path.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".gguf":
        return _read_gguf(path, n_layers)
    raise SteeringError(f"{path.name!r} ends in neither .safetensors nor .gguf: choose a file that does.")


def _write_safetensors(vectors: SteeringVectors, values: Tensor, path: Path) -> None:
    metadata = {
        "model": vectors.model,
        "hook": vectors.hook,
        "layers": json.dumps(list(range(len(values)))),
        "norms": json.dumps(vectors.norms),
    }
    save_file({NAME: values}, path, metadata)


def _read_safetensors(path: Path) -> SteeringVectors:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            return SteeringVectors(file.get_tensor(NAME), metadata["model"], metadata["hook"])
    except (SafetensorError, KeyError) as error:
        raise SteeringError(
            f"{str(path)!r} holds no steering vectors saved by this course: choose another file."
        ) from error


def _gguf():
    try:
        import gguf
    except ImportError as error:
        raise SteeringError("A .gguf file needs the package gguf: pip install gguf, or choose .safetensors.") from error
    return gguf


def _write_gguf(vectors: SteeringVectors, values: Tensor, path: Path) -> None:
    writer = _gguf().GGUFWriter(path, GGUF_ARCHITECTURE)
    writer.add_string(f"{GGUF_ARCHITECTURE}.model_hint", vectors.model)
    writer.add_uint32(f"{GGUF_ARCHITECTURE}.layer_count", len(values) - 2)
    for layer in range(2, len(values)):
        writer.add_tensor(f"direction.{layer - 1}", values[layer].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_gguf(path: Path, n_layers: int | None) -> SteeringVectors:
    try:
        reader = _gguf().GGUFReader(path)
        directions = {
            int(t.name.split(".")[1]): torch.tensor(t.data.copy())
            for t in reader.tensors
            if t.name.startswith("direction.")
        }
        hint = reader.get_field(f"{GGUF_ARCHITECTURE}.model_hint")
    except (ValueError, IndexError, OSError) as error:
        raise SteeringError(f"{str(path)!r} isn't a readable GGUF file ({error}). Choose another file.") from error
    if not directions:
        raise SteeringError(f"{str(path)!r} is a GGUF file without control vectors: it has no tensor 'direction.L'.")
    values = torch.zeros(n_layers or max(directions) + 2, len(next(iter(directions.values()))))
    for block, vector in directions.items():
        if block + 1 < len(values):
            values[block + 1] = vector
    return SteeringVectors(values, str(hint.contents()) if hint else "")
