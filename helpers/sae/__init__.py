"""Sparse autoencoders: reference architecture, training, metrics, storage."""

from helpers.sae.metrics import Marks, best_f1, evaluate
from helpers.sae.storage import load, save
from helpers.sae.topk import SAEError, TopK
from helpers.sae.training import History, TrainConfig, train

__all__ = ["History", "Marks", "SAEError", "TopK", "TrainConfig", "best_f1", "evaluate", "load", "save", "train"]
