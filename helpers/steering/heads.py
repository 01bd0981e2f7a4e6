"""Baseline: steer one attention head by adding a vector of given norm to the residual stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.data import NEGATIVE, POSITIVE
from helpers.hooks import Hook, generate_many
from helpers.steering.curves import Curve
from helpers.steering.sweeps import two_sided

Head = tuple[int, int]  # layer, head


@torch.no_grad()
def head_differences(
    model, positive: Sequence[str], negative: Sequence[str]
) -> Float[Tensor, "n_layers n_heads d_head"]:
    """Return each head's mean output (``hook_z``) on positive minus that on negative sentences, BOS excluded."""
    return _mean_z(model, positive) - _mean_z(model, negative)


def _mean_z(model, sentences: Sequence[str]) -> Float[Tensor, "n_layers n_heads d_head"]:
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(model.cfg.n_layers)]
    means = []
    for sentence in sentences:
        _, cache = model.run_with_cache(model.to_tokens(sentence), names_filter=names)
        means.append(torch.stack([cache[name][0, 1:].float().mean(0) for name in names]))
    return sum(means, torch.zeros_like(means[0])) / len(sentences)


def written_norms(model, vectors: Float[Tensor, "n_layers n_heads d_head"]) -> Float[Tensor, "n_layers n_heads"]:
    """Return the norm that each head's vector has in the residual stream.

    It is multiplied by the head's output matrix. Where a norm follows attention, as in Gemma, it is also multiplied by
    that norm's average gain on the contrast sentences. There a sum of several heads is shorter than its parts.
    """
    return _written(model, vectors).norm(dim=-1)


@torch.no_grad()
def _written(model, vectors) -> Float[Tensor, "n_layers n_heads d_model"]:
    written = torch.einsum("lhd,lhdm->lhm", vectors, model.W_O.float())
    return written * _gains(model)[:, None].to(written.device)


@lru_cache(maxsize=4)
def _gains(model) -> Float[Tensor, "n_layers d_model"]:
    """Return what each coordinate of attention's output is multiplied by on its way to the residual stream."""
    layers = range(model.cfg.n_layers)
    gains = torch.ones(model.cfg.n_layers, model.cfg.d_model)
    pairs = [(f"blocks.{layer}.attn.hook_out", f"blocks.{layer}.hook_attn_out") for layer in layers]
    if all(model.hook_dict[before] is model.hook_dict[after] for before, after in pairs):
        return gains
    seen: dict[str, list[Tensor]] = {name: [] for pair in pairs for name in pair}
    keep = [(name, lambda value, hook, name=name: seen[name].append(value[0, 1:].float().cpu())) for name in seen]
    with model.hooks(fwd_hooks=keep):
        for sentence in (*POSITIVE, *NEGATIVE):
            model.original_model(model.to_tokens(sentence), use_cache=False)
    for layer, (before, after) in enumerate(pairs):
        x, y = torch.cat(seen[before]), torch.cat(seen[after])
        gains[layer] = (x * y).sum(0) / (x * x).sum(0).clamp_min(1e-12)  # least squares per coordinate
    return gains


def largest_heads(model, vectors: Float[Tensor, "n_layers n_heads d_head"], count: int) -> list[Head]:
    """Return the ``count`` heads whose vectors have the largest norm in the residual stream, largest first."""
    norms = written_norms(model, vectors)
    top = norms.flatten().topk(min(count, norms.numel())).indices.tolist()
    return [divmod(index, norms.shape[1]) for index in top]


def head_hooks(model, vectors: Float[Tensor, "n_layers n_heads d_head"], head: Head, norm: float) -> list[Hook]:
    """Return a hook that adds what the head's vector writes into the residual stream, at the last position.

    It is rescaled to ``norm``; a negative ``norm`` flips its sign. It is added to attention's output, behind a norm
    that may follow, so that its norm in the residual stream is exact.
    """
    layer, index = head
    written = _written(model, vectors)[layer, index]
    push = written * (norm / written.norm())

    def hook(attn_out, hook):
        attn_out[:, -1, :] += push.to(attn_out)
        return attn_out

    return [(f"blocks.{layer}.hook_attn_out", hook)]


def try_heads(
    model,
    vectors: Float[Tensor, "n_layers n_heads d_head"],
    norms: dict[Head, float],
    prompts: Sequence[str],
    max_new_tokens: int = 20,
) -> dict[Head, Curve]:
    """Steer one head at a time; return its curve at −norm, 0 and +norm, scored by VADER.

    Args:
        norms: per head the norm of what is added to the residual stream.
    """
    signed_norms = [(head, sign * norm) for head, norm in norms.items() for sign in (-1, 1)]
    hook_sets = [[], *(head_hooks(model, vectors, head, norm) for head, norm in signed_norms)]
    rows = generate_many(model, list(prompts), hook_sets, max_new_tokens, progress="heads")
    return dict(zip(norms, two_sided(rows, list(norms.values())), strict=True))
