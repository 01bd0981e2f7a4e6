"""CPU seconds per SAE training step (768 → 6144, batch 4096): the original, other libraries and helpers.

    python -m benchmarks.sae_speed [--rounds 3]

Contestants take turns, each in its own process; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import numpy as np
from tqdm.auto import tqdm

from benchmarks.common import OUT, Row, write
from benchmarks.peers import Peer, ask, installed

D_IN, D_SAE, K, BATCH, STEPS, WARM = 768, 6144, 32, 4096, 7, 2
HELPERS = {
    "original": "original",
    "topk": "helpers, TopK",
    "relu": "student's ReLU in helpers' loop",
    "relu_bare": "student's forward and backward only",
}
NOTES = """One step of {batch} tokens of random data, {d_in} → {d_sae} latents, k = {k}. All contestants compute in
fp32, but helpers' TopK chooses the latents in bf16 if the hardware supports it. Peak memory is the growth of the
process, without the data."""


def contestants() -> tuple[dict[str, tuple], list[str]]:
    """Return name → (interpreter, script, kind), and a message for each missing library."""
    found: dict[str, tuple] = {"original": (sys.executable, "helpers_loop.py", "original")}
    peers, missing = installed()
    for peer, python in peers:
        found |= {f"{peer.name}, {kind}": (python, peer.script, kind) for kind in _kinds(peer)}
    found |= {name: (sys.executable, "helpers_loop.py", kind) for kind, name in HELPERS.items() if kind != "original"}
    return found, missing


def _kinds(peer: Peer) -> tuple[str, ...]:
    return ("standard", "topk") if peer.name == "sae-lens" else ("topk",)


def rows_file() -> str:
    OUT.mkdir(parents=True, exist_ok=True)
    rows = np.random.default_rng(0).standard_normal((2 * BATCH, D_IN), dtype=np.float32)
    np.save(OUT / "rows.npy", rows)
    return str(OUT / "rows.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds to take medians over (default: 3)")
    rounds = parser.parse_args().rounds
    racing, missing = contestants()
    sizes = {"d_sae": D_SAE, "k": K, "steps": STEPS, "warm": WARM, "batch_size": BATCH, "lr": 1e-3, "seed": 0}
    task = sizes | {"data": rows_file(), "decoder": None, "optimizer": "signum"}
    turns: dict[str, list[dict]] = {name: [] for name in racing}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, (python, script, kind) in tqdm(racing.items(), leave=False):
            turns[name].append(ask(python, script, kind=kind, **task))
    rows = [
        Row(name, BATCH, *(statistics.median(turn[field] for turn in found) for field in ("wall", "cpu", "memory")))
        for name, found in turns.items()
    ]
    notes = NOTES.format(batch=BATCH, d_in=D_IN, d_sae=D_SAE, k=K)
    write("sae_speed", "SAE training: one step", {"One step": rows}, "\n\n".join([notes, *missing, *ratios(rows)]))


def ratios(rows: list[Row]) -> list[str]:
    """Return the ratios of CPU seconds that docs/results.md states, as sentences."""
    cpu = {row.name: row.cpu for row in rows}
    bare, loop = cpu[HELPERS["relu_bare"]], cpu[HELPERS["relu"]]
    lines = [f"helpers' training loop adds {loop / bare - 1:.0%} to a student's forward and backward."]
    lines += [
        f"helpers' TopK takes {cpu[HELPERS['topk']] / cpu[name]:.2f} of the CPU seconds of {name}."
        for name in ("original", "sae-lens, topk", "dictionary_learning, topk", "sparsify, topk")
        if name in cpu
    ]
    return lines


if __name__ == "__main__":
    main()
