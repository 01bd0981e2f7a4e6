"""Random models of other architecture families, with the tiny model's tokenizer, to test all but the meaning."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from tests import tiny

SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 96,
}  # fmt: skip
# Gemma 3 has a norm behind attention and MLP, scaled embeddings and sliding windows; Qwen 3 norms queries and keys.
FAMILIES = {
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {"sliding_window": 32, "query_pre_attn_scalar": 16}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {}),
    "pythia": (
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        {"num_key_value_heads": None},
    ),  # attention and MLP read the same stream
}


def random_model(folder: Path, family: str, n_layers: int = 3, words=None) -> Path:
    """Write a folder with a random model of a family; deviations of 0.1 make its layers matter.

    Args:
        words: its tokenizer; ``None`` takes the tiny model's.
    """
    config_name, model_name, extra = FAMILIES[family]
    words = words or tiny.tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, config_name)(
            vocab_size=len(words),
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
            num_hidden_layers=n_layers,
            initializer_range=0.1,
            **(SHAPE | extra),
        )
        model = getattr(transformers, model_name)(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name:  # not all equal, so that folding them makes a difference
                    parameter.add_(0.3 * torch.randn_like(parameter))
        model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
