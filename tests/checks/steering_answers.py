"""Right answers to task 1.2: hooks that edit or return the stream; generation by loop, KV cache or context manager."""

from __future__ import annotations

from functools import partial

import torch

from helpers import hooks

PRE = "blocks.{}.hook_resid_pre"


def chosen(vectors, layers):
    """Return the layers to steer: all of them if ``layers`` is None."""
    return range(len(vectors)) if layers is None else layers


def make(vectors, coefficient, layers=None, edit=None, name=PRE):
    """Return the right hooks. A wrong answer replaces the addition by ``edit(resid, coefficient, vector)``."""

    def hook_for(layer):
        def hook(resid, hook):
            if edit is not None:
                return edit(resid, coefficient, vectors[layer])
            resid[:, -1, :] += coefficient * vectors[layer]
            return resid

        return hook

    return [(name.format(layer), hook_for(layer)) for layer in chosen(vectors, layers)]


def make_in_place(vectors, coefficient, layers=None):
    def hook(resid, hook, vector):
        resid[:, -1].add_(vector, alpha=coefficient)

    return [(PRE.format(layer), partial(hook, vector=vectors[layer])) for layer in chosen(vectors, layers)]


def make_with_new_tensor(vectors, coefficient, layers=None):
    def hook(resid, hook):
        last = resid[:, -1:] + coefficient * vectors[hook.layer()]
        return torch.cat([resid[:, :-1], last], 1)

    return tuple((PRE.format(layer), hook) for layer in chosen(vectors, layers))


def loop(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20, make=make, stop=True, start=1):
    """Generate as the original homework does: run the model on all tokens at each step."""
    tokens = model.to_tokens(prompt)
    for _ in range(max_new_tokens):
        logits = model.run_with_hooks(tokens, fwd_hooks=list(make(vectors, coefficient, layers)))
        token = logits[0, -1].argmax()
        tokens = torch.cat([tokens, token.view(1, 1)], 1)
        if stop and token == model.tokenizer.eos_token_id:
            break
    return model.to_string(tokens[0, start:])


def cached(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20, past="clean"):
    return hooks.generate(model, prompt, make(vectors, coefficient, layers), max_new_tokens, past=past)


def with_context(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    """Generate inside one hook context, with a list of ids instead of a tensor and no EOS in the text."""
    ids = model.to_tokens(prompt)[0].tolist()
    with model.hooks(fwd_hooks=make_in_place(vectors, coefficient, layers)):
        for _ in range(max_new_tokens):
            ids.append(int(model(torch.tensor([ids], device=vectors.device))[0, -1].argmax()))
            if ids[-1] == model.tokenizer.eos_token_id:
                break
    return model.tokenizer.decode(ids, skip_special_tokens=True)
