"""Few-shot sentiment prompts: read a model's answer to each text, and its residual stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformers import DynamicCache

from helpers.kernels.fused import fused

# The text to judge follows each prompt. The labels stand in both orders, so that the model's preference
# for the most recent label cancels.
PROMPTS = (
    "Review: dull , badly written and far too long .\nSentiment: negative\n"
    "Review: a warm , funny and beautifully acted film .\nSentiment: positive\nReview: ",
    "Review: I loved every minute of it.\nSentiment: positive\n\n"
    "Review: I want those two hours of my life back.\nSentiment: negative\n\nReview: ",
)
QUESTION = "\nSentiment:"
ANSWERS = (" positive", " negative")
BATCH = 64
LONGEST = 200  # maximum number of tokens read per text


class SentimentError(ValueError):
    """Invalid input texts; the message says why."""


@dataclass(frozen=True)
class Readings:
    """Answers and residuals per prompt and text; ``mean`` and ``last`` have width 0 unless a layer is given."""

    answers: Float[Tensor, "prompts n"]  # logit of ' positive' minus logit of ' negative', in nats
    mean: Float[Tensor, "prompts n d_model"]  # mean residual over the tokens of text and question
    last: Float[Tensor, "prompts n d_model"]  # residual at the last token, which predicts the answer


@torch.inference_mode()
def read_texts(model, texts: Sequence[str], layer: int | None = None, progress: bool = False) -> Readings:
    """Return the readings of every text after every prompt; prompts and repeated texts run only once.

    Args:
        layer: the layer whose ``hook_resid_pre`` is returned; ``None`` returns no residuals.

    Raises:
        SentimentError: no texts, or an item that isn't a string.
    """
    check_texts(texts)
    index_of = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    bar = tqdm(total=len(PROMPTS) * len(index_of), desc="judge", unit="text", disable=not progress)
    parts = [_read_after(model, prompt, list(index_of), layer, bar) for prompt in PROMPTS]
    bar.close()
    indices = [index_of[text] for text in texts]
    return Readings(*(torch.stack(part)[:, indices] for part in zip(*parts, strict=True)))


def check_texts(texts) -> None:
    if isinstance(texts, str) or not len(texts):
        raise SentimentError(f"texts={texts!r}: give a list with at least one text.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise SentimentError(f"Text {i} is {text!r}, a {type(text).__name__}: every text must be a string.")


def _read_after(model, prompt: str, texts: Sequence[str], layer: int | None, bar) -> tuple[Tensor, Tensor, Tensor]:
    encode = partial(model.tokenizer.encode, add_special_tokens=False)
    start_cache = DynamicCache()
    with fused(model):
        model.original_model(model.to_tokens(prompt), past_key_values=start_cache, use_cache=True)
    question, device = encode(QUESTION), model.W_U.device
    rows = [torch.tensor(encode(text.strip())[:LONGEST] + question, device=device) for text in texts]
    width = 0 if layer is None else model.cfg.d_model
    answers, mean, last = torch.zeros(len(rows)), torch.zeros(len(rows), width), torch.zeros(len(rows), width)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for first in range(0, len(rows), BATCH):
        part = order[first : first + BATCH]
        answers[part], mean[part], last[part] = _read_batch(model, start_cache, [rows[i] for i in part], layer)
        bar.update(len(part))
    return answers, mean, last


def _read_batch(model, start_cache: DynamicCache, rows: list[Tensor], layer: int | None):
    """Return answers and residuals of right-padded rows, which continue from the prompt's KV cache."""
    cache = DynamicCache()
    layers: list[Any] = start_cache.layers
    for i, layer_cache in enumerate(layers):
        keys, values = (x.expand(len(rows), -1, -1, -1) for x in (layer_cache.keys, layer_cache.values))
        cache.update(keys, values, i)
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    seen: dict[str, Tensor] = {}
    watch = [] if layer is None else [(f"blocks.{layer}.hook_resid_pre", lambda value, hook: seen.update(resid=value))]
    with model.hooks(fwd_hooks=watch), fused(model):
        hidden = model.original_model.base_model(batch, past_key_values=cache, use_cache=True).last_hidden_state
    lengths = torch.tensor([len(row) for row in rows], device=batch.device)
    ends = torch.arange(len(rows), device=batch.device), lengths - 1
    resid = seen["resid"].float() if seen else hidden[..., :0].float()
    is_text = (torch.arange(batch.shape[1], device=batch.device) < lengths[:, None]).float()
    mean = (resid * is_text[..., None]).sum(1) / lengths[:, None]
    return _answers(model, hidden[ends].float()).cpu(), mean.cpu(), resid[ends].cpu()


def _answers(model, last: Float[Tensor, "rows d_model"]) -> Float[Tensor, " rows"]:
    ids = [model.tokenizer.encode(answer, add_special_tokens=False)[0] for answer in ANSWERS]
    # Add b_U: folding LayerNorm into the unembedding moves part of the logits there.
    good, bad = (last @ model.W_U[:, ids].float() + model.b_U[ids].float()).T
    return good - bad
