"""Hook points, and text generation with hooks on.

A hook is a function ``hook(value, hook) -> value`` at a named point of the model. It sees the value that flows
through that point and may change it. ``blocks.5.hook_resid_pre`` is the residual stream that enters block 5.
"""

from helpers.hooks.generation import PASTS, Completion, generate, generate_many, rescore, stream
from helpers.hooks.hook_points import Hook, HookError, check_names, layer_of, special_ids
from helpers.hooks.positions import everywhere

__all__ = [
    "PASTS", "Completion", "Hook", "HookError", "check_names", "everywhere", "generate", "generate_many", "layer_of",
    "rescore", "special_ids", "stream",
]  # fmt: skip
