"""Decode prompts of different lengths under several sets of hooks, in one batch with one KV cache."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from helpers.hooks.hook_points import Hook
from helpers.hooks.positions import doubled, on_rows, watched
from helpers.kernels.fused import fused

Step = tuple[Int[Tensor, " rows"], Float[Tensor, " rows"] | None]  # chosen tokens, their log-probabilities


class Decoder:
    """A batch of P prompts under S hook sets.

    Rows come in groups of P. The first S groups, one per hook set, generate the texts. With a clean past (later tokens
    see earlier ones as if they had never been edited), each set that has hooks also gets a group of *twins*. A twin
    reads the same tokens as its row, without hooks. It fills the KV cache that its row reads, and its logits are the
    unsteered model's for each new token.

    Prompts of equal length are read together, unpadded. From then on all rows form one batch. The caches of shorter
    rows are padded on the left, and the attention mask hides the padding.

    Args:
        tokens: the token ids of each prompt, ``[T_p]``.
        choose: maps logits ``[rows vocabulary]`` to token ids ``[rows]``, for the S·P rows that write.
    """

    def __init__(
        self,
        model,
        tokens: Sequence[Int[Tensor, " T"]],
        hook_sets: Sequence[Sequence[Hook]],
        past: str,
        choose: Callable,
    ):
        self.hf, self.bridge, self.choose = model.original_model, model, choose
        self.end = model.tokenizer.eos_token_id
        self.tokens, self.hook_sets, self.past = list(tokens), hook_sets, past
        self.lengths = torch.tensor([len(ids) for ids in tokens], device=tokens[0].device)
        self.judged_afterwards = past == "steered" and any(hook_sets)
        P = self.n_prompts = len(tokens)
        rows = torch.arange(P, device=self.lengths.device)
        steered = [s for s, hooks in enumerate(hook_sets) if hooks] if past == "clean" else []
        self.n_writing = len(hook_sets) * P
        self.steered = torch.cat([rows + s * P for s in steered]) if steered else rows[:0]
        self.twins = torch.arange(len(self.steered), device=rows.device) + self.n_writing
        self.prompt_of = rows.repeat(len(hook_sets) + len(steered))
        # Which row gives the unsteered model's logits: the twin if there is one, else the row itself.
        self.clean_row = torch.arange(self.n_writing, device=rows.device)
        self.clean_row[self.steered] = self.twins

    def steps(self, new: int) -> Iterator[Step]:
        """Yield each step's tokens and log-probabilities, until ``new`` steps or all rows have ended.

        The log-probabilities are the unsteered model's. They are ``None`` if the cache holds a steered past, which
        the unsteered model can't use; :meth:`judge` then computes them afterwards. Hooks are on only while the
        model runs, never between steps.
        """
        cache, mask, logits = self._read_prompts()
        positions = self.lengths[self.prompt_of] - 1
        done = torch.zeros(self.n_writing, dtype=torch.bool, device=mask.device)
        step = torch.stack([self.tokens[p][-1] for p in self.prompt_of.tolist()])
        first = True
        for i in range(new):
            if logits is None:
                mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
                logits = self._forward(step, cache, mask, positions, watch=first)
                first = False
            chosen = self.choose(logits[: self.n_writing])
            yield chosen, None if self.judged_afterwards else _logprobs(logits[self.clean_row], chosen)
            done |= chosen == self.end
            if done.all() or i + 1 == new:
                return
            step, positions, logits = torch.cat([chosen, chosen[self.steered]]), positions + 1, None

    def _forward(self, step: Int[Tensor, " rows"], cache, mask: Bool[Tensor, "rows n"], positions, watch: bool):
        """Read one token per row with hooks on; with ``watch``, check which positions the hooks edit."""
        padding = {} if mask.all() else {"attention_mask": mask.long(), "position_ids": positions[:, None]}
        copies = int(self.lengths.max()) if watch else 0
        with self.bridge.hooks(fwd_hooks=self._merged(self.n_prompts, copies)), fused(self.bridge):
            logits = self.hf(step[:, None], past_key_values=cache, use_cache=True, **padding).logits[:, -1].float()
        self._forget_edits(cache)
        return logits

    def _merged(self, n_prompts: int, copies: int = 0, whole_prompt: bool = False) -> list[Hook]:
        """Return one hook per hook point; it calls each set's functions on that set's rows only."""
        by_name, steered = defaultdict(list), self.past == "steered"
        for s, hooks in enumerate(self.hook_sets):
            for name, function in hooks:
                if copies:
                    function = watched(name, function, copies, every_position=steered)
                elif steered and not whole_prompt:
                    function = doubled(function)
                by_name[name].append((slice(s * n_prompts, (s + 1) * n_prompts), function))
        return [(name, on_rows(parts)) for name, parts in by_name.items()]

    def _forget_edits(self, cache: DynamicCache) -> None:
        """Overwrite the steered rows' newest keys and values with their twins'."""
        if len(self.steered):
            for layer in _layers(cache):
                for kept in (layer.keys, layer.values):
                    kept[self.steered, :, -1] = kept[self.twins, :, -1]

    def _read_prompts(self) -> tuple[DynamicCache, Bool[Tensor, "rows n"], Float[Tensor, "rows vocabulary"] | None]:
        """Return the cache before the first step, its attention mask (False at padding), and the first logits if known.

        With a clean past, hooks act at the last position only. So each prompt is read once without hooks, and its
        last token is left for the first step. With a steered past, each row reads its whole prompt with hooks on.
        """
        clean = self.past == "clean"
        read = self.lengths - 1 if clean else self.lengths
        filled = read.repeat(1 if clean else len(self.hook_sets))
        caches, rows, logits = [], [], []
        for length in self.lengths.unique().tolist():
            prompts = (self.lengths == length).nonzero()[:, 0]
            ids = torch.stack([self.tokens[p] for p in prompts.tolist()])
            if clean:
                caches.append(self._read(ids[:, :-1], [])[0])
                rows.append(prompts)
            else:
                merged = self._merged(len(prompts), whole_prompt=True)
                prompt_cache, last = self._read(ids.repeat(len(self.hook_sets), 1), merged)
                caches.append(prompt_cache)
                rows.append(torch.cat([prompts + s * self.n_prompts for s in range(len(self.hook_sets))]))
                logits.append(last)
        cache = _join(caches, rows, int(read.max()))
        places = torch.arange(int(read.max()), device=read.device)
        mask = places[None] >= int(read.max()) - filled[:, None]
        if clean:
            cache.batch_select_indices(self.prompt_of)
            return cache, mask[self.prompt_of], None
        together = torch.cat(logits)
        return cache, mask, together[torch.cat(rows).argsort()]

    def _read(self, ids: Int[Tensor, "rows n"], hooks: list[Hook]):
        """Return the cache and the last logits of ``ids``; without tokens, an empty cache and ``None``."""
        cache = DynamicCache()
        if not ids.shape[1]:
            return cache, None
        with self.bridge.hooks(fwd_hooks=hooks), fused(self.bridge):
            out = self.hf(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache, out.logits[:, -1].float()

    def judge(self, written: Int[Tensor, "rows new"]) -> Float[Tensor, "rows new"]:
        """Return the unsteered model's log-probabilities of texts that were generated with a steered past."""
        result = torch.zeros(written.shape, device=written.device)
        for length in self.lengths.unique().tolist():
            rows = (self.lengths[self.prompt_of] == length).nonzero()[:, 0]
            prompts = torch.stack([self.tokens[p] for p in self.prompt_of[rows].tolist()])
            result[rows] = continuation_logprobs(self.bridge, prompts, written[rows])
        return result


