"""What every contestant goes through: the same rows in the same order, clocks on after some steps.

It needs nothing but torch and numpy, so that it runs in any peer's environment.
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
    """Train what ``make(task, d_in)`` builds: a function that takes a batch, and one that gives the decoder back.

    The task says: ``data`` (.npy, [n d_in]), ``d_sae``, ``k``, ``steps``, ``batch_size``, ``lr``, ``seed``,
    ``warm`` (steps before the clocks start), ``decoder`` (where to write it, or null).
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
    """Row numbers, pass after shuffled pass."""
    generator = np.random.default_rng(task["seed"])
    while True:
        order = torch.from_numpy(generator.permutation(n))
        for first in range(0, n - task["batch_size"] + 1, task["batch_size"]):
            yield order[first : first + task["batch_size"]]


def dead_after(task: dict) -> int:
    """Tokens without firing after which a latent is dead: a tenth of the run, for every contestant."""
    return max(1, task["steps"] * task["batch_size"] // 10)


def _peak() -> float:
    """The process's peak memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
