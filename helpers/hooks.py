"""Hook points, and text generated while hooks are on.

A hook is a function ``hook(value, hook) -> value`` that sees, and may change, what flows through one
named point of the model; ``blocks.5.hook_resid_pre`` is the residual stream that enters block 5.
"""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm
from transformers import DynamicCache

from helpers.sampling import Sampler, Sampling, greedy

Hook = tuple[str, Callable]
PASTS = ("clean", "steered")
MAX_ROWS = 128  # rows of one batch: beyond it two cores gain nothing


class HookError(ValueError):
    """A hook point or a setting of a generation that can't be; the message says what can."""


@dataclass(frozen=True)
class Completion:
    """One prompt, continued.

    ``logprobs`` holds what the unsteered model thinks of each new token, in nats, given all the text
    before it; so ``perplexity`` says how fluent the continuation is to a model that isn't steered.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def full_text(self) -> str:
        return self.prompt + self.text

    @property
    def perplexity(self) -> float:
        """exp of minus the mean log-probability of the new tokens; NaN for none."""
        return math.exp(-sum(self.logprobs) / len(self.logprobs)) if self.logprobs else math.nan


def check_name(model, name: str) -> str:
    """Return ``name`` if the model has such a hook point, else raise :class:`HookError` with near ones."""
    if name in model.hook_dict:
        return name
    near = difflib.get_close_matches(str(name), model.hook_dict, n=3)
    hint = f"Did you mean {', '.join(map(repr, near))}?" if near else "A name looks like 'blocks.5.hook_resid_pre'."
    raise HookError(
        f"The model has no hook point {name!r} (its blocks are 0 to {model.cfg.n_layers - 1}, and the residual "
        f"stream before block L is 'blocks.L.hook_resid_pre'). {hint}"
    )


def layer_of(name: str) -> int:
    """The block that a hook point lies in: 5 for ``"blocks.5.hook_resid_pre"``."""
    try:
        return int(name.split(".")[1])
    except (IndexError, ValueError):
        raise HookError(f"{name!r} is no hook point of a block; one is called 'blocks.5.hook_resid_pre'.") from None


def special_ids(model) -> set[int]:
    """Token ids that stand for no text: begin, end, padding."""
    return set(model.tokenizer.all_special_ids)


def generate(
    model,
    prompt: str,
    fwd_hooks: Sequence[Hook] = (),
    max_new_tokens: int = 20,
    past: str = "clean",
    sampling: Sampling | None = None,
) -> str:
    """Continue ``prompt`` with hooks on and return prompt and continuation as one text.

    Args:
        model: a ``TransformerBridge`` in compatibility mode.
        prompt: the text to continue; not empty.
        fwd_hooks: ``(hook point, function)`` pairs, on during every step.
        max_new_tokens: stop after so many, or at the end-of-text token.
        past: what earlier tokens look like to later ones. ``"clean"``: as if the hooks had never
            touched them, which is what a loop gets that reruns the whole text each step and edits
            only its last position. ``"steered"``: edited positions stay edited, which is what an
            ordinary KV cache gives. The two write different texts.
        sampling: how tokens are drawn; ``None`` takes the likeliest one each time.

    Raises:
        HookError: a hook point that the model lacks, an empty prompt, no room in the context.
    """
    return generate_many(model, [prompt], [fwd_hooks], max_new_tokens, past, sampling=sampling)[0][0].full_text


@torch.inference_mode()
def generate_many(
    model,
    prompts: Sequence[str],
    hook_sets: Sequence[Sequence[Hook]],
    max_new_tokens: int = 20,
    past: str = "clean",
    progress: str | None = None,
    sampling: Sampling | None = None,
) -> list[list[Completion]]:
    """Continue every prompt under every set of hooks, many rows at a time.

    Prompts of one length share a batch, so nothing is padded. With ``past="clean"`` each steered row
    has a clean twin that reads the same tokens: the twin fills the KV cache, and its logits are the
    unsteered model's opinion of each new token.

    Args:
        hook_sets: one list of ``(hook point, function)`` pairs per variant; an empty list is the
            unsteered model. A function sees only the rows of its own set, ``[rows 1 ...]``.
        progress: title of a progress bar; ``None`` shows none.
        sampling: how tokens are drawn; ``None`` takes the likeliest one each time. A prompt's random
            numbers are the same under every set of hooks.

    Returns:
        ``result[s][p]``: the :class:`Completion` of prompt ``p`` under hook set ``s``.
    """
    _check_request(model, prompts, hook_sets, max_new_tokens, past)
    tokens = [model.to_tokens(prompt)[0] for prompt in prompts]
    _check_room(model, tokens, max_new_tokens)
    result: list[list[Completion | None]] = [[None] * len(prompts) for _ in hook_sets]
    by_length = defaultdict(list)
    for index, ids in enumerate(tokens):
        by_length[len(ids)].append(index)
    bar = tqdm(total=len(prompts) * len(hook_sets), desc=progress, unit="text", disable=progress is None)
    chunk = max(1, MAX_ROWS // (2 * len(hook_sets)))
    for indices in by_length.values():
        for start in range(0, len(indices), chunk):
            part = indices[start : start + chunk]
            batch = _Batch(model, torch.stack([tokens[i] for i in part]), hook_sets, past)
            choose = Sampler(sampling, [prompts[i] for i in part] * len(hook_sets)) if sampling else greedy
            for row, (ids, logprobs) in enumerate(batch.run(max_new_tokens, choose)):
                which, prompt = row // len(part), part[row % len(part)]
                text = model.tokenizer.decode(ids, skip_special_tokens=True)
                result[which][prompt] = Completion(prompts[prompt], text, tuple(ids), tuple(logprobs))
            bar.update(len(part) * len(hook_sets))
    bar.close()
    return result


def _check_request(model, prompts, hook_sets, max_new_tokens, past) -> None:
    if past not in PASTS:
        raise HookError(f"past={past!r}: choose 'clean' or 'steered'.")
    if max_new_tokens < 1:
        raise HookError(f"max_new_tokens={max_new_tokens}: ask for at least one new token.")
    if not prompts or not hook_sets:
        raise HookError("Nothing to generate: give at least one prompt and one set of hooks (an empty set is unsteered).")
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise HookError(f"The prompt {prompt!r} is empty: give at least one word to go on from.")
    for name, _ in (hook for hooks in hook_sets for hook in hooks):
        check_name(model, name)


def _check_room(model, tokens: list[Tensor], new: int) -> None:
    longest = max(len(ids) for ids in tokens)
    if longest + new > model.cfg.n_ctx:
        raise HookError(
            f"A prompt of {longest} tokens and {new} new ones don't fit the model's context of {model.cfg.n_ctx}: "
            f"shorten the prompt or ask for at most {max(0, model.cfg.n_ctx - longest)} new tokens."
        )


class _Batch:
    """Prompts of one length under several hook sets, one KV cache for all.

    Rows come in groups of P prompts: first one group per hook set, which writes the texts; then, with
    a clean past, one twin group per set that has hooks.
    """

    def __init__(self, model, tokens: Int[Tensor, "P T"], hook_sets, past: str):
        self.model, self.tokens, self.past = model, tokens, past
        self.n_prompts, self.n_sets = len(tokens), len(hook_sets)
        self.hooks = self._merge(hook_sets)
        steered = [s for s, hooks in enumerate(hook_sets) if hooks] if past == "clean" else []
        P = self.n_prompts
        rows = torch.arange(P, device=tokens.device)
        self.steered = torch.cat([rows + s * P for s in steered]) if steered else rows[:0]
        self.twins = torch.arange(len(self.steered), device=tokens.device) + self.n_sets * P
        self.n_rows = self.n_sets * P + len(self.twins)
        # The row whose logits are the unsteered model's: the twin where there is one, else the row itself.
        self.clean_row = torch.arange(self.n_sets * P, device=tokens.device)
        self.clean_row[self.steered] = self.twins

    def _merge(self, hook_sets) -> list[Hook]:
        """One function per hook point that lets each set's functions see its own rows only."""
        P = self.n_prompts
        by_name = defaultdict(list)
        for s, hooks in enumerate(hook_sets):
            for name, function in hooks:
                by_name[name].append((slice(s * P, (s + 1) * P), function))
        return [(name, _on_rows(parts)) for name, parts in by_name.items()]

    def run(self, new: int, choose: Callable = greedy) -> list[tuple[list[int], list[float]]]:
        """Token ids and unsteered log-probabilities of each row's continuation."""
        cache, step = self._start()
        written, logprobs = [], []
        done = torch.zeros(self.n_sets * self.n_prompts, dtype=torch.bool, device=self.tokens.device)
        for i in range(new):
            with self.model.hooks(fwd_hooks=self.hooks):
                logits = self.model.original_model(step, past_key_values=cache, use_cache=True).logits[:, -1].float()
            self._forget_edits(cache)
            chosen = choose(logits[: len(done)])
            verdict = logits[self.clean_row].log_softmax(-1)
            written.append(chosen)
            logprobs.append(verdict.gather(-1, chosen[:, None])[:, 0])
            done |= chosen == self.model.tokenizer.eos_token_id
            if done.all() or i + 1 == new:
                break
            step = torch.cat([chosen, chosen[self.steered]])[:, None]
        if self.past == "steered" and self.hooks:
            logprobs = list(self._judge_afterwards(torch.stack(written, 1)).T)
        return self._rows(torch.stack(written, 1).tolist(), torch.stack(logprobs, 1).tolist())

    def _start(self) -> tuple[DynamicCache, Int[Tensor, "rows n"]]:
        """The cache before the first step, and the tokens of the first step."""
        copies = torch.arange(self.n_prompts, device=self.tokens.device).repeat(self.n_rows // self.n_prompts)
        cache = DynamicCache()
        if self.past == "steered" or self.tokens.shape[1] == 1:
            return cache, self.tokens[copies]
        # No hook has anything to say before the last position, so the prompt is read once, unhooked.
        self.model.original_model(self.tokens[:, :-1], past_key_values=cache, use_cache=True)
        cache.batch_select_indices(copies)
        return cache, self.tokens[copies][:, -1:]

    def _forget_edits(self, cache: DynamicCache) -> None:
        """Give the steered rows their twins' keys and values for the position just read."""
        if len(self.steered):
            for layer in cache.layers:
                for kept in (layer.keys, layer.values):
                    kept[self.steered, :, -1] = kept[self.twins, :, -1]

    def _judge_afterwards(self, written: Int[Tensor, "rows new"]) -> Float[Tensor, "rows new"]:
        """What the unsteered model thinks of texts that were written with a steered past."""
        whole = torch.cat([self.tokens.repeat(self.n_sets, 1), written], 1)
        logits = self.model.original_model(whole[:, :-1]).logits[:, self.tokens.shape[1] - 1 :].float()
        return logits.log_softmax(-1).gather(-1, written[..., None])[..., 0]

    def _rows(self, ids, logprobs) -> list[tuple[list[int], list[float]]]:
        """Cut each row after its end-of-text token, which is no text and isn't kept."""
        end = self.model.tokenizer.eos_token_id
        ends = [row.index(end) if end in row else len(row) for row in ids]
        return [(row[:n], logs[:n]) for row, logs, n in zip(ids, logprobs, ends, strict=True)]


def _on_rows(parts: list[tuple[slice, Callable]]) -> Callable:
    def hook_on_rows(value, hook):
        value = value.clone()  # a hook may write in place; what it is given must be nobody else's
        for rows, function in parts:
            changed = function(value[rows], hook)
            if changed is not None:
                value[rows] = changed
        return value

    return hook_on_rows