def continuation_logprobs(
    model, prompts: Int[Tensor, "rows n"], written: Int[Tensor, "rows new"]
) -> Float[Tensor, "rows new"]:
    """Return the unsteered model's log-probabilities of what follows prompts of equal length."""
    whole = torch.cat([prompts, written], 1)
    with fused(model):
        logits = model.original_model(whole[:, :-1], logits_to_keep=written.shape[1]).logits.float()
    return _logprobs(logits, written)


def _logprobs(logits: Float[Tensor, "*shape vocabulary"], tokens: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


def _layers(cache: DynamicCache) -> list[Any]:
    """Return the cache's layers, each with ``keys`` and ``values`` ``[rows heads n d_head]``."""
    return cache.layers


def _join(caches: list[DynamicCache], rows: list[Int[Tensor, " part"]], longest: int) -> DynamicCache:
    """Join caches of different lengths, padded with zeros at the left; ``rows`` says where each cache's rows go."""
    joined, total = DynamicCache(), sum(map(len, rows))
    filled = [(_layers(cache), where) for cache, where in zip(caches, rows, strict=True) if len(cache.layers)]
    if not filled:
        return joined
    for index, layer in enumerate(filled[0][0]):
        heads, width = layer.keys.shape[1], layer.keys.shape[3]
        keys, values = (layer.keys.new_zeros(total, heads, longest, w) for w in (width, layer.values.shape[3]))
        for layers, where in filled:
            part = layers[index]
            keys[where, :, longest - part.keys.shape[2] :] = part.keys
            values[where, :, longest - part.values.shape[2] :] = part.values
        joined.update(keys, values, index)
    return joined
