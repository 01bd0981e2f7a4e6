"""Helpers of the mechanistic interpretability homework: hooks, harvesting, steering, sparse autoencoders.

They never hold the answer to a graded task: where one is needed, they take the student's function.
"""

from helpers import data
from helpers.caching import Activations, harvest
from helpers.models import load_model

__all__ = ["Activations", "data", "harvest", "load_model"]
