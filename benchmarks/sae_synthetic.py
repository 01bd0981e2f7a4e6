"""SAE quality at equal tokens on data with a known dictionary: helpers and other libraries, three seeds each.

    python -m benchmarks.sae_synthetic [--tasks easy hard]

All contestants see the same rows in the same order. Each uses the best of three learning rates on seed 0.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from benchmarks.common import OUT, machine
from benchmarks.peers import ask, installed
from benchmarks.recovery import Recovery, recovery

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Task:
    """Synthetic data: each token sums ``l0`` of ``features`` random unit directions, with strengths 0.5 to 1.5."""

    d_in: int
    features: int
    l0: int
    d_sae: int
    steps: int
    batch_size: int


TASKS = {"easy": Task(128, 384, 8, 768, 1200, 1024), "hard": Task(256, 1024, 20, 2048, 400, 512)}
RATES = {
    "helpers, TopK": (3e-3, 6e-3, 1e-2),
    "helpers, TopK, tie 0.1": (3e-3, 6e-3, 1e-2),
    "sae-lens, topk": (1e-3, 3e-3, 1e-2),
    "dictionary_learning, topk": (1e-3, 3e-3, 1e-2),
    "sparsify, topk, signum": (3e-3, 1e-2, 3e-2),
    "sparsify, topk, adam": (3e-3, 1e-2, 3e-2),
}


def make(task: Task, seed: int) -> tuple[str, torch.Tensor]:
    """Write the rows to a file; return its path and the true directions."""
    random = np.random.default_rng(seed)
    truth = random.standard_normal((task.features, task.d_in), dtype=np.float32)
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    rows = np.empty((task.steps * task.batch_size, task.d_in), dtype=np.float32)
    for part in np.array_split(rows, max(1, len(rows) // 8192)):
        on = random.random((len(part), task.features), dtype=np.float32).argpartition(task.l0, axis=1)[:, : task.l0]
        strength = random.uniform(0.5, 1.5, on.shape).astype(np.float32)
        part[:] = np.einsum("nk,nkd->nd", strength, truth[on])
    rows *= np.sqrt(task.d_in) / np.linalg.norm(rows, axis=1).mean()  # the scale that helpers' training loop uses
    OUT.mkdir(parents=True, exist_ok=True)
    np.save(OUT / "synthetic.npy", rows)
    return str(OUT / "synthetic.npy"), torch.from_numpy(truth)


def contestants() -> tuple[dict[str, tuple], list[str]]:
    found: dict[str, tuple] = {
        "helpers, TopK": (sys.executable, "helpers_loop.py", {}),
        "helpers, TopK, tie 0.1": (sys.executable, "helpers_loop.py", {"tie": 0.1}),
    }
    peers, missing = installed()
    for peer, python in peers:
        for optimizer in ("signum", "adam") if peer.name == "sparsify" else ("",):
            found[", ".join(filter(None, (peer.name, "topk", optimizer)))] = (
                python,
                peer.script,
                {"optimizer": optimizer},
            )
    return found, missing


def run(who: tuple, task: Task, data: str, truth, lr: float, seed: int) -> tuple[Recovery, float]:
    """Train one contestant; return its recovery and its CPU seconds for the whole run."""
    python, script, options = who
    sizes = {"d_sae": task.d_sae, "k": task.l0, "steps": task.steps, "batch_size": task.batch_size, "warm": 0}
    decoder = str(OUT / "decoder.npy")
    answer = ask(python, script, kind="topk", data=data, lr=lr, seed=seed, decoder=decoder, **sizes, **options)
    return recovery(torch.from_numpy(np.load(decoder)), truth), answer["cpu"] * task.steps


def compare(name: str, task: Task, racing: dict[str, tuple]) -> str:
    results: dict[str, list[tuple[Recovery, float]]] = {who: [] for who in racing}
    best: dict[str, float] = {}
    for seed in SEEDS:
        data, truth = make(task, seed)
        for who, how in tqdm(racing.items(), desc=f"{name}, seed {seed}"):
            if seed == SEEDS[0]:
                tried = {lr: run(how, task, data, truth, lr, seed) for lr in RATES[who]}
                best[who] = max(tried, key=lambda lr: tried[lr][0].mean_max_cosine)
                results[who].append(tried[best[who]])
            else:
                results[who].append(run(how, task, data, truth, best[who], seed))
    return table(results, best)


def table(results: dict[str, list[tuple[Recovery, float]]], best: dict[str, float]) -> str:
    lines = [
        "| | lr | mean max cosine (minimum to maximum) | found > 0.9 | matched | unique | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for who, runs in results.items():
        mmcs = [found.mean_max_cosine for found, _ in runs]
        found, matched, unique = (
            statistics.mean(getattr(each, field) for each, _ in runs) for field in ("found", "matched", "uniqueness")
        )
        cpu = statistics.median(seconds for _, seconds in runs)
        lines.append(
            f"| {who} | {best[who]:g} | {statistics.mean(mmcs):.4f} ({min(mmcs):.4f} to {max(mmcs):.4f}) "
            f"| {found:.1%} | {matched:.4f} | {unique:.3f} | {cpu:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    racing, missing = contestants()
    parts = ["# SAEs on known dictionaries", f"Measured on: {machine()}. Means over three seeds.", *missing]
    for name in parser.parse_args().tasks:
        parts.append(f"## {name}\n\n{TASKS[name]}\n\n{compare(name, TASKS[name], racing)}")
    path = OUT / "sae_synthetic.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
