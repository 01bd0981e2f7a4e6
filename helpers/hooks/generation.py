"""Generate text with hooks on: for one prompt, for many at once, or token by token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

from helpers.hooks.decoding import Decoder, continuation_logprobs
from helpers.hooks.hook_points import Hook, HookError, check_names
from helpers.hooks.sampling import Sampler, Sampling, greedy

PASTS = ("clean", "steered")
MAX_ROWS = 512  # rows per batch; two cores gain nothing from more
RESCORED_ROWS = 32  # texts per batch of rescore, whose logits are held in fp32
MAX_PLACES = 24_576  # rows times tokens in the KV cache of one batch; 2 GB for GPT-2 small in fp32


@dataclass(frozen=True)
class Completion:
    """A prompt and its continuation.

    ``logprobs`` holds the unsteered model's log-probability of each new token, in nats, given all the text before
    it. So ``perplexity`` says how fluent the continuation is to the unsteered model.
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
        """The exponential of minus the mean log-probability of the new tokens; NaN if there are none."""
        return math.exp(-sum(self.logprobs) / len(self.logprobs)) if self.logprobs else math.nan


def generate(
    model,
    prompt: str,
    fwd_hooks: Sequence[Hook] = (),
    max_new_tokens: int = 20,
    past: str = "clean",
    sampling: Sampling | None = None,
) -> str:
    """Return ``prompt`` and its continuation with hooks on, as one text.

    Args:
        model: a ``TransformerBridge`` in compatibility mode.
        prompt: the text to continue; not empty.
        fwd_hooks: ``(hook point, function)`` pairs. A function is called once per step with the newest position,
            ``[rows 1 ...]``. In the first step it gets several copies of that position, which reveals which
            positions it edits.
        max_new_tokens: stop after this many tokens, or at the end-of-text token.
        past: what later tokens see of earlier ones; the two choices write different texts.
            ``"clean"``: earlier positions as if they had never been edited. A loop that reruns the whole text at
            each step and edits only its last position writes the same text in fp32. In bf16, rounding decides
            between tokens that are almost equally likely, so texts can differ.
            ``"steered"``: edited positions stay edited, as in an ordinary KV cache. A hook may then edit every
            position, the prompt's included.
        sampling: how to draw tokens; ``None`` takes the likeliest each time.

    Raises:
        HookError: an unknown hook point, an empty prompt, a text longer than the context, or a hook that edits
            absolute positions. With a clean past also a hook that edits any position but the last.
    """
    completions = generate_many(model, [prompt], [fwd_hooks], max_new_tokens, past, sampling=sampling, fluency=False)
    return completions[0][0].full_text


