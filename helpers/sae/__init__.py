"""Sparse autoencoders: reference architectures, training, metrics, storage."""

from helpers.sae.base import SAEError
from helpers.sae.batch_topk import BatchTopK
from helpers.sae.config import History, TrainConfig
from helpers.sae.gated import Gated
from helpers.sae.jumprelu import JumpReLU
from helpers.sae.labels import auroc, best_f1, sparse_probe
from helpers.sae.matryoshka import Matryoshka
from helpers.sae.metrics import Marks, encoder, evaluate
from helpers.sae.replacing import replacement
from helpers.sae.storage import load, save
from helpers.sae.topk import TopK
from helpers.sae.training import train

__all__ = [
    "BatchTopK",
    "Gated",
    "History",
    "JumpReLU",
    "Marks",
    "Matryoshka",
    "SAEError",
    "TopK",
    "TrainConfig",
    "auroc",
    "best_f1",
    "encoder",
    "evaluate",
    "load",
    "replacement",
    "save",
    "sparse_probe",
    "train",
]
