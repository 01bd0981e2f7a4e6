"""Harvest activations: from lines of text to a table with one row per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from helpers.fused import fused
from helpers.hooks import HookError, check_name
from helpers.products import packed_weights

SINK_FACTOR = 5.0  # a token whose norm is above so many medians is an attention sink
BATCH_TOKENS = 1024  # on two cores 3% faster than 2048 and 10% faster than 4096: the MLP's activations stay in the cache
ON_GPU = 4  # times as many there, where launching the kernels costs more; ΔCE needs the logits of a batch, too


class HarvestError(ValueError):
    """Lines that can't be harvested; the message says why."""


@dataclass(frozen=True)
class Activations:
    """Activations of ``n`` tokens at one hook point, BOS left out, in the order of the text.

    ``is_sink`` marks tokens whose norm is above 5 times the median norm. They are few, can hold most
    of the variance, and say nothing about the text: train and measure without them.
    """

    values: Float[Tensor, "n d_model"]  # or, from disk, what behaves like it: helpers.sharded.Sharded
    text_ids: Int[Tensor, " n"]  # which line
    positions: Int[Tensor, " n"]  # which token of the line; 0 is BOS, so these begin at 1
    token_ids: Int[Tensor, " n"]
    is_sink: Bool[Tensor, " n"]
    hook_name: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows) -> Activations:
        """Some of the tokens: a slice, a mask or indices."""
        fields = ("values", "text_ids", "positions", "token_ids", "is_sink")
        return replace(self, **{name: getattr(self, name)[rows] for name in fields})

    def without_sinks(self) -> Activations:
        return self[~self.is_sink]

    def split(self, held_out: float = 0.1) -> tuple[Activations, Activations]:
        """Train and held-out part: every tenth line (for 0.1) is held out whole.

        No line is in both, but lines of one document can be, as with lines drawn at random.

        Raises:
            HarvestError: when one of the parts would be empty.
        """
        every = round(1 / held_out) if 0 < held_out <= 0.5 else 0
        is_test = self.text_ids % every == every - 1 if every else torch.zeros(len(self), dtype=torch.bool)
        if not is_test.any() or is_test.all():
            lines = int(self.text_ids.max()) + 1
            raise HarvestError(
                f"{lines} lines can't be split with held_out={held_out}: use a share of at most 0.5 and more lines than 1 / share."
            )
        return self[~is_test], self[is_test]


def mark_sinks(values: Float[Tensor, "n d_model"]) -> Bool[Tensor, " n"]:
    """Tokens whose L2 norm is above 5 times the median norm (attention sinks, BOS-like)."""
    norms = values.float().norm(dim=-1)
    return norms > SINK_FACTOR * norms.median()


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
        to survive an interrupt: :func:`helpers.shards.harvest_to`.

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
        found = run(model, tokens, names, bar)
    result = {name: _table(tokens, values, name) for name, values in found.items()}
    return result[names[0]] if isinstance(hook_names, str) else result


def run(model, tokens: Tokens, names: list[str], bar=None, dtype: torch.dtype = torch.float32) -> dict[str, Float[Tensor, "n d_model"]]:
    """Activations of all tokens but BOS at some hook points, in the order of the text, on the CPU."""
    rows = tokens.rows
    found: dict[str, list[Tensor]] = {name: [None] * len(rows) for name in names}
    with packed_weights():
        for indices in batches(rows):
            batch = torch.nn.utils.rnn.pad_sequence([rows[i] for i in indices], batch_first=True)
            for name, value in read(model, batch, names).items():
                for row, i in enumerate(indices):
                    found[name][i] = value[row, 1 : len(rows[i])].to("cpu", dtype)
            if bar is not None:
                bar.update(sum(len(rows[i]) for i in indices))
    return {name: torch.cat(values) for name, values in found.items()}


@dataclass(frozen=True)
class Tokens:
    """Lines as rows of tokens, BOS in front; a split line is several rows."""

    rows: list[Int[Tensor, " pos"]]
    lines: list[int]  # of each row
    cut: int = 0  # lines that were cut or split
    blank: int = 0  # lines that were skipped

    def columns(self) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Line, position and token id of every token but BOS."""
        lengths = torch.tensor([len(ids) - 1 for ids in self.rows])
        return (
            torch.repeat_interleave(torch.tensor(self.lines), lengths),
            torch.cat([torch.arange(1, n + 1) for n in lengths.tolist()]),
            torch.cat([ids[1:] for ids in self.rows]).cpu(),
        )


def tokenise(
    model,
    texts: Sequence[str],
    context: int,
    too_long: str = "error",
    max_tokens: int | None = None,
    blank: str = "error",
    first: int = 0,
) -> Tokens:
    """Each line's tokens with BOS, as :func:`harvest` takes and refuses them; lines are counted from ``first`` on."""
    if isinstance(texts, str) or not len(texts):
        raise HarvestError(f"texts={texts!r}: give a list with at least one line of text.")
    for name, value, choices in (("too_long", too_long, ("error", "cut", "split")), ("blank", blank, ("error", "skip"))):
        if value not in choices:
            raise HarvestError(f"{name}={value!r}: choose {' or '.join(map(repr, choices))}.")
    special = set(model.tokenizer.all_special_ids)
    rows: list[Tensor] = []
    lines: list[int] = []
    cut = skipped = tokens = 0
    for i, text in enumerate(texts, first):
        ids = _ids(model, text, i)
        if ids is None or set(ids[1:].tolist()) <= special:
            if blank == "error":
                raise HarvestError(f"Line {i} is {text!r}: every line must be text that isn't blank, or pass blank='skip'.")
            skipped += 1
            continue
        parts = _parts(ids, context, too_long, i)
        cut += len(ids) > context
        rows += parts
        lines += [i] * len(parts)
        tokens += sum(len(part) - 1 for part in parts)
        if max_tokens is not None and tokens >= max_tokens:
            break
    return Tokens(rows, lines, cut, skipped)


def _ids(model, text, i: int) -> Int[Tensor, " pos"] | None:
    """The line's tokens, BOS in front; None for a blank line."""
    if not isinstance(text, str):
        raise HarvestError(f"Line {i} is {text!r:.80}: every line must be text.")
    if not text.strip():
        return None
    try:
        return model.to_tokens(text, truncate=False)[0]
    except (UnicodeError, TypeError) as error:  # half a character: what was read as UTF-8 and isn't
        raise HarvestError(f"Line {i} isn't valid text ({error}): read its file as UTF-8, with errors='replace'.") from error


def _parts(ids: Int[Tensor, " pos"], context: int, too_long: str, i: int) -> list[Int[Tensor, " pos"]]:
    if len(ids) <= context:
        return [ids]
    if too_long == "error":
        raise HarvestError(
            f"Line {i} has {len(ids)} tokens, more than the context of {context}: pass too_long='split', or 'cut' to keep "
            f"its first {context} tokens."
        )
    if too_long == "cut":
        return [ids[:context]]
    return [torch.cat([ids[:1], part]) for part in ids[1:].split(context - 1)]


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
def read(model, batch: Int[Tensor, "batch pos"], names: list[str]) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """The activations of a batch at some hook points; the model stops behind the last of them."""
    found = {}

    def keep(name):
        def hook(value, hook):
            if value.ndim != 3:
                raise HookError(f"{name!r} gives {list(value.shape)}, not [batch pos d_model]: choose a residual stream.")
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


if __name__ == "__main__":
    from helpers.shards import main

    raise SystemExit(main())
