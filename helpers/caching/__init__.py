"""Activations of many tokens, in memory or in a folder of shards."""

from helpers.caching.activations import SINK_FACTOR, Activations, HarvestError, mark_sinks
from helpers.caching.harvesting import harvest
from helpers.caching.shards import StoredActivations, harvest_to, open_shards

__all__ = [
    "SINK_FACTOR", "Activations", "HarvestError", "StoredActivations", "harvest", "harvest_to", "mark_sinks",
    "open_shards",
]  # fmt: skip
