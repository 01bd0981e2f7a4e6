"""Hook points: their names, and what is wrong with a name that isn't one."""

from __future__ import annotations

import difflib
from collections.abc import Callable

Hook = tuple[str, Callable]


class HookError(ValueError):
    """A hook point, a hook or a setting of a generation that can't be; the message says what can."""


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
