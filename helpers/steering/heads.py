"""Baseline: steer one attention head by adding a vector of given norm to the residual stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

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
    """Return the norm that each head's vector has in the residual stream, after the head's output matrix."""
    return torch.einsum("lhd,lhdm->lhm", vectors, model.W_O.float()).norm(dim=-1)


def largest_heads(model, vectors: Float[Tensor, "n_layers n_heads d_head"], count: int) -> list[Head]:
    """Return the ``count`` heads whose vectors have the largest norm in the residual stream, largest first."""
    norms = written_norms(model, vectors)
    top = norms.flatten().topk(min(count, norms.numel())).indices.tolist()
    return [divmod(index, norms.shape[1]) for index in top]


def head_hooks(model, vectors: Float[Tensor, "n_layers n_heads d_head"], head: Head, norm: float) -> list[Hook]:
    """Return a hook that adds the head's vector at the last position.

    The vector is scaled so that it adds ``norm`` to the residual stream; a negative ``norm`` flips its sign.
    """
    layer, index = head
    scaled = vectors[layer, index] * (norm / written_norms(model, vectors)[layer, index])

    def hook(z, hook):
        z[:, -1, index, :] += scaled.to(z)
        return z

    return [(f"blocks.{layer}.attn.hook_z", hook)]


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
