"""SAEs on disk: written in SAELens' layout, read from several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from helpers.sae.base import Architecture, SAEError
from helpers.sae.batch_topk import BatchTopK
from helpers.sae.equivalence import in_full_precision, outputs, random_rows, same_latents, same_rows
from helpers.sae.formats import CONFIG, GATED_NAMES, NAMES, WEIGHTS, Stored, Weights, read, refuse_unless_sound
from helpers.sae.gated import Gated
from helpers.sae.jumprelu import JumpReLU
from helpers.sae.topk import TopK

SETTINGS = {"dtype": "float32", "device": "cpu", "normalize_activations": "none", "reshape_activations": "none"}


def save(module: nn.Module, folder: str | Path, model_name: str = "", hook_name: str = "") -> Path:
    """Write weights and ``cfg.json`` in SAELens' layout and return the folder.

    A BatchTopK or Matryoshka SAE is written as a JumpReLU SAE with one threshold, which it is outside training. A
    module of your own is written as what it computes on random rows: TopK if it has an attribute ``k``, JumpReLU if it
    has a ``threshold``, or ReLU, which SAELens calls "standard". It may subtract ``b_dec`` from its input or not.

    Raises:
        SAEError: the module lacks the weights of an SAE, computes something that the layout can't express, or that
            random rows don't tell apart.
    """
    stored, apply_b_dec = _matching(module)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().float().contiguous() for name, value in stored.weights.items()}
    save_file(tensors, folder / WEIGHTS)
    d_in, d_sae = stored.weights["W_enc"].shape
    metadata: dict[str, Any] = {"sae_lens_version": "6.0.0", "model_name": model_name, "hook_name": hook_name}
    metadata |= {"hook_head_index": None, "context_size": None, "prepend_bos": True}
    config: dict[str, Any] = {
        "architecture": stored.architecture, "d_in": d_in, "d_sae": d_sae, "apply_b_dec_to_input": apply_b_dec,
        **SETTINGS, "metadata": metadata,
    }  # fmt: skip
    if stored.architecture == "topk":
        config["k"] = stored.k
    (folder / CONFIG).write_text(json.dumps(config, indent=2))
    return folder


@torch.no_grad()
def _matching(module) -> tuple[Stored, bool]:
    """Return what to write, and whether ``b_dec`` is subtracted from the input, so that it computes the same."""
    kind = type(module).__name__
    weights = _weights(module)
    x = random_rows(weights["b_dec"])
    latents, x_hat = outputs(in_full_precision(module), x)
    if not latents.any():
        raise SAEError(f"{kind} has no active latent on random rows, so that what it computes can't be seen: train it.")
    matches: list[tuple[Stored, bool]] = []
    if same_rows(x_hat, latents @ weights["W_dec"] + weights["b_dec"]):
        b_enc = weights["b_mag" if "b_mag" in weights else "b_enc"]
        for stored in _candidates(module, weights):
            with torch.random.fork_rng(devices=[]):  # new modules draw random weights
                built = _build(stored).to(x)
            for apply_b_dec in (True, False):
                expected = built.encode(x if apply_b_dec else x + weights["b_dec"])
                if same_latents(latents, expected, x, weights["W_enc"], b_enc):
                    matches.append((stored, apply_b_dec))
                    break
    if {stored.architecture for stored, _ in matches} >= {"topk", "standard"} and (k := matches[0][0].k) < len(b_enc):
        raise SAEError(
            f"{kind} never has more than k={k} active latents on random rows, so that TopK and ReLU can't be told "
            "apart: delete the attribute k if it isn't TopK, or choose a smaller k."
        )
    if matches:
        return matches[0]
    raise SAEError(
        f"{kind} computes neither ReLU, TopK (attribute k), JumpReLU (attribute threshold) nor Gated "
        "latents of x W_enc + b_enc, or decodes otherwise than z W_dec + b_dec. SAELens' layout can't hold it: save "
        "its state_dict() with torch.save."
    )


def _weights(module) -> Weights:
    """Return the weights in fp32 (fp64 stays), after a check of names and shapes."""
    kind, names = type(module).__name__, GATED_NAMES if isinstance(module, Gated) else NAMES
    missing = [name for name in names if not isinstance(getattr(module, name, None), Tensor)]
    if missing:
        raise SAEError(f"{kind} has no {', '.join(missing)}: only SAEs with {', '.join(names)} can be saved.")
    weights = {name: getattr(module, name).detach() for name in names}
    refuse_unless_sound(weights, kind)
    return {name: value if value.dtype == torch.float64 else value.float() for name, value in weights.items()}


def _candidates(module, weights: Weights) -> list[Stored]:
    """Return what the module may be, by its class and attributes."""
    d_sae = len(weights["W_dec"])
    jumps, threshold = [], getattr(module, "threshold", None)
    if isinstance(threshold, Tensor | float | int):
        threshold = torch.as_tensor(threshold).detach().to(weights["b_dec"]).flatten()
        if len(threshold) in (1, d_sae):
            jumps = [Stored("jumprelu", weights | {"threshold": threshold.expand(d_sae)})]
    if isinstance(module, Gated):
        return [Stored("gated", weights)]
    if isinstance(module, JumpReLU | BatchTopK):
        return jumps
    k = getattr(module, "k", None)
    if isinstance(k, Tensor) and k.numel() == 1 and not k.is_floating_point():
        k = int(k)
    topks = [Stored("topk", weights, k)] if isinstance(k, int) and 1 <= k <= d_sae else []
    return topks if isinstance(module, TopK) else [*topks, *jumps, Stored("standard", weights)]


def load(path: str | Path) -> Architecture:
    """Return the SAE in a folder of SAELens or sparsify, or in Gemma Scope's ``params.npz``.

    A standard SAE becomes a :class:`JumpReLU` with thresholds of 0, which computes the same.

    Raises:
        SAEError: a file is missing or broken, the format, architecture or a setting can't be read, or a shape is wrong.
    """
    return _build(read(Path(path)))


def _build(stored: Stored) -> Architecture:
    weights: Weights = dict(stored.weights)
    d_in, d_sae = weights["W_enc"].shape
    module: Architecture
    if stored.architecture == "topk":
        module = TopK(d_in, d_sae, stored.k)
    elif stored.architecture == "gated":
        module = Gated(d_in, d_sae)
    else:
        module = JumpReLU(d_in, d_sae)
        # ReLU comes first, so that a threshold below 0 acts like 0.
        threshold = weights.pop("threshold", torch.zeros(d_sae))
        weights["log_threshold"] = threshold.clamp(min=0).log()
    module.load_state_dict(weights)  # strict: a shape that would broadcast is an error, too
    module.trained = True
    return module
