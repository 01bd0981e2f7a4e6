"""Steering: vectors added to the residual stream, and measurements of their effect."""

from helpers.steering.concepts import Concept, Effect, concepts, measure_concept, preferences
from helpers.steering.curves import Curve, Point, SteeringError, figures, table
from helpers.steering.directions import ablate, auroc, projections, punctuation
from helpers.steering.heads import head_differences, largest_heads, try_heads, written_norms
from helpers.steering.layer_maps import LayerMap, layer_map
from helpers.steering.playground import Playground
from helpers.steering.prompting import ASKED, Wording, ask, best, difference_interval, in_front, wordings
from helpers.steering.storage import SteeringVectors, load, save
from helpers.steering.sweeps import (
    Setting,
    compare,
    matched_coefficient,
    perplexity,
    relative_norms,
    score,
    sweep,
    sweep_coefficients,
    two_sided,
)  # fmt: skip
from helpers.steering.vectors import last_token, principal, random_like, rescaled, shuffled_labels, with_bos

__all__ = [
    "ASKED", "Concept", "Curve", "Effect", "LayerMap", "Playground", "Point", "Setting", "SteeringError",
    "SteeringVectors", "Wording", "ablate", "ask", "auroc", "best", "compare", "concepts", "difference_interval",
    "figures", "head_differences", "in_front", "largest_heads", "last_token", "layer_map", "load",
    "matched_coefficient", "measure_concept", "perplexity", "preferences", "principal", "projections",
    "punctuation", "random_like", "relative_norms", "rescaled", "save", "score", "shuffled_labels", "sweep",
    "sweep_coefficients", "table", "try_heads", "two_sided", "with_bos", "wordings", "written_norms",
]  # fmt: skip
