"""Steering vectors on disk: as safetensors with what belongs to them, and as repeng's GGUF control vector."""

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
    """One vector per layer, and which model and which hook point of each layer they were made for."""

    values: Float[Tensor, "n_layers d_model"]
    model: str
    hook: str = "blocks.{layer}.hook_resid_pre"

    @property
    def norms(self) -> list[float]:
        return self.values.float().norm(dim=-1).tolist()


def save(vectors: SteeringVectors, path: str | Path) -> Path:
    """Write ``.safetensors`` or ``.gguf``, by the path's ending.

    The safetensors file holds one tensor ``steering_vectors`` ``[n_layers d_model]`` and, as metadata,
    ``model``, ``hook`` (with ``{layer}`` in it), ``layers`` and ``norms``.

    In GGUF, ``direction.L`` is what llama.cpp and repeng add to the *output* of block L, L from 1 on. That is
    ``hook_resid_pre`` of layer L+1; so the vectors of layers 0 and 1 can't be in the file and read as zero.

    Raises:
        SteeringError: another ending, values that aren't finite ``[n_layers d_model]``, no ``gguf`` package.
    """
    path, values = Path(path), vectors.values.detach().float().cpu().contiguous()
    if values.dim() != 2 or len(values) < 3 and path.suffix == ".gguf" or not torch.isfinite(values).all():
        raise SteeringError(
            f"Vectors of shape {list(values.shape)} can't be saved: finite numbers, [n_layers d_model], are needed, three layers for .gguf."
        )
    if path.suffix not in (".safetensors", ".gguf"):
        raise SteeringError(f"{path.name!r}: choose a name that ends in .safetensors or .gguf.")
    write = _write_safetensors if path.suffix == ".safetensors" else _write_gguf
    with replacing(path) as temporary:
        write(vectors, values, temporary)
    return path


def load(path: str | Path, n_layers: int | None = None) -> SteeringVectors:
    """Read what :func:`save` or repeng wrote.

    Args:
        n_layers: of the model that the vectors are for. repeng's files also hold a direction for the output
            of the last block, which no layer reads; with ``n_layers`` it is left out.

    Raises:
        SteeringError: no such file, another ending, or a file that holds no steering vectors.
    """
    path = Path(path)
    if not path.is_file():
        raise SteeringError(f"There is no file {str(path)!r}.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".gguf":
        return _read_gguf(path, n_layers)
    raise SteeringError(f"{path.name!r} ends in neither .safetensors nor .gguf.")


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
        raise SteeringError(f"{str(path)!r} holds no steering vectors of this course ({error}).") from error


def _gguf():
    try:
        import gguf
    except ImportError as error:
        raise SteeringError(
            "For .gguf the package gguf is needed: pip install gguf, or choose .safetensors."
        ) from error
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
        found = {
            int(t.name.split(".")[1]): torch.tensor(t.data.copy())
            for t in reader.tensors
            if t.name.startswith("direction.")
        }
        hint = reader.get_field(f"{GGUF_ARCHITECTURE}.model_hint")
    except (ValueError, IndexError, OSError) as error:
        raise SteeringError(f"{str(path)!r} isn't a GGUF file that can be read ({error}).") from error
    if not found:
        raise SteeringError(f"{str(path)!r} is a GGUF file without control vectors (no tensor 'direction.L').")
    values = torch.zeros(n_layers or max(found) + 2, len(next(iter(found.values()))))
    for block, vector in found.items():
        if block + 1 < len(values):
            values[block + 1] = vector
    return SteeringVectors(values, str(hint.contents()) if hint else "")
