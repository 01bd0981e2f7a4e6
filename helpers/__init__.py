"""Helpers of the mechanistic interpretability homework: hooks, harvesting, steering, sparse autoencoders.

They never hold the answer to a graded task: where one is needed, they take the student's function.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers import data
    from helpers.caching.activations import Activations
    from helpers.caching.harvesting import harvest
    from helpers.models.loading import load_model

__all__ = ["Activations", "data", "harvest", "load_model"]
_MODULES = {"Activations": "helpers.caching", "harvest": "helpers.caching", "load_model": "helpers.models"}


def __getattr__(name: str):
    """Loads what is asked for: TransformerLens takes seconds, and whoever only builds, runs or checks notebooks needs none of it."""
    if name == "data":
        return import_module("helpers.data")
    if name not in _MODULES:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
