"""Harvest activations: from lines of text to a table with one row per token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from helpers.caching.activations import Activations, HarvestError, mark_sinks
from helpers.caching.tokens import Tokens, tokenise
from helpers.hooks import HookError, check_name
from helpers.kernels.fused import fused
from helpers.kernels.matmul import packed_weights

BATCH_TOKENS = (
    1024  # on two cores 3% faster than 2048 and 10% faster than 4096: the MLP's activations stay in the cache
)
ON_GPU = 4  # times as many there, where launching the kernels costs more; ΔCE needs the logits of a batch, too


def harvest(
    model,
    texts: Sequence[str],
    hook_names: str | Sequence[str],
    context: int | None = None,
    too_long: str = "error",
    max_tokens: int | None = None,
    progress: bool = True,
    blank: str = "error",
):
    """Run the model on every line and keep the activations of one hook point, or of several.

    Lines are sorted by length and batched, padded on the right; a causal model never looks to the
    right, so no mask is needed. The run stops behind the last block that is asked for.

    Args:
        hook_names: points whose activations are ``[batch pos d_model]``, such as ``"blocks.15.hook_resid_pre"``.
        context: longest line in tokens, BOS counted; ``None`` takes the model's context.
        too_long: what to do with a longer line: ``"error"``, ``"cut"`` it there, or ``"split"`` it into parts, each with
            a BOS of its own and positions from 1 on.
        max_tokens: take no more lines once there are so many tokens, BOS not counted.
        blank: what to do with a line without text, or with special tokens alone: ``"error"`` or ``"skip"``; the lines
            behind it keep their numbers.

    Returns:
        :class:`Activations` in fp32 on the CPU; for a list of names a dict by name. More than memory holds, or work that is
        to survive an interrupt: :func:`helpers.caching.shards.harvest_to`.

    Raises:
        HarvestError: no lines, a line that isn't text, or one longer than the context.
        HookError: a hook point that the model doesn't have.
    """
    names = [hook_names] if isinstance(hook_names, str) else list(hook_names)
    for name in names:
        check_name(model, name)
    tokens = tokenise(model, texts, context or model.cfg.n_ctx, too_long, max_tokens, blank)
    if not tokens.rows:
        raise HarvestError("There is no line with text in it: nothing to harvest.")
    with tqdm(total=sum(map(len, tokens.rows)), unit="tok", desc="harvest", disable=not progress) as bar:
        found = run_batches(model, tokens, names, bar)
    result = {name: _table(tokens, values, name) for name, values in found.items()}
    return result[names[0]] if isinstance(hook_names, str) else result


def run_batches(
    model, tokens: Tokens, names: list[str], bar=None, dtype: torch.dtype = torch.float32
) -> dict[str, Float[Tensor, "n d_model"]]:
    """Activations of all tokens but BOS at some hook points, in the order of the text, on the CPU."""
    rows = tokens.rows
    found: dict[str, list[Tensor]] = {name: [None] * len(rows) for name in names}
    with packed_weights():
        for indices in batches(rows):
            batch = torch.nn.utils.rnn.pad_sequence([rows[i] for i in indices], batch_first=True)
            for name, value in read_batch(model, batch, names).items():
                for row, i in enumerate(indices):
                    found[name][i] = value[row, 1 : len(rows[i])].to("cpu", dtype)
            if bar is not None:
                bar.update(sum(len(rows[i]) for i in indices))
    return {name: torch.cat(values) for name, values in found.items()}


def batches(rows: list[Tensor]) -> list[list[int]]:
    """Indices of lines of about one length, at most ``BATCH_TOKENS`` tokens a batch (more on a GPU), padding counted."""
    found, longest = [[]], 0
    most = BATCH_TOKENS * (ON_GPU if rows and rows[0].is_cuda else 1)
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        longest = max(longest, len(rows[i]))
        if found[-1] and longest * (len(found[-1]) + 1) > most:
            found.append([])
            longest = len(rows[i])
        found[-1].append(i)
    return found


class _Enough(Exception):
    """Raised by the last hook: what comes after it isn't needed."""


@torch.inference_mode()
def read_batch(
    model, batch: Int[Tensor, "batch pos"], names: list[str]
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """The activations of a batch at some hook points; the model stops behind the last of them."""
    found = {}

    def keep(name):
        def hook(value, hook):
            if value.ndim != 3:
                raise HookError(
                    f"{name!r} gives {list(value.shape)}, not [batch pos d_model]: choose a residual stream."
                )
            found[name] = value.clone()
            if len(found) == len(names):
                raise _Enough
            return value

        return hook

    try:
        with model.hooks(fwd_hooks=[(name, keep(name)) for name in names]), fused(model):
            model.original_model(batch, use_cache=False)
    except _Enough:
        pass
    return found


def _table(tokens: Tokens, values: Float[Tensor, "n d_model"], name: str) -> Activations:
    return Activations(values, *tokens.columns(), mark_sinks(values), name)
