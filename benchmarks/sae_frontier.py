"""FVU against L0 per architecture on smollm2's middle layer: ``python -m benchmarks.sae_frontier [--steps 400]``.

All architectures train on the same activations and batches, with one seed. Three set their sparsity by k, two by a
weight in the loss; those two reach other values of L0. The table and figure are written to build/bench.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from benchmarks.common import OUT, machine
from benchmarks.sae_quality import activations
from helpers import data, load_model, plots, sae
from helpers.settings import settings

BY_K = [{"k": k} for k in (8, 16, 32, 64)]
SETTINGS = {
    "TopK": BY_K,
    "BatchTopK": BY_K,
    "Matryoshka": BY_K,
    # Thresholds hardly fall in so few steps, so a denser SAE starts with a lower one.
    "JumpReLU": [{"sparsity": 32.0}, {"sparsity": 2.0}, {"sparsity": 0.5}, {"sparsity": 0.1, "threshold": 0.7}],
    "Gated": [{"sparsity": sparsity} for sparsity in (10.0, 5.0, 3.0, 2.0)],
}
DENSE = ("JumpReLU", "Gated")  # these compute every latent, so they use bf16 if the processor is fast at it


def one(kind: str, setting: dict[str, float], train, test, config: sae.TrainConfig) -> tuple[sae.Metrics, float]:
    """Train one SAE; return its metrics on held-out lines and the seconds of training."""
    torch.manual_seed(config.seed)
    d_model = train.values.shape[1]
    module = getattr(sae, kind)(d_model, 8 * d_model, **setting)
    started = time.perf_counter()
    sae.train(module, train, config=config, progress=f"{kind} {setting}")
    return sae.evaluate(module, test), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=92_000)
    options = parser.parse_args()
    model = load_model("smollm2", dtype=settings().dtype)
    table = next(
        iter(activations(model, "written", list(dict.fromkeys(data.lines("written"))), options.tokens).values())
    )
    train, test = table.split(held_out=0.1)
    curves: dict[str, list] = {}
    rows = ["| | setting | L0 | FVU | dead | seconds |", "|---|---|---|---|---|---|"]
    for kind in options.kinds:
        precision = "bf16" if kind in DENSE and settings().dtype == torch.bfloat16 else "fp32"
        config = sae.TrainConfig(steps=options.steps, batch_size=options.batch_size, lr=3e-3, precision=precision)
        for setting in SETTINGS[kind]:
            metrics, seconds = one(kind, setting, train, test, config)
            curves.setdefault(kind, []).append(metrics)
            words = ", ".join(f"{name} {value:g}" for name, value in setting.items())
            rows.append(
                f"| {kind} | {words} | {metrics.l0:.1f} | {metrics.fvu:.3f} "
                f"| {metrics.dead_fraction:.1%} | {seconds:.0f} |"
            )
            print(rows[-1], flush=True)
            # Write after each SAE, in case the run is stopped.
            _write(rows, curves, table.hook_name, len(table), options)


def _write(rows: list[str], curves: dict[str, list], hook_name: str, tokens: int, options) -> None:
    about = (
        f"smollm2, {hook_name}, text written, {tokens} tokens, every tenth line held out, attention sinks excluded; "
        f"8 × d_model latents, {options.steps} steps of {options.batch_size} tokens, seed 0. "
        f"{' and '.join(DENSE)} multiply in {str(settings().dtype).removeprefix('torch.')}."
    )
    picture = Path("sae_frontier.png")
    figure = plots.frontier(curves, {})
    figure.savefig(OUT / picture, dpi=120, bbox_inches="tight")
    plt.close(figure)
    parts = [
        "# SAE frontier: FVU against L0",
        f"Measured on: {machine()}.",
        about,
        "\n".join(rows),
        f"![FVU against L0]({picture})",
    ]
    (OUT / "sae_frontier.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
