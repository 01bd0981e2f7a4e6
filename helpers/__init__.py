"""What the homework's notebooks import: hooks, harvesting, steering, sparse autoencoders.

Nothing here contains the answer to a graded task: code that needs one takes the student's function as an argument.
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
    """Import a public name on first use.

    TransformerLens takes seconds to import, and building, running or checking notebooks doesn't need it.
    """
    if name == "data":
        return import_module("helpers.data")
    if name not in _MODULES:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
