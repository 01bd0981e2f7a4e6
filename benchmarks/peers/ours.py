"""Our loop, one step at a time, on the same rows; and the two measures of what a step must cost.

``kind``: "topk" is the reference's fast path; "relu" a plain ReLU SAE with an L1 loss in our loop, as a
student's; "relu_bare" the same forward and backward with nothing around it; "original" the homework's step:
Adam on the mean squared error plus an L1 mean, nothing else.
"""

import torch
from torch import nn

from benchmarks.peers.driver import drive
from helpers import sae
from helpers.sae.base import Architecture
from helpers.sae.batches import Rows
from helpers.sae.training import _Run


class ReLU(Architecture):
    """A dense SAE, as a student's."""

    def encode(self, x):
        return torch.relu(self.pre_activations(x))


def l1_loss(x, x_hat, h):
    return (x - x_hat).pow(2).sum(-1).mean() + 1.3 * h.abs().sum(-1).mean()


def original_loss(x, x_hat, h):
    return nn.functional.mse_loss(x_hat, x) + 1e-3 * h.abs().mean()


def make(task, d_in):
    kind = task["kind"]
    module = sae.TopK(d_in, task["d_sae"], task["k"]) if kind == "topk" else ReLU(d_in, task["d_sae"])
    if kind in ("original", "relu_bare"):
        return _bare(module, task, original_loss if kind == "original" else l1_loss), lambda: module.W_dec
    config = sae.TrainConfig(
        steps=task["steps"], batch_size=task["batch_size"], lr=task["lr"], seed=task["seed"], tie=task.get("tie", 0.0)
    )
    return _in_our_loop(module, task, config, None if kind == "topk" else l1_loss), lambda: module.W_dec


def _bare(module, task, loss_fn):
    optimizer = torch.optim.Adam(module.parameters(), lr=task["lr"]) if task["kind"] == "original" else None

    def step(x):
        h = module.encode(x)
        module.zero_grad()
        loss_fn(x, module.decode(h), h).backward()
        if optimizer:
            optimizer.step()

    return step


class _Fed:
    """Batches that the driver chose instead of those that the loop would."""

    def __init__(self, size):
        self.size, self.x = size, None

    def next(self):
        return self.x


def _in_our_loop(module, task, config, loss_fn):
    state = []

    def step(x):
        if not state:
            run = _Run(module, Rows(x), loss_fn, config, torch.device("cpu"), None)
            run.batches = _Fed(config.batch_size)
            run._begin()
            state.extend((run, iter(range(config.steps)), _Silent()))
        run, counter, bar = state
        run.batches.x = x
        run._step(next(counter), bar)

    return step


class _Silent:
    def set_postfix(self, **values):
        pass


drive(make)
