"""Hook points: their names, and helpful errors for wrong ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

import torch

Hook = tuple[str, Callable]
ALWAYS_CALLED = ("hook_resid_pre", "hook_resid_post")


class HookError(ValueError):
    """An invalid hook point, hook or generation setting; the message says what is allowed."""


def check_names(model, names: Iterable[str]) -> None:
    """Raise :class:`HookError` if the model doesn't have a hook point, or never calls it.

    Points that TransformerBridge lists but doesn't call are found by one forward pass of one token, unless all names
    are of the residual stream.
    """
    names = set(names)
    for name in names:
        _check_name(model, name)
    if all(name.endswith(ALWAYS_CALLED) for name in names):
        return
    called: set[str] = set()
    record = [(name, lambda value, hook, name=name: called.add(name)) for name in names]
    try:
        with torch.no_grad(), model.hooks(fwd_hooks=record):
            model.original_model(model.to_tokens("a"), use_cache=False)
    except ValueError as error:  # a point that must be switched on first
        raise HookError(str(error)) from error
    if never := sorted(names - called):
        raise HookError(
            f"The model never calls its hook point {never[0]!r}, so a hook there has no effect: "
            "choose another, such as 'blocks.5.hook_resid_pre'."
        )


def _check_name(model, name: str) -> None:
    if name in model.hook_dict:
        return
    near = difflib.get_close_matches(str(name), model.hook_dict, n=3)
    hint = f"Did you mean {', '.join(map(repr, near))}?" if near else "A name looks like 'blocks.5.hook_resid_pre'."
    raise HookError(
        f"The model has no hook point {name!r} (its blocks are 0 to {model.cfg.n_layers - 1}, and the residual "
        f"stream before block L is 'blocks.L.hook_resid_pre'). {hint}"
    )


def layer_of(name: str) -> int:
    """Return the block of a hook point: 5 for ``"blocks.5.hook_resid_pre"``."""
    try:
        return int(name.split(".")[1])
    except (IndexError, ValueError):
        raise HookError(
            f"{name!r} is not a hook point of a block: give a name like 'blocks.5.hook_resid_pre'."
        ) from None


def special_ids(model) -> set[int]:
    """Return the ids of tokens that stand for no text: begin, end, padding."""
    return set(model.tokenizer.all_special_ids)
