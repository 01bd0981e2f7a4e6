"""Which positions a hook edits, found out before it can silently hit the wrong token.

With a KV cache a hook sees one position at a time, so ``value[:, 3]`` can't mean the fourth token of the
text any more, and ``value[:, 0]`` would mean the newest one. Therefore a hook's first single position
is shown to it several times over, as if it stood in a longer text: one that edits the last position
changes the last copy alone, one that edits every position changes all (but, maybe, the first: BOS), and
whatever else changes goes by absolute positions.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

from helpers.hooks.hook_points import Hook, HookError


def on_rows(parts: list[tuple[slice, Callable]]) -> Callable:
    """One function for a hook point: each of the ``parts`` sees, and may change, its own rows only."""

    def hook_on_rows(value, hook):
        value = value.clone()  # a hook may write in place; what it is given must be nobody else's
        for rows, function in parts:
            changed = function(value[rows], hook)
            if changed is not None:
                value[rows] = changed
        return value

    return hook_on_rows


def watched(name: str, function: Callable, copies: int, every_position: bool) -> Callable:
    """``function`` for the step in which it is found out what it edits; afterwards it may be called itself.

    Args:
        name: the hook point, as its owner called it.
        copies: positions that the hook is shown, all alike; at least 2.
        every_position: whether a hook that edits all positions may pass.
    """

    def watching(value, hook):
        if value.shape[1] != 1:  # attention scores and patterns have no position there
            return function(value, hook)
        shown = value.repeat_interleave(max(2, copies), dim=1)
        before = shown.clone()
        try:
            returned = function(shown, hook)
        except IndexError as error:
            raise HookError(
                _refusal(name, f"it looks up a position that isn't there ({error})", every_position)
            ) from error
        after = shown if returned is None else returned
        if after.shape != before.shape:
            raise HookError(
                f"A hook at {name!r} was given {list(before.shape)} and returned {list(after.shape)}: "
                "return the whole value, edited or not."
            )
        _check(changed_positions(before, after), name, every_position)
        return after[:, -1:]

    return watching


def doubled(function: Callable) -> Callable:
    """``function`` shown the newest position behind a copy of itself, so that ``value[:, 1:]`` (all but BOS) means it, too."""

    def on_the_second(value, hook):
        if value.shape[1] != 1:
            return function(value, hook)
        shown = value.repeat_interleave(2, dim=1)
        returned = function(shown, hook)
        return (shown if returned is None else returned)[:, -1:]

    return on_the_second


def changed_positions(
    before: Float[Tensor, "rows n ..."], after: Float[Tensor, "rows n ..."]
) -> Bool[Tensor, "rows n"]:
    """Where any number differs; NaN equals NaN."""
    same = (before == after) | (before.isnan() & after.isnan())
    return ~same.flatten(2).all(-1) if before.dim() > 2 else ~same


def _check(changed: Bool[Tensor, "rows n"], name: str, every_position: bool) -> None:
    earlier, last = changed[:, :-1], changed[:, -1]
    if not earlier.any():
        return
    all_but_bos = earlier[:, 1:].all(-1) & last
    if (all_but_bos | ~changed.any(-1) | (~earlier.any(-1) & last)).all():
        if every_position:
            return
        raise HookError(_refusal(name, "it edits every position", every_position))
    raise HookError(_refusal(name, "it edits absolute positions", every_position))


def _refusal(name: str, what: str, every_position: bool) -> str:
    if every_position:
        return (
            f"A hook at {name!r} can't be used while generating: {what}, and with a KV cache it sees only the newest "
            "token. Edit the last position (value[:, -1]) or every position (value[:], or value[:, 1:] without BOS)."
        )
    return (
        f"A hook at {name!r} can't be used with past='clean': {what}, but there earlier tokens stay as they were. "
        "Edit the last position alone (value[:, -1]), or take past='steered' for a hook that edits every position."
    )


def everywhere(fwd_hooks: list[Hook]) -> list[Hook]:
    """Hooks that do at every position but the first (BOS) what the given ones do at the last.

    The function is shown each position as a text of its own. For ``past="steered"``, or a single run.
    """
    return [(name, _at_each_position(function)) for name, function in fwd_hooks]


def _at_each_position(function: Callable) -> Callable:
    def at_each_position(value, hook):
        first = 1 if value.shape[1] > 1 else 0  # a single position is the newest token
        rest = value[:, first:]
        flat = rest.reshape(-1, 1, *value.shape[2:]).clone()  # a hook may write in place
        returned = function(flat, hook)
        value[:, first:] = (flat if returned is None else returned).reshape(rest.shape)
        return value

    return at_each_position
