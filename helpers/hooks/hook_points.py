"""Hook points: their names, and helpful errors for wrong ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable

Hook = tuple[str, Callable]


class HookError(ValueError):
    """An invalid hook point, hook or generation setting; the message says what is allowed."""


def check_name(model, name: str) -> str:
    """Return ``name`` if the model has this hook point; otherwise raise :class:`HookError` with similar names."""
    if name in model.hook_dict:
        return name
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
