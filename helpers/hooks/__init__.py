"""Hook points, and text generated while hooks are on.

A hook is a function ``hook(value, hook) -> value`` that sees, and may change, what flows through one
named point of the model; ``blocks.5.hook_resid_pre`` is the residual stream that enters block 5.
"""

from helpers.hooks.generation import PASTS, Completion, generate, generate_many, stream
from helpers.hooks.hook_points import Hook, HookError, check_name, layer_of, special_ids
from helpers.hooks.positions import everywhere

__all__ = [
    "PASTS",
    "Completion",
    "Hook",
    "HookError",
    "check_name",
    "everywhere",
    "generate",
    "generate_many",
    "layer_of",
    "special_ids",
    "stream",
]
