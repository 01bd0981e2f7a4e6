"""Text continued while hooks are on: one prompt, many at once, or token by token as it is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

from helpers.hooks.decoding import Decoder
from helpers.hooks.hook_points import Hook, HookError, check_name
from helpers.hooks.sampling import Sampler, Sampling, greedy

PASTS = ("clean", "steered")
MAX_ROWS = 512  # rows of one batch: beyond it two cores gain nothing
MAX_PLACES = 24_576  # rows times tokens that the KV cache of one batch may hold; 2 GB for GPT-2 small in fp32


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
        fwd_hooks: ``(hook point, function)`` pairs, on during every step. A function is called once a
            step, with the position being read: ``[rows 1 ...]``; in the first step it is shown that
            position several times over, which finds out which ones it edits.
        max_new_tokens: stop after so many, or at the end-of-text token.
        past: what earlier tokens look like to later ones. ``"clean"``: as if the hooks had never
            touched them, which is what a loop gets that reruns the whole text each step and edits
            only its last position. ``"steered"``: edited positions stay edited, which is what an
            ordinary KV cache gives; a hook may edit every position, the prompt's included. The two
            write different texts.
        sampling: how tokens are drawn; ``None`` takes the likeliest one each time.

    Raises:
        HookError: a hook point that the model lacks, an empty prompt, no room in the context, a hook
            that edits absolute positions, or, with a clean past, others than the last one.
    """
    return generate_many(model, [prompt], [fwd_hooks], max_new_tokens, past, sampling=sampling, fluency=False)[0][
        0
    ].full_text


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
        sampling: how tokens are drawn, for all prompts or one per prompt: a prompt given three times
            with three seeds is continued three ways in one batch. ``None`` takes the likeliest token
            each time. A prompt's random numbers are the same under every set of hooks.
        fluency: whether to ask the unsteered model what it thinks of the texts. Without it ``logprobs`` are
            empty and ``perplexity`` is NaN; with a steered past it spares a pass over each text.

    Returns:
        ``result[s][p]``: the :class:`Completion` of prompt ``p`` under hook set ``s``.

    Raises:
        HookError: as :func:`generate`.
    """
    tokens = _check_request(model, prompts, hook_sets, max_new_tokens, past)
    draws = _per_prompt(sampling, prompts)
    result: list[list[Completion | None]] = [[None] * len(prompts) for _ in hook_sets]
    bar = tqdm(
        total=len(prompts) * len(hook_sets) * max_new_tokens, desc=progress, unit="token", disable=progress is None
    )
    for part in _batches([len(ids) for ids in tokens], len(hook_sets), max_new_tokens):
        decoder = _decoder(model, part, tokens, prompts, hook_sets, past, draws)
        steps = []
        for step in decoder.steps(max_new_tokens):
            steps.append(step)
            bar.update(len(part) * len(hook_sets))
        for row, completion in enumerate(_completions(model, decoder, [prompts[i] for i in part], steps, fluency)):
            result[row // len(part)][part[row % len(part)]] = completion
        bar.update(len(part) * len(hook_sets) * (max_new_tokens - len(steps)))  # all ended early
    bar.close()
    return result


@torch.inference_mode()
def stream(
    model,
    prompt: str,
    hook_sets: Sequence[Sequence[Hook]],
    max_new_tokens: int = 20,
    past: str = "clean",
    sampling: Sampling | None = None,
) -> Iterator[list[Completion]]:
    """Continue one prompt under every set of hooks and yield, after each token, what has been written so far.

    With a steered past the log-probabilities come with the last yield; before it they are empty.

    Raises:
        HookError: as :func:`generate`, when the first item is asked for.
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


def _decoder(model, part: list[int], tokens, prompts, hook_sets, past, draws) -> Decoder:
    choose = (
        greedy
        if draws is None
        else Sampler([draws[i] for i in part] * len(hook_sets), [prompts[i] for i in part] * len(hook_sets))
    )
    return Decoder(model, [tokens[i] for i in part], hook_sets, past, choose)


def _completions(model, decoder: Decoder, prompts: list[str], steps, with_logprobs: bool = True) -> list[Completion]:
    """One completion per row, cut after its end-of-text token, which is no text and isn't kept."""
    written = torch.stack([chosen for chosen, _ in steps], 1)
    logprobs = [()] * len(written)
    if with_logprobs:
        found = decoder.judge(written) if decoder.judged_afterwards else torch.stack([each for _, each in steps], 1)
        logprobs = found.tolist()
    result = []
    for row, (ids, logs) in enumerate(zip(written.tolist(), logprobs, strict=True)):
        n = ids.index(decoder.end) if decoder.end in ids else len(ids)
        text = model.tokenizer.decode(ids[:n], skip_special_tokens=True)
        result.append(Completion(prompts[row % len(prompts)], text, tuple(ids[:n]), tuple(logs[:n])))
    return result


def _batches(lengths: list[int], n_sets: int, new: int) -> Iterator[list[int]]:
    """Prompts, shortest first, in parts whose rows (twins included) and whose cache stay within bounds."""
    part: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        rows = 2 * n_sets * (len(part) + 1)
        if part and (rows > MAX_ROWS or rows * (lengths[index] + new) > MAX_PLACES):
            yield part
            part = []
        part.append(index)
    yield part


def _per_prompt(sampling, prompts: Sequence[str]) -> list[Sampling] | None:
    if sampling is None or isinstance(sampling, Sampling):
        return sampling and [sampling] * len(prompts)
    if len(sampling) != len(prompts):
        raise HookError(f"{len(sampling)} samplings for {len(prompts)} prompts: give one for all, or one for each.")
    return list(sampling)


def _check_request(model, prompts, hook_sets, max_new_tokens, past) -> list[Int[Tensor, " T"]]:
    """The prompts' tokens, if the request can be met."""
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
            raise HookError(f"The prompt {prompt!r} is empty: give at least one word to go on from.")
    for name, _ in (hook for hooks in hook_sets for hook in hooks):
        check_name(model, name)
    tokens = [model.to_tokens(prompt, truncate=False)[0] for prompt in prompts]
    longest, room = max(map(len, tokens)), model.cfg.n_ctx
    if longest + max_new_tokens > room:
        raise HookError(
            f"A prompt of {longest} tokens and {max_new_tokens} new ones don't fit the model's context of {room}: "
            f"shorten the prompt or ask for at most {max(0, room - longest)} new tokens."
        )
    return tokens
