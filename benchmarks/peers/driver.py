"""The shared training driver: all contestants get the same rows in the same order and the same timing.

It imports only torch and numpy, so that it runs in every peer's environment.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

Make = Callable[[dict, int], tuple[Callable[[torch.Tensor], object], Callable[[], torch.Tensor]]]


def drive(make: Make) -> None:
    """Train a contestant, and write its time, memory and decoder.

    Args:
        make: builds the contestant; ``make(task, d_in)`` returns a step function that takes a batch, and a
            function that returns the decoder.

    The task holds ``data`` (.npy, [n d_in]), ``d_sae``, ``k``, ``steps``, ``batch_size``, ``lr``, ``seed``,
    ``warm`` (untimed first steps) and ``decoder`` (the path to write it to, or null).
    """
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.manual_seed(task["seed"])
    rows = torch.from_numpy(np.load(task["data"]))
    step, decoder = make(task, rows.shape[1])
    order = batches(len(rows), task)
    before, wall, cpu = _peak(), 0.0, 0.0
    for i in range(task["steps"]):
        if i == task["warm"]:
            wall, cpu = time.perf_counter(), time.process_time()
        step(rows[next(order)])
    timed = task["steps"] - task["warm"]
    answer = {
        "wall": (time.perf_counter() - wall) / timed,
        "cpu": (time.process_time() - cpu) / timed,
        "memory": _peak() - before,
    }
    if task["decoder"]:
        np.save(task["decoder"], decoder().detach().float().numpy())
    Path(sys.argv[2]).write_text(json.dumps(answer))


def batches(n: int, task: dict):
    """Yield the row indices of each batch, reshuffled every epoch."""
    generator = np.random.default_rng(task["seed"])
    while True:
        order = torch.from_numpy(generator.permutation(n))
        for first in range(0, n - task["batch_size"] + 1, task["batch_size"]):
            yield order[first : first + task["batch_size"]]


def dead_after(task: dict) -> int:
    """Return the number of tokens without firing after which a latent is dead: a tenth of the run."""
    return max(1, task["steps"] * task["batch_size"] // 10)


def _peak() -> float:
    """Return the process's peak memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
