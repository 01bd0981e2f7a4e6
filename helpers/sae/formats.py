"""Files of SAELens 3 to 6, sparsify and Gemma Scope, read as the SAE that they describe or refused by name.

Settings that the architectures here lack are folded into the weights where the result computes the same. Anything
else is refused: a setting that is ignored gives wrong numbers without a word.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from helpers.sae.base import SAEError

WEIGHTS, CONFIG = "sae_weights.safetensors", "cfg.json"  # SAELens
SPARSIFY, GEMMA_SCOPE = "sae.safetensors", "params.npz"
ARCHITECTURES = ("topk", "jumprelu", "gated", "standard")
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")
GATED_NAMES = ("W_enc", "b_gate", "b_mag", "r_mag", "W_dec", "b_dec")
Weights = dict[str, Float[Tensor, "..."]]


@dataclass(frozen=True)
class Stored:
    """An SAE as read from files: encode is act((x − b_dec) W_enc + b_enc), decode z W_dec + b_dec."""

    architecture: str  # one of ARCHITECTURES
    weights: Weights
    k: int = 0  # for topk


def read(path: Path) -> Stored:
    """Return the SAE in a folder, or in a file ``params.npz``.

    Raises:
        SAEError: a file is missing or broken, or the format, architecture or a setting can't be read.
    """
    try:
        if path.suffix == ".npz" or (path / GEMMA_SCOPE).is_file():
            return _gemma_scope(path if path.suffix == ".npz" else path / GEMMA_SCOPE)
        if (path / SPARSIFY).is_file():
            return _sparsify(path, _config(path), _tensors(path / SPARSIFY))
        for name in (WEIGHTS, CONFIG):
            if not (path / name).is_file():
                raise SAEError(f"{str(path)!r} has no {name}: point to a folder that sae.save or SAELens wrote.")
        return _saelens(path, _config(path), _tensors(path / WEIGHTS))
    except KeyError as error:
        raise SAEError(f"The weights in {str(path)!r} are broken ({error} is missing): download them again.") from error


def _config(folder: Path) -> dict:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it isn't a JSON object")
    except (ValueError, OSError) as error:
        raise SAEError(f"{CONFIG} in {str(folder)!r} is broken ({error}): save or download it again.") from error
    return config


def _tensors(path: Path) -> Weights:
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise SAEError(f"The weights in {str(path)!r} are broken ({error}): save or download them again.") from error


def _saelens(folder: Path, config: dict, weights: Weights) -> Stored:
    """Read SAELens' layout. Until version 5, the activation function had a field of its own."""
    refuse = _Refusal(folder, config)
    normalised = config.get("normalize_activations") or "none"
    if normalised is True:
        normalised = "expected_average_only_in"  # before version 3.5
    refuse.unless(normalised == "none", "normalize_activations", normalised)
    on_heads = "hook_z" if str(config.get("hook_name", config.get("hook_point", ""))).endswith("hook_z") else "none"
    reshaped = config.get("reshape_activations") or on_heads
    refuse.unless(reshaped == "none", "reshape_activations", reshaped)

    architecture = config.get("architecture", "standard")  # without the field: before version 3.5
    if architecture not in ARCHITECTURES:
        raise SAEError(f"{str(folder)!r} holds a {architecture!r} SAE; {_listed(ARCHITECTURES)} can be loaded.")
    activation = config.get("activation_fn_str", config.get("activation_fn")) or "relu"
    given = config.get("activation_fn_kwargs") or {}
    k = config.get("k", given.get("k"))
    if architecture == "topk" and "activation_fn_str" not in config and "activation_fn" not in config:
        activation = "topk"
    refuse.unless(activation in ("relu", "topk") and not given.keys() - {"k"}, "activation_fn", (activation, given))
    if activation == "topk":
        refuse.unless(architecture in ("topk", "standard"), "activation_fn", activation)
        architecture = "topk"
    refuse.unless(not (architecture == "topk" and activation == "relu"), "activation_fn", activation)
    refuse.unless(architecture == "topk" or not config.get("rescale_acts_by_decoder_norm"),
                  "rescale_acts_by_decoder_norm", True)  # fmt: skip

    _fold_scaling_factor(refuse, weights, bool(config.get("finetuning_scaling_factor")))
    if config.get("rescale_acts_by_decoder_norm"):
        norms = weights["W_dec"].norm(dim=-1)
        weights |= {name: weights[name] * norms for name in ("W_enc", "b_enc")}
        weights["W_dec"] = weights["W_dec"] / norms[:, None]
    if config.get("apply_b_dec_to_input") is False:
        _fold_input_bias(weights)
    for name, size in (("d_in", weights["W_enc"].shape[0]), ("d_sae", weights["W_enc"].shape[-1])):
        refuse.unless(config.get(name, size) == size, name, config.get(name))
    if architecture == "topk" and not isinstance(k, int):
        raise SAEError(f"{CONFIG} in {str(folder)!r} names no k for its TopK: add it, or download the file again.")
    return _checked(folder, architecture, weights, k or 0)


