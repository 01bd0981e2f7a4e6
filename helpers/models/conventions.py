"""Conventions that the course relies on, whatever the architecture: texts start with BOS, and resid_mid is a stream."""

from __future__ import annotations

from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

from helpers.models.smollm2 import ModelError


def start_with_bos(model: TransformerBridge) -> None:
    """Let ``to_tokens`` put BOS in front of every text.

    TransformerLens doesn't for Qwen, Pythia and others. The first word would then be taken for BOS and dropped.

    Raises:
        ModelError: the tokenizer has no token for it, not even an end-of-text token.
    """
    model.cfg.default_prepend_bos = True
    bos = model.tokenizer.bos_token_id
    if bos is None or bos >= model.cfg.d_vocab or model.to_tokens("a", truncate=False)[0, 0] != bos:
        raise ModelError(
            "The model's tokenizer has neither a begin-of-text nor an end-of-text token, and every text must start "
            "with one. Set tokenizer.bos_token to a token that the model knows, and save the tokenizer again."
        )


class _Stream(HookPoint):
    """Hook point whose edits also reach what the block adds to its MLP's output."""

    def __call__(self, resid):
        edited = super().__call__(resid)
        if edited is not resid:
            resid.copy_(edited)
        return resid


def make_resid_mid_a_stream(model: TransformerBridge) -> None:
    """Let an edit at ``blocks.L.hook_resid_mid`` change the residual stream, as HookedTransformer's did.

    TransformerBridge's point is the input of the second norm. A hook that returned a new tensor there changed what the
    MLP reads, but not the stream that its output is added to.
    """
    for layer in range(model.cfg.n_layers):
        point = model.hook_dict.get(f"blocks.{layer}.hook_resid_mid")
        if point is not None:
            point.__class__ = _Stream
