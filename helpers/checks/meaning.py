"""Whether a model can be asked for meaning at all: some checks make no sense on random weights."""

from __future__ import annotations

import torch

# Plain sentences in words that any model of English, the smallest included, finds likelier than chance.
PLAIN = "The food was great and the service was excellent."
KNOWS_ENGLISH = 0.5  # nats by which a trained model beats a uniform guess at least


@torch.no_grad()
def why_meaningless(model) -> str | None:
    """Why figures about meaning say nothing for this model, or None where they do."""
    tokens = model.to_tokens(PLAIN)
    logprobs = model(tokens)[0, :-1].float().log_softmax(-1)
    loss = -logprobs.gather(-1, tokens[0, 1:, None]).mean().item()
    uniform = torch.log(torch.tensor(float(logprobs.shape[-1]))).item()
    if loss < uniform - KNOWS_ENGLISH:
        return None
    return f"the model predicts English no better than chance ({loss:.1f} nats a token; guessing costs {uniform:.1f})"
