"""A language model of 20,000 random weights: it loads in a fraction of a second and has every hook point."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformer_lens.model_bridge import TransformerBridge
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from helpers.checks.verdict import CheckFailed
from helpers.models.loading import load_model

WORDS = (
    "the a this that my your food film day walk house river music train garden letter was is felt seemed looked "
    "good bad great awful nice cold warm late early slow and but so because while we they she he it saw took made"
).split()
SPECIAL = ("<bos>", "<eos>", "<unk>")


@functools.lru_cache(maxsize=1)
def toy_model() -> TransformerBridge:
    """Return the toy model of the public checks, with 3 layers of width 16; see :func:`build`."""
    return build()


def build(seed: int = 21, layers: int = 3, width: int = 16, architecture: str = "gpt2") -> TransformerBridge:
    """A toy: GPT-2 or Llama with 2 heads, a context of 64 and 47 tokens, random weights.

    One word is one token; :data:`WORDS` is the whole vocabulary. Texts
    get a BOS, as ``model.to_tokens`` does by default; EOS is another token, and padding is EOS.
    It is on the device that :func:`helpers.load_model` chooses: the GPU if there is one, else the CPU.
    """
    network = {"gpt2": _gpt2, "llama": _llama}[architecture]
    with torch.random.fork_rng(), _quiet(), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        tokenizer = _tokenizer()
        network(len(tokenizer), layers, width).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return load_model(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokens = [*SPECIAL, *("Ġ" + word for word in WORDS)]  # Ġ: how byte-level tokenizers write a space
    words = Tokenizer(tokenizer_models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<eos>"
    )


def _gpt2(n_tokens: int, layers: int, width: int) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(GPT2Config(
        **_shared(n_tokens), n_positions=64, n_embd=width, n_layer=layers, n_head=2, attn_pdrop=0.0, resid_pdrop=0.0,
        embd_pdrop=0.0,
    ))  # fmt: skip


def _llama(n_tokens: int, layers: int, width: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(
        **_shared(n_tokens), max_position_embeddings=64, hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1,
    ))  # fmt: skip


def _shared(n_tokens: int) -> dict:
    # Weights with a deviation of 0.4 instead of GPT-2's 0.02: layers, positions and words must differ visibly.
    # Untied embeddings, or the model would repeat one word forever.
    return {
        "vocab_size": n_tokens,
        "tie_word_embeddings": False,
        "initializer_range": 0.4,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bars of loading."""
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def restored(model: TransformerBridge, name: str) -> Iterator[None]:
    """Raise :class:`CheckFailed` if the student's function ``name`` leaves hooks in the model or changes its weights.

    The hooks are removed in any case, even after an error. If the weights changed, the next check gets a new model.
    """
    weights, before = _fingerprint(model), _hooks(model)
    try:
        yield
        left = _hooks(model) - before
    finally:
        _remove(model, _hooks(model) - before)
        damaged = _fingerprint(model) != weights
        if damaged:
            toy_model.cache_clear()
    if left:
        raise CheckFailed(
            f"{name} leaves {len(left)} hook{'s' * (len(left) > 1)} in the model after the run, so every later run "
            f"is changed, too: use model.run_with_hooks(...) or `with model.hooks(...)`, or call model.reset_hooks()."
        )
    if damaged:
        raise CheckFailed(f"{name} changes the model's weights: read or edit activations only.")


def _hooks(model: TransformerBridge) -> set[tuple[torch.nn.Module, int]]:
    # transformers adds permanent hooks at the first forward pass, for output_hidden_states
    return {
        (module, key)
        for module in model.modules()
        for key, function in module._forward_hooks.items()
        if not str(getattr(function, "__module__", "")).startswith("transformers.")
    }


def _remove(model: TransformerBridge, hooks: set[tuple[torch.nn.Module, int]]) -> None:
    for module, key in hooks:
        module._forward_hooks.pop(key, None)
        handles = getattr(module, "fwd_hooks", None)
        if handles is not None:
            handles[:] = [handle for handle in handles if handle.hook.id != key]


def _fingerprint(model: TransformerBridge) -> float:
    # abs: a plain sum may stay the same if signs change
    return sum(float(p.double().abs().sum()) + float(p.double().sum()) for p in model.parameters())
