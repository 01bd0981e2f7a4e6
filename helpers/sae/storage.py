"""SAEs on disk, in SAELens' layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from helpers.sae.base import Architecture, SAEError
from helpers.sae.batch_topk import BatchTopK
from helpers.sae.gated import Gated
from helpers.sae.jumprelu import JumpReLU
from helpers.sae.topk import TopK

WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"
SETTINGS = {
    "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True, "normalize_activations": "none",
    "reshape_activations": "none",
}  # fmt: skip
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")
GATED_NAMES = ("W_enc", "b_gate", "b_mag", "r_mag", "W_dec", "b_dec")
Weights = dict[str, Float[Tensor, "..."]]


def save(module: nn.Module, folder: str | Path, model_name: str = "", hook_name: str = "") -> Path:
    """Write weights and ``cfg.json`` in SAELens' layout and return the folder.

    A BatchTopK or Matryoshka SAE is written as a JumpReLU SAE with one threshold, which it is outside training.
    Any other module with the four usual weights is written as a ReLU SAE, which SAELens calls "standard".

    Raises:
        SAEError: the module lacks the weights of an SAE.
    """
    architecture, weights = _outgoing(module)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().cpu().float().contiguous() for name, value in weights.items()}, folder / WEIGHTS)
    d_in, d_sae = weights["W_enc"].shape
    metadata: dict[str, Any] = {"sae_lens_version": "6.0.0", "model_name": model_name, "hook_name": hook_name}
    metadata |= {"hook_head_index": None, "context_size": None, "prepend_bos": True}
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        **SETTINGS,
        "metadata": metadata,
    }
    if architecture == "topk":
        config["k"] = module.k
    (folder / CONFIG).write_text(json.dumps(config, indent=2))
    return folder


def _outgoing(module: nn.Module) -> tuple[str, Weights]:
    """Return SAELens' name of the architecture, and the tensors that it expects."""
    names = GATED_NAMES if isinstance(module, Gated) else NAMES
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise SAEError(
            f"{type(module).__name__} has no {', '.join(missing)}: only SAEs with {', '.join(names)} can be saved."
        )
    weights = {name: getattr(module, name) for name in names}
    if isinstance(module, JumpReLU | BatchTopK):
        threshold = module.threshold.detach().expand(module.d_sae)
        return "jumprelu", weights | {"threshold": threshold}
    return getattr(module, "architecture", "standard"), weights


def load(folder: str | Path) -> Architecture:
    """Return the SAE in a folder in SAELens' layout: topk, jumprelu, gated or standard.

    A standard SAE becomes a :class:`JumpReLU` with thresholds of 0, which computes the same.

    Raises:
        SAEError: a file is missing or truncated, the architecture or a setting is unsupported, or a shape is wrong.
    """
    folder = Path(folder)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise SAEError(f"{str(folder)!r} has no {name}: point to a folder that sae.save or SAELens wrote.")
    try:
        config = json.loads((folder / CONFIG).read_text())
        d_in, d_sae, architecture = (config[name] for name in ("d_in", "d_sae", "architecture"))
        k = config["k"] if architecture == "topk" else None
    except (ValueError, KeyError, TypeError) as error:
        raise SAEError(f"{CONFIG} in {str(folder)!r} is broken ({error}): save or download it again.") from error
    for name in ("normalize_activations", "reshape_activations"):
        if config.get(name, "none") != "none":
            raise SAEError(f"{str(folder)!r} has {name}={config[name]!r}: only 'none' can be loaded.")
    module = _empty(architecture, d_in, d_sae, k, folder)
    try:
        weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        _fold(weights, config)
        # Strict: a shape that would broadcast is an error, too.
        module.load_state_dict(_incoming(weights, architecture, d_sae))
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise SAEError(f"The weights in {str(folder)!r} are broken ({error}): save or download them again.") from error
    module.trained = True
    return module


def _empty(architecture: str, d_in: int, d_sae: int, k: int | None, folder: Path) -> Architecture:
    if architecture == "topk":
        return TopK(d_in, d_sae, int(k or 0))
    if architecture in ("jumprelu", "standard"):
        return JumpReLU(d_in, d_sae)
    if architecture == "gated":
        return Gated(d_in, d_sae)
    raise SAEError(f"{str(folder)!r} holds a {architecture!r} SAE; topk, jumprelu, gated and standard can be loaded.")


def _fold(weights: Weights, config: dict) -> None:
    """Fold SAELens' settings that these classes lack into the weights, so that the SAE computes the same."""
    if config.get("rescale_acts_by_decoder_norm"):
        norms = weights["W_dec"].norm(dim=-1)
        weights["W_enc"] = weights["W_enc"] * norms
        weights["b_enc"] = weights["b_enc"] * norms
        weights["W_dec"] = weights["W_dec"] / norms[:, None]
    if config.get("apply_b_dec_to_input") is False:
        moved = weights["b_dec"] @ weights["W_enc"]
        for name, scale in (("b_enc", 1.0), ("b_gate", 1.0), ("b_mag", weights.get("r_mag", torch.zeros(())).exp())):
            if name in weights:
                weights[name] = weights[name] + scale * moved


def _incoming(weights: Weights, architecture: str, d_sae: int) -> Weights:
    if architecture == "standard":
        weights = weights | {"threshold": torch.zeros(d_sae)}
    if "threshold" in weights:
        weights = {name: value for name, value in weights.items() if name != "threshold"} | {
            "log_threshold": weights["threshold"].log()
        }
    return weights
