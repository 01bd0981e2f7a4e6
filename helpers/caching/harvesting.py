"""Harvesting: from lines of text to a table of activations, one row per token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from helpers.caching.activations import Activations, HarvestError, mark_sinks
from helpers.caching.tokens import Tokens, tokenise
from helpers.hooks import HookError, check_names
from helpers.kernels.fused import fused
from helpers.kernels.matmul import packed_weights

# On two cores 3% faster than 2048 and 10% faster than 4096, since the MLP's activations stay in the cache.
BATCH_TOKENS = 1024
# Times as many tokens per batch on a GPU, where kernel launches cost more. Not more: ΔCE also holds a batch's logits.
ON_GPU = 4


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
    """Run the model on every line and return the activations at one hook point, or at several.

    Lines are sorted by length, batched and padded on the right. A causal model never looks to the right, so no
    mask is needed. The run stops after the last hook point.

    Args:
        hook_names: hook points with activations ``[batch pos d_model]``, such as ``"blocks.15.hook_resid_pre"``.
        context: maximum number of tokens per line, BOS included; ``None`` takes the model's context.
        too_long: what to do with a longer line: ``"error"``, ``"cut"`` it, or ``"split"`` it into parts. Each part
            gets its own BOS and positions from 1 on.
        max_tokens: stop after the line that reaches this number of tokens, BOS excluded.
        blank: what to do with a line that has no text or only special tokens: ``"error"`` or ``"skip"``. Skipping
            doesn't change the numbers of the other lines.

    Returns:
        :class:`Activations` in fp32 on the CPU; for a list of names, a dict by name. If they don't fit into memory,
        or must survive an interrupt, use :func:`helpers.caching.harvest_to`.

    Raises:
        HarvestError: there are no lines, or a line isn't text or is longer than the context.
        HookError: the model doesn't have the hook point.
    """
    names = [hook_names] if isinstance(hook_names, str) else list(hook_names)
    check_names(model, names)
    tokens = tokenise(model, texts, context or model.cfg.n_ctx, too_long, max_tokens, blank)
    if not tokens.rows:
        raise HarvestError("No line has text in it: give at least one that does.")
    with tqdm(total=sum(map(len, tokens.rows)), unit="tok", desc="harvest", disable=not progress) as bar:
        values_by_name = run_batches(model, tokens, names, bar)
    result = {name: _table(tokens, values, name) for name, values in values_by_name.items()}
    return result[names[0]] if isinstance(hook_names, str) else result


def run_batches(
    model, tokens: Tokens, names: list[str], bar=None, dtype: torch.dtype = torch.float32
) -> dict[str, Float[Tensor, "n d_model"]]:
    """Return the activations of all tokens but BOS by hook point, in the order of the text, on the CPU."""
    rows = tokens.rows
    by_line: dict[str, list[Tensor]] = {name: [torch.empty(0)] * len(rows) for name in names}
    with packed_weights():
        for indices in batches(rows):
            batch = torch.nn.utils.rnn.pad_sequence([rows[i] for i in indices], batch_first=True)
            for name, value in read_batch(model, batch, names).items():
                for row, i in enumerate(indices):
                    by_line[name][i] = value[row, 1 : len(rows[i])].to("cpu", dtype)
            if bar is not None:
                bar.update(sum(len(rows[i]) for i in indices))
    return {name: torch.cat(values) for name, values in by_line.items()}


def batches(rows: list[Tensor]) -> list[list[int]]:
    """Return batches of indices of lines of similar length.

    A batch has at most ``BATCH_TOKENS`` tokens, padding included; on a GPU ``ON_GPU`` times as many.
    """
    groups: list[list[int]] = [[]]
    longest = 0
    most = BATCH_TOKENS * (ON_GPU if rows and rows[0].is_cuda else 1)
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        longest = max(longest, len(rows[i]))
        if groups[-1] and longest * (len(groups[-1]) + 1) > most:
            groups.append([])
            longest = len(rows[i])
        groups[-1].append(i)
    return groups


class _Complete(Exception):
    """Raised by the last hook to stop the forward pass: later layers aren't needed."""


@torch.inference_mode()
def read_batch(
    model, batch: Int[Tensor, "batch pos"], names: list[str]
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """Return the activations of a batch by hook point; the model stops after the last of them."""
    captured = {}

    def keep(name):
        def hook(value, hook):
            if value.ndim != 3:
                raise HookError(
                    f"{name!r} has shape {list(value.shape)}, not [batch pos d_model]: choose a residual stream."
                )
            captured[name] = value.clone()
            if len(captured) == len(names):
                raise _Complete
            return value

        return hook

    try:
        with model.hooks(fwd_hooks=[(name, keep(name)) for name in names]), fused(model):
            model.original_model(batch, use_cache=False)
    except _Complete:
        pass
    return captured


def _table(tokens: Tokens, values: Float[Tensor, "n d_model"], name: str) -> Activations:
    return Activations(values, *tokens.columns(), mark_sinks(values), name)
