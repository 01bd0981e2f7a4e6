"""Sparse autoencoders: reference architectures, training, metrics, storage."""

from helpers.sae.base import SAEError
from helpers.sae.batch_topk import BatchTopK
from helpers.sae.config import History, TrainConfig
from helpers.sae.gated import Gated
from helpers.sae.jumprelu import JumpReLU
from helpers.sae.loss_recovered import replacement
from helpers.sae.matryoshka import Matryoshka
from helpers.sae.metrics import Metrics, evaluate
from helpers.sae.storage import load, save
from helpers.sae.topk import TopK
from helpers.sae.training import train

__all__ = [
    "BatchTopK", "Gated", "History", "JumpReLU", "Matryoshka", "Metrics", "SAEError", "TopK", "TrainConfig",
    "evaluate", "load", "replacement", "save", "train",
]  # fmt: skip