@torch.inference_mode()
def generate_many(
    model,
    prompts: Sequence[str],
    hook_sets: Sequence[Sequence[Hook]],
    max_new_tokens: int = 20,
    past: str = "clean",
    progress: str | None = None,
    sampling: Sampling | Sequence[Sampling] | None = None,
    fluency: bool = True,
) -> list[list[Completion]]:
    """Continue every prompt under every set of hooks, in batches as large as memory allows.

    Args:
        hook_sets: one list of ``(hook point, function)`` pairs per variant; an empty list is the
            unsteered model. A function sees only the rows of its own set.
        progress: title of a progress bar; ``None`` shows none.
        sampling: how to draw tokens, for all prompts or one per prompt. To continue a prompt in three ways, give
            it three times with three seeds. ``None`` takes the likeliest token each time. A prompt's random
            numbers are the same under every set of hooks.
        fluency: whether to compute the unsteered model's log-probabilities. Without them ``logprobs`` are empty
            and ``perplexity`` is NaN. With a steered past, leaving them out saves one pass over each text.

    Returns:
        ``result[s][p]``: the :class:`Completion` of prompt ``p`` under hook set ``s``.

    Raises:
        HookError: for the same reasons as :func:`generate`.
    """
    tokens = _check_request(model, prompts, hook_sets, max_new_tokens, past)
    draws = _per_prompt(sampling, prompts)
    by_set: list[dict[int, Completion]] = [{} for _ in hook_sets]
    total = len(prompts) * len(hook_sets) * max_new_tokens
    bar = tqdm(total=total, desc=progress, unit="token", disable=progress is None)
    for batch in _batches([len(ids) for ids in tokens], len(hook_sets), max_new_tokens):
        decoder = _decoder(model, batch, tokens, prompts, hook_sets, past, draws)
        steps = []
        for step in decoder.steps(max_new_tokens):
            steps.append(step)
            bar.update(len(batch) * len(hook_sets))
        for row, completion in enumerate(_completions(model, decoder, [prompts[i] for i in batch], steps, fluency)):
            by_set[row // len(batch)][batch[row % len(batch)]] = completion
        bar.update(len(batch) * len(hook_sets) * (max_new_tokens - len(steps)))  # all rows may end early
    bar.close()
    return [[completions[i] for i in range(len(prompts))] for completions in by_set]


@torch.inference_mode()
def rescore(model, completions: Sequence[Completion], prompts: Sequence[str]) -> list[Completion]:
    """Return the same new tokens as continuations of other prompts, one per completion.

    Their log-probabilities are the unsteered model's, given the new prompt. Texts of equal lengths run together.
    """
    starts = [model.to_tokens(prompt, truncate=False)[0] for prompt in prompts]
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (start, completion) in enumerate(zip(starts, completions, strict=True)):
        groups.setdefault((len(start), len(completion.token_ids)), []).append(i)
    logprobs: list[tuple[float, ...]] = [()] * len(completions)
    for (_, new), members in groups.items():
        for first in range(0, len(members) if new else 0, RESCORED_ROWS):
            rows = members[first : first + RESCORED_ROWS]
            written = torch.tensor([completions[i].token_ids for i in rows], device=starts[0].device)
            values = continuation_logprobs(model, torch.stack([starts[i] for i in rows]), written)
            for i, row in zip(rows, values.tolist(), strict=True):
                logprobs[i] = tuple(row)
    return [
        replace(completion, prompt=prompt, logprobs=row)
        for completion, prompt, row in zip(completions, prompts, logprobs, strict=True)
    ]


@torch.inference_mode()
def stream(
    model,
    prompt: str,
    hook_sets: Sequence[Sequence[Hook]],
    max_new_tokens: int = 20,
    past: str = "clean",
    sampling: Sampling | None = None,
) -> Iterator[list[Completion]]:
    """Continue one prompt under every set of hooks, and yield all completions so far after each token.

    With a steered past, only the last item has log-probabilities.

    Raises:
        HookError: for the same reasons as :func:`generate`, when the first item is requested.
    """
    tokens = _check_request(model, [prompt], hook_sets, max_new_tokens, past)
    decoder = _decoder(model, [0], tokens, [prompt], hook_sets, past, _per_prompt(sampling, [prompt]))
    steps = []
    for step in decoder.steps(max_new_tokens):
        steps.append(step)
        final = past == "clean" or len(steps) == max_new_tokens
        yield _completions(model, decoder, [prompt], steps, with_logprobs=final)
    if not final:
        yield _completions(model, decoder, [prompt], steps)


def _decoder(model, batch: list[int], tokens, prompts, hook_sets, past, draws) -> Decoder:
    choose = greedy
    if draws is not None:
        choose = Sampler([draws[i] for i in batch] * len(hook_sets), [prompts[i] for i in batch] * len(hook_sets))
    return Decoder(model, [tokens[i] for i in batch], hook_sets, past, choose)


def _completions(model, decoder: Decoder, prompts: list[str], steps, with_logprobs: bool = True) -> list[Completion]:
    """Return one completion per row, cut before its end-of-text token."""
    written = torch.stack([chosen for chosen, _ in steps], 1)
    logprobs = [()] * len(written)
    if with_logprobs:
        late = decoder.judged_afterwards
        logprobs = (decoder.judge(written) if late else torch.stack([values for _, values in steps], 1)).tolist()
    result = []
    for row, (ids, logs) in enumerate(zip(written.tolist(), logprobs, strict=True)):
        n = ids.index(decoder.end) if decoder.end in ids else len(ids)
        text = model.tokenizer.decode(ids[:n], skip_special_tokens=True)
        result.append(Completion(prompts[row % len(prompts)], text, tuple(ids[:n]), tuple(logs[:n])))
    return result


def _batches(lengths: list[int], n_sets: int, new: int) -> Iterator[list[int]]:
    """Yield batches of prompt indices, shortest prompts first, within the limits on rows (twins included) and cache."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        rows = 2 * n_sets * (len(batch) + 1)
        if batch and (rows > MAX_ROWS or rows * (lengths[index] + new) > MAX_PLACES):
            yield batch
            batch = []
        batch.append(index)
    yield batch


def _per_prompt(sampling, prompts: Sequence[str]) -> list[Sampling] | None:
    if sampling is None:
        return None
    if isinstance(sampling, Sampling):
        return [sampling] * len(prompts)
    if len(sampling) != len(prompts):
        raise HookError(f"{len(sampling)} samplings for {len(prompts)} prompts: give one for all, or one per prompt.")
    return list(sampling)


def _check_request(model, prompts, hook_sets, max_new_tokens, past) -> list[Int[Tensor, " T"]]:
    """Return the prompts' tokens, or raise :class:`HookError` if the request is impossible."""
    if past not in PASTS:
        raise HookError(f"past={past!r}: choose 'clean' or 'steered'.")
    if max_new_tokens < 1:
        raise HookError(f"max_new_tokens={max_new_tokens}: ask for at least one new token.")
    if not prompts or not hook_sets:
        raise HookError(
            "Nothing to generate: give at least one prompt and one set of hooks (an empty set is unsteered)."
        )
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise HookError(f"The prompt {prompt!r} is empty: give at least one word to continue.")
    check_names(model, (name for hooks in hook_sets for name, _ in hooks))
    tokens = [model.to_tokens(prompt, truncate=False)[0] for prompt in prompts]
    longest, room = max(map(len, tokens)), model.cfg.n_ctx
    if longest + max_new_tokens > room:
        raise HookError(
            f"A prompt of {longest} tokens plus {max_new_tokens} new ones exceeds the model's context of {room}: "
            f"shorten the prompt or ask for at most {max(0, room - longest)} new tokens."
        )
    return tokens
