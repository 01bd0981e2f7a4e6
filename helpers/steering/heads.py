"""The baseline: steering single attention heads with the same budget as the residual stream."""

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
    """Per head the mean output (``hook_z``) over positive sentences minus that over negative ones, BOS left out."""
    return _mean_z(model, positive) - _mean_z(model, negative)


def _mean_z(model, sentences: Sequence[str]) -> Float[Tensor, "n_layers n_heads d_head"]:
    names = [f"blocks.{layer}.attn.hook_z" for layer in range(model.cfg.n_layers)]
    total = 0
    for sentence in sentences:
        _, cache = model.run_with_cache(model.to_tokens(sentence), names_filter=names)
        total = total + torch.stack([cache[name][0, 1:].float().mean(0) for name in names])
    return total / len(sentences)


def written_norms(model, vectors: Float[Tensor, "n_layers n_heads d_head"]) -> Float[Tensor, "n_layers n_heads"]:
    """Norm of what each head's vector adds to the residual stream, through the head's output matrix."""
    return torch.einsum("lhd,lhdm->lhm", vectors, model.W_O.float()).norm(dim=-1)


def largest_heads(model, vectors: Float[Tensor, "n_layers n_heads d_head"], count: int) -> list[Head]:
    """The heads whose mean difference writes most into the residual stream."""
    norms = written_norms(model, vectors)
    top = norms.flatten().topk(min(count, norms.numel())).indices.tolist()
    return [divmod(index, norms.shape[1]) for index in top]


def head_hooks(model, vectors: Float[Tensor, "n_layers n_heads d_head"], head: Head, norm: float) -> list[Hook]:
    """A hook that adds the head's vector at the last position, scaled so that it writes ``norm`` (its sign kept)."""
    layer, index = head
    push = vectors[layer, index] * (norm / written_norms(model, vectors)[layer, index])

    def hook(z, hook):
        z[:, -1, index, :] += push.to(z)
        return z

    return [(f"blocks.{layer}.attn.hook_z", hook)]


def try_heads(
    model,
    vectors: Float[Tensor, "n_layers n_heads d_head"],
    norms: dict[Head, float],
    prompts: Sequence[str],
    max_new_tokens: int = 20,
) -> dict[Head, Curve]:
    """Push with one head at a time, by plus and minus its norm in ``norms``; per head a curve (−norm, 0, +norm) by VADER."""
    doses = [(head, sign * norm) for head, norm in norms.items() for sign in (-1, 1)]
    hook_sets = [[], *(head_hooks(model, vectors, head, norm) for head, norm in doses)]
    rows = generate_many(model, list(prompts), hook_sets, max_new_tokens, progress="heads")
    return dict(zip(norms, two_sided(rows, list(norms.values())), strict=True))