def _sparsify(folder: Path, config: dict, weights: Weights) -> Stored:
    """Read EleutherAI's layout: a linear layer as encoder, whose rows are the latents."""
    refuse = _Refusal(folder, config)
    refuse.unless(config.get("activation", "topk") == "topk", "activation", config.get("activation"))
    for name in ("transcode", "skip_connection", "signed"):
        refuse.unless(not config.get(name), name, True)
    if not isinstance(config.get("k"), int):
        raise SAEError(f"{CONFIG} in {str(folder)!r} names no k: add it, or download the file again.")
    weights["W_enc"], weights["b_enc"] = weights.pop("encoder.weight").T, weights.pop("encoder.bias")
    return _checked(folder, "topk", weights, config["k"])


def _gemma_scope(path: Path) -> Stored:
    """Read a JumpReLU SAE of Gemma Scope (Lieberum et al. 2024), which doesn't subtract b_dec from its input."""
    if "embedding" in path.parts:
        raise SAEError(f"{str(path)!r} is of embeddings, which Gemma Scope scales: only other layers can be loaded.")
    if any("transcoder" in part for part in path.parts):  # its file looks like an SAE's
        raise SAEError(f"{str(path)!r} is a transcoder: only SAEs can be loaded.")
    try:
        with np.load(path) as file:
            weights = {name: torch.from_numpy(np.asarray(file[name], dtype=np.float32)) for name in file}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise SAEError(f"{str(path)!r} is missing or broken ({error}): download it again.") from error
    _fold_input_bias(weights)
    return _checked(path, "jumprelu", weights, 0)


def _fold_scaling_factor(refuse: _Refusal, weights: Weights, used: bool) -> None:
    """Multiply decoder rows by the factors of a fine-tuned SAE. Version 3 also wrote unused factors of 1."""
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        factor = weights.pop(name, torch.ones(()))
        refuse.unless(used or bool(torch.allclose(factor, torch.ones(()))), "finetuning_scaling_factor", used)
        weights["W_dec"] = weights["W_dec"] * factor[..., None]


def _fold_input_bias(weights: Weights) -> None:
    """Let the encoder of x become one of x − b_dec, which these classes have."""
    moved = weights["b_dec"] @ weights["W_enc"]
    for name, scale in (("b_enc", 1.0), ("b_gate", 1.0), ("b_mag", weights.get("r_mag", torch.zeros(())).exp())):
        if name in weights:
            weights[name] = weights[name] + scale * moved


def _checked(path: Path, architecture: str, weights: Weights, k: int) -> Stored:
    names = {*(GATED_NAMES if architecture == "gated" else NAMES), *(("threshold",) * (architecture == "jumprelu"))}
    missing, unknown = names - weights.keys(), weights.keys() - names
    if missing or unknown:
        raise SAEError(
            f"The weights in {str(path)!r} are broken or of another kind: a {architecture} SAE has "
            f"{_listed(sorted(names))}, these have {_listed(sorted(weights))}."
        )
    return Stored(architecture, weights, k)


@dataclass(frozen=True)
class _Refusal:
    """Refuses settings that would change what the SAE computes."""

    folder: Path
    config: dict

    def unless(self, fine: bool, name: str, value) -> None:
        if not fine:
            raise SAEError(
                f"{str(self.folder)!r} has {name}={value!r}, which can't be loaded: it changes what the SAE computes, "
                "and none of the SAEs here does the same."
            )


def _listed(names) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}"
