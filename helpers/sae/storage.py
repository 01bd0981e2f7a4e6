"""SAEs on disk: written in SAELens' layout, read from several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from helpers.sae.base import Architecture, SAEError
from helpers.sae.batch_topk import BatchTopK
from helpers.sae.formats import CONFIG, GATED_NAMES, NAMES, WEIGHTS, Stored, Weights, read
from helpers.sae.gated import Gated
from helpers.sae.jumprelu import JumpReLU
from helpers.sae.topk import TopK

SETTINGS = {"dtype": "float32", "device": "cpu", "normalize_activations": "none", "reshape_activations": "none"}
SCALES = (0.1, 1.0, 10.0, 100.0)  # of the rows on which a module is compared with what would be written
MOST_DIFFERENT = 1e-4  # share of the latents


def save(module: nn.Module, folder: str | Path, model_name: str = "", hook_name: str = "") -> Path:
    """Write weights and ``cfg.json`` in SAELens' layout and return the folder.

    A BatchTopK or Matryoshka SAE is written as a JumpReLU SAE with one threshold, which it is outside training. A
    module of your own is written as what it computes on random rows: TopK if it has an attribute ``k``, JumpReLU if it
    has a ``threshold``, or ReLU, which SAELens calls "standard". It may subtract ``b_dec`` from its input or not.

    Raises:
        SAEError: the module lacks the weights of an SAE, or computes something that the layout can't express.
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
    names = GATED_NAMES if isinstance(module, Gated) else NAMES
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise SAEError(
            f"{type(module).__name__} has no {', '.join(missing)}: only SAEs with {', '.join(names)} can be saved."
        )
    weights = {name: getattr(module, name).detach() for name in names}
    rows = torch.randn(32, weights["W_enc"].shape[0], generator=torch.Generator().manual_seed(0))
    x = torch.cat([scale * rows for scale in SCALES]).to(weights["b_dec"]) + weights["b_dec"]
    was_training = module.training
    latents = module.eval().encode(x)
    x_hat = module.decode(latents)
    module.train(was_training)
    for architecture in _candidates(module):
        given = dict(weights)
        if architecture == "jumprelu":
            given["threshold"] = module.threshold.detach().expand(len(weights["b_enc"]))
        stored = Stored(architecture, given, int(getattr(module, "k", 0)) if architecture == "topk" else 0)
        for apply_b_dec in (True, False):
            expected = _build(stored).to(x).encode(x if apply_b_dec else x + weights["b_dec"])
            decodes = _same(x_hat, latents @ weights["W_dec"] + weights["b_dec"])
            if decodes and _same(latents, expected):
                return stored, apply_b_dec
    raise SAEError(
        f"{type(module).__name__} computes neither ReLU, TopK (attribute k), JumpReLU (attribute threshold) nor Gated "
        "latents of x W_enc + b_enc, or decodes otherwise than z W_dec + b_dec. SAELens' layout can't hold it: save "
        "its state_dict() with torch.save."
    )


def _candidates(module) -> list[str]:
    if isinstance(module, Gated):
        return ["gated"]
    if isinstance(module, JumpReLU | BatchTopK):
        return ["jumprelu"]
    k, threshold = getattr(module, "k", None), getattr(module, "threshold", None)
    found = ["topk"] if isinstance(k, int) and 1 <= k <= module.W_dec.shape[0] else []
    return [*found, *(["jumprelu"] if isinstance(threshold, Tensor) else []), "standard"]


def _same(found: Float[Tensor, "n d"], expected: Float[Tensor, "n d"]) -> bool:
    """Return whether all but a few numbers agree: rounding may lift a pre-activation over its threshold."""
    if found.shape != expected.shape:
        return False
    differ = ~torch.isclose(found, expected, rtol=1e-3, atol=1e-4)
    return differ.float().mean().item() <= MOST_DIFFERENT


def load(path: str | Path) -> Architecture:
    """Return the SAE in a folder of SAELens or sparsify, or in Gemma Scope's ``params.npz``.

    A standard SAE becomes a :class:`JumpReLU` with thresholds of 0, which computes the same.

    Raises:
        SAEError: a file is missing or broken, the format, architecture or a setting can't be read, or a shape is wrong.
    """
    stored = read(Path(path))
    try:
        module = _build(stored)
    except (RuntimeError, IndexError, ValueError) as error:
        raise SAEError(f"The weights in {str(path)!r} are broken ({error}): save or download them again.") from error
    return module


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
