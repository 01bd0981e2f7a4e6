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
                raise SAEError(
                    f"{str(path)!r} has no {name}: point to a folder that sae.save, SAELens or sparsify wrote, or to "
                    f"Gemma Scope's {GEMMA_SCOPE}."
                )
        return _saelens(path, _config(path), _tensors(path / WEIGHTS))
    except SAEError:
        raise
    except KeyError as error:
        raise SAEError(f"The weights in {str(path)!r} are broken ({error} is missing): download them again.") from error
    except (RuntimeError, IndexError, ValueError) as error:  # shapes that don't fit together
        raise SAEError(f"The weights in {str(path)!r} are broken ({error}): save or download them again.") from error


def _config(folder: Path, name: str = CONFIG) -> dict:
    try:
        config = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it isn't a JSON object")
    except (ValueError, OSError) as error:
        raise SAEError(f"{name} in {str(folder)!r} is broken ({error}): save or download it again.") from error
    return config


def _tensors(path: Path) -> Weights:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise SAEError(f"The weights in {str(path)!r} are broken ({error}): save or download them again.") from error
    for name, value in tensors.items():
        if not value.is_floating_point():
            raise SAEError(f"{name} in {str(path)!r} is {value.dtype}: only floating-point weights can be loaded.")
    return {name: value.float() for name, value in tensors.items()}


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
    activations = [config[name] for name in ("activation_fn_str", "activation_fn") if config.get(name)]
    refuse.unless(activations in ([], activations[:1], 2 * activations[:1]), "activation_fn", activations)
    activation = activations[0] if activations else "relu"
    given = config.get("activation_fn_kwargs") or {}
    ks = [k for k in (config.get("k"), given.get("k")) if k is not None]
    refuse.unless(ks in ([], ks[:1], 2 * ks[:1]), "k", ks)
    if architecture == "topk" and not activations:
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
        weights["W_dec"] = weights["W_dec"] / norms.clamp(min=1e-8)[:, None]  # a row of 0 stays one
    if config.get("apply_b_dec_to_input") is False:
        _fold_input_bias(weights)
    _check_sizes(folder, weights, {name: config.get(name) for name in ("d_in", "d_sae")})
    k = _whole_k(folder, weights, ks[0] if ks else None) if architecture == "topk" else 0
    return _checked(folder, architecture, weights, k)


def _sparsify(folder: Path, config: dict, weights: Weights) -> Stored:
    """Read EleutherAI's layout: a linear layer as encoder, whose rows are the latents."""
    refuse = _Refusal(folder, config)
    refuse.unless(config.get("activation", "topk") == "topk", "activation", config.get("activation"))
    for name in ("transcode", "skip_connection", "signed"):
        refuse.unless(not config.get(name), name, True)
    if "transcode" not in config:
        _refuse_early_transcoder(refuse, folder, config)
    weights["W_enc"], weights["b_enc"] = weights.pop("encoder.weight").T, weights.pop("encoder.bias")
    _check_sizes(folder, weights, {"d_in": config.get("d_in"), "num_latents": config.get("num_latents") or None})
    return _checked(folder, "topk", weights, _whole_k(folder, weights, config.get("k")))


def _refuse_early_transcoder(refuse: _Refusal, folder: Path, config: dict) -> None:
    """Look into the training run's config.json, which alone marked transcoders from November 2024 to February 2025."""
    runs = [parent for parent in folder.absolute().parents[:2] if (parent / "config.json").is_file()]
    marks = [_config(parent, "config.json").get("transcode") for parent in runs]
    refuse.unless(True not in marks, "transcode", True)
    if False not in marks and "skip_connection" in config:  # a setting of November 2024
        raise SAEError(
            f"{CONFIG} in {str(folder)!r} doesn't say whether this is an SAE or a transcoder. Download the config.json "
            f'of the training run into {str(folder.absolute().parent)!r}, or add "transcode": false if it is an SAE.'
        )


def _gemma_scope(path: Path) -> Stored:
    """Read a JumpReLU SAE of Gemma Scope (Lieberum et al. 2024), which doesn't subtract b_dec from its input.

    Only the path tells it from an SAE of embeddings or a transcoder. Links aren't followed: in Hugging Face's cache,
    they lead to a path without names.
    """
    path = path.absolute()
    if "embedding" in path.parts:
        raise SAEError(f"{str(path)!r} is of embeddings, which Gemma Scope scales: only other layers can be loaded.")
    if any("transcoder" in part for part in path.parts):
        raise SAEError(
            f"{str(path)!r} is a transcoder: only SAEs can be loaded. Move an SAE to a path without the word."
        )
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
    refuse_unless_sound(weights, str(path))
    return Stored(architecture, weights, k)


def refuse_unless_sound(weights: Weights, where: str) -> None:
    """Refuse shapes that don't fit together, NaN and infinity. A latent with an infinite threshold is never active."""
    d_sae, d_in = weights["W_dec"].shape if weights["W_dec"].ndim == 2 else (0, 0)
    shapes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    for name, value in weights.items():
        if value.shape != shapes.get(name, (d_sae,)):
            raise SAEError(
                f"The weights in {where!r} are broken: {name} is {list(value.shape)}. W_enc must be [d_in d_sae], "
                "W_dec [d_sae d_in], b_dec [d_in], and the others [d_sae]."
            )
        if value.isnan().any() or (name != "threshold" and value.isinf().any()):
            raise SAEError(f"{name} in {where!r} has NaN or infinite numbers: train it or download it again.")


def _check_sizes(folder: Path, weights: Weights, sizes: dict) -> None:
    """Compare the configuration's width of the activations and number of latents, if given, with the weights."""
    for (name, size), actual in zip(sizes.items(), weights["W_enc"].shape, strict=True):
        if size not in (None, actual):
            shape = list(weights["W_enc"].shape)
            raise SAEError(
                f"{CONFIG} in {str(folder)!r} says {name}={size!r}, but W_enc is {shape}: download it again."
            )


def _whole_k(folder: Path, weights: Weights, k) -> int:
    d_sae = weights["W_enc"].shape[-1]
    if type(k) is not int or not 1 <= k <= d_sae:
        raise SAEError(
            f"{CONFIG} in {str(folder)!r} names no k from 1 to {d_sae}, but {k!r}: correct it, or download it again."
        )
    return k


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
