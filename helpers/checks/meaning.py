"""Decide whether a model knows English: some checks make no sense on random weights."""

from __future__ import annotations

import torch

# Plain text: even the smallest model of English predicts it better than chance.
PLAIN = "The food was great and the service was excellent."
KNOWS_ENGLISH = 0.5  # nats: a trained model beats a uniform guess by at least this


@torch.no_grad()
def why_meaningless(model) -> str | None:
    """Return why this model's outputs can't be judged, or None if they can."""
    tokens = model.to_tokens(PLAIN)
    logprobs = model(tokens)[0, :-1].float().log_softmax(-1)
    loss = -logprobs.gather(-1, tokens[0, 1:, None]).mean().item()
    uniform = torch.log(torch.tensor(float(logprobs.shape[-1]))).item()
    if loss < uniform - KNOWS_ENGLISH:
        return None
    return f"the model predicts English no better than chance ({loss:.1f} nats a token; guessing costs {uniform:.1f})"
