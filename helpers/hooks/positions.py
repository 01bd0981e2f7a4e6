"""Find out which positions a hook edits, before it silently edits the wrong token.

With a KV cache a hook sees one position at a time. So ``value[:, 3]`` can no longer mean the fourth token of the
text, and ``value[:, 0]`` would mean the newest one. Therefore a hook first gets several copies of a single position,
as if they were a longer text:

- A hook that edits the last position changes only the last copy.
- A hook that edits every position changes all copies, or all but the first (BOS).
- A hook that changes anything else depends on absolute positions.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Bool, Float
from torch import Tensor

from helpers.hooks.hook_points import Hook, HookError


def on_rows(parts: list[tuple[slice, Callable]]) -> Callable:
    """Return one function for a hook point, in which each of the ``parts`` sees and may change its own rows only."""

    def hook_on_rows(value, hook):
        value = value.clone()  # a hook may write in place, so its input must not be shared
        for rows, function in parts:
            changed = function(value[rows], hook)
            if changed is not None:
                value[rows] = changed
        return value

    return hook_on_rows


def watched(name: str, function: Callable, copies: int, every_position: bool) -> Callable:
    """Return ``function`` wrapped for its first step, in which the positions that it edits are checked.

    Args:
        name: the hook point, for error messages.
        copies: how many copies of the position the hook gets; at least 2.
        every_position: whether a hook may edit all positions.
    """

    def watching(value, hook):
        if value.shape[1] != 1:  # dimension 1 of attention scores and patterns isn't the position
            return function(value, hook)
        shown = value.repeat_interleave(max(2, copies), dim=1)
        before = shown.clone()
        try:
            returned = function(shown, hook)
        except IndexError as error:
            reason = f"it indexes a position that doesn't exist ({error})"
            raise HookError(_refusal(name, reason, every_position)) from error
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
    """Return ``function`` wrapped to get the newest position twice, so that ``value[:, 1:]`` includes it."""

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
    """Return the positions at which any number differs; NaN equals NaN."""
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


def _refusal(name: str, reason: str, every_position: bool) -> str:
    if every_position:
        return (
            f"A hook at {name!r} can't be used while generating: {reason}, and with a KV cache it sees only the newest "
            "token. Edit the last position (value[:, -1]) or every position (value[:], or value[:, 1:] without BOS)."
        )
    return (
        f"A hook at {name!r} can't be used with past='clean': {reason}, but a clean past leaves earlier "
        "tokens unedited. Edit only the last position (value[:, -1]), or use past='steered' with a hook that edits "
        "every position."
    )


def everywhere(fwd_hooks: list[Hook]) -> list[Hook]:
    """Return hooks that do at every position except the first (BOS) what the given ones do at the last.

    Each function gets every position as a text of length one. For ``past="steered"``, or a single forward pass.
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
