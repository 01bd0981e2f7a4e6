"""SAEs on disk, in the layout that SAELens reads and writes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from helpers.sae.base import SAEError
from helpers.sae.topk import TopK

WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


def save(module: TopK, folder: str | Path, model_name: str = "", hook_name: str = "") -> Path:
    """Write weights and ``cfg.json`` in SAELens' layout and return the folder.

    Raises:
        SAEError: a module without the four weights of an SAE.
    """
    folder = Path(folder)
    missing = [name for name in NAMES if not hasattr(module, name)]
    if missing:
        raise SAEError(f"{type(module).__name__} has no {', '.join(missing)}: only SAEs with {', '.join(NAMES)} can be saved.")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: getattr(module, name).detach().cpu().contiguous() for name in NAMES}, folder / WEIGHTS)
    d_in, d_sae = module.W_enc.shape
    config = {
        "architecture": getattr(module, "architecture", "standard"),
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.0.0",
            "model_name": model_name,
            "hook_name": hook_name,
            "hook_head_index": None,
            "context_size": None,
            "prepend_bos": True,
        },
    }
    if isinstance(module, TopK):
        config["k"] = module.k
    (folder / CONFIG).write_text(json.dumps(config, indent=2))
    return folder


def load(folder: str | Path) -> TopK:
    """Read a TopK SAE from a folder in SAELens' layout.

    Raises:
        SAEError: files missing or cut short, another architecture, or weights of another shape.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise SAEError(f"{str(folder)!r} has no {name}: point to a folder that sae.save or SAELens wrote.")
    try:
        config = json.loads((folder / CONFIG).read_text())
        sizes = [config[name] for name in ("d_in", "d_sae")]
        architecture = config["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise SAEError(f"{CONFIG} in {str(folder)!r} is broken ({error}): save or download it again.") from error
    if architecture != "topk":
        raise SAEError(f"{str(folder)!r} holds a {architecture!r} SAE; only 'topk' can be loaded.")
    try:
        module = TopK(*sizes, config["k"])
        module.load_state_dict(load_file(folder / WEIGHTS))  # strict: a shape that would broadcast is an error, too
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise SAEError(f"The weights in {str(folder)!r} are broken ({error}): save or download them again.") from error
    return module
