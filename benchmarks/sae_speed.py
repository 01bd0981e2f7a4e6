"""CPU seconds per training step at 768 → 6144, batch 4096: the original's step, other libraries' and ours.

    python -m benchmarks.sae_speed [--rounds 3]

Every contestant runs in a process of its own, round after round in turns; medians.
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
OURS = {
    "original": "original",
    "topk": "ours, TopK",
    "relu": "ours, student's ReLU in our loop",
    "relu_bare": "student's forward and backward alone",
}
NOTES = """One step of {batch} tokens, {d_in} → {d_sae} latents, k = {k}, fp32 on both sides but for the choice of latents in ours,
which is made in bf16 where the hardware has it. Random rows. Peak memory is what the process grew by, data left out."""


def contestants() -> tuple[dict[str, tuple], list[str]]:
    """Name -> (interpreter, script, kind), and a word about those that aren't here."""
    found: dict[str, tuple] = {"original": (sys.executable, "ours.py", "original")}
    peers, missing = installed()
    for peer, python in peers:
        found |= {f"{peer.name}, {kind}": (python, peer.script, kind) for kind in _kinds(peer)}
    found |= {name: (sys.executable, "ours.py", kind) for kind, name in OURS.items() if kind != "original"}
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
    parser.add_argument("--rounds", type=int, default=3)
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
    """The figures that the course promises, in CPU seconds."""
    cpu = {row.name: row.cpu for row in rows}
    bare, loop = cpu["student's forward and backward alone"], cpu["ours, student's ReLU in our loop"]
    lines = [f"Our loop adds {loop / bare - 1:.0%} to a student's forward and backward."]
    lines += [
        f"Our TopK takes {cpu['ours, TopK'] / cpu[name]:.2f} of the CPU seconds of {name}."
        for name in ("original", "sae-lens, topk", "dictionary_learning, topk", "sparsify, topk")
        if name in cpu
    ]
    return lines


if __name__ == "__main__":
    main()
