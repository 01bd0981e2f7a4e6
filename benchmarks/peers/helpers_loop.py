"""Train with helpers' loop, one step at a time, on the same rows; or with a bare loop for comparison.

The task's ``kind`` is one of:

- "topk": the reference TopK with its fast kernels;
- "relu": a plain ReLU SAE with an L1 loss in helpers' loop, like a student's;
- "relu_bare": the same forward and backward without the loop or an optimizer;
- "original": the original homework's step, Adam on the mean squared error plus the mean absolute latent.
"""

import torch
from torch import nn

from benchmarks.peers.driver import drive
from helpers import sae
from helpers.sae.base import Architecture
from helpers.sae.batches import Rows
from helpers.sae.training import _Run


class ReLU(Architecture):
    """A dense SAE like a student's."""

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
    return _in_helpers_loop(module, task, config, None if kind == "topk" else l1_loss), lambda: module.W_dec


def _bare(module, task, loss_fn):
    optimizer = torch.optim.Adam(module.parameters(), lr=task["lr"]) if task["kind"] == "original" else None

    def step(x):
        h = module.encode(x)
        module.zero_grad()
        loss_fn(x, module.decode(h), h).backward()
        if optimizer:
            optimizer.step()

    return step


class _DriverBatches:
    """Replacement for the loop's batches: it returns the driver's batch."""

    def __init__(self, size):
        self.size, self.x = size, None

    def next(self):
        return self.x


def _in_helpers_loop(module, task, config, loss_fn):
    state = []

    def step(x):
        if not state:
            run = _Run(module, Rows(x), loss_fn, config, torch.device("cpu"), None)
            run.batches = _DriverBatches(config.batch_size)
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
