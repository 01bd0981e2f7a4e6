"""SAEs on smollm2's residual stream: quality on held-out lines at the course's training budget, three seeds.

    python -m benchmarks.sae_quality [--text written] [--kinds TopK] [--k 32] [--seeds 0 1 2] [--steps 1000]

Harvested activations are cached in build/bench.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks.common import OUT, machine
from helpers import data, harvest, latents, load_model, sae
from helpers.caching.activations import Activations
from helpers.settings import settings

FIELDS = ("values", "text_ids", "positions", "token_ids", "is_sink", "hook_name")
LABELLED = 40_000  # held-out tokens for the label scores
CE_LINES = 150


def activations(model, text: str, lines: list[str], tokens: int) -> dict[str, Activations]:
    """Return the activations of the middle and the last layer, cached per text and number of tokens."""
    n = model.cfg.n_layers
    names = [f"blocks.{n // 2}.hook_resid_pre", f"blocks.{n - 1}.hook_resid_pre"]
    key = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
    path = OUT / f"activations_{Path(text).stem}_{tokens}_{key}.pt"
    if not path.is_file():
        found = harvest(model, lines, names, context=256, too_long="cut", max_tokens=tokens)
        OUT.mkdir(parents=True, exist_ok=True)
        torch.save({name: {field: getattr(table, field) for field in FIELDS} for name, table in found.items()}, path)
    return {name: Activations(**fields) for name, fields in torch.load(path, weights_only=True).items()}


def one(model, lines, table: Activations, kind: str, k: int, seed: int, steps: int) -> dict[str, float]:
    """Train one SAE and return its metrics on the held-out lines."""
    train, test = table.split(held_out=0.1)
    torch.manual_seed(seed)
    d_model = table.values.shape[1]
    module = getattr(sae, kind)(d_model, 8 * d_model, k)
    config = sae.TrainConfig(steps=steps, batch_size=2048, lr=3e-3, seed=seed)
    start = time.perf_counter()
    sae.train(module, train, config=config, progress=f"{kind} {table.hook_name} seed {seed}")
    seconds = time.perf_counter() - start
    found = sae.evaluate(module, test).figures() | {"seconds": seconds}
    part = test[:LABELLED].without_sinks()
    names, truth = latents.token_labels(model, test[:LABELLED]).frequent(at_least=20)
    truth = truth[:, ~test[:LABELLED].is_sink]
    latent_f1, _ = latents.best_f1(latents.encoder(module), part.values, truth)
    neuron_f1, _ = latents.best_f1(lambda x: x, part.values, truth, both_signs=True)
    found |= {"labels": len(names), "F1 latents": latent_f1.mean().item(), "F1 neurons": neuron_f1.mean().item()}
    held_out = [line for i, line in enumerate(lines) if i % 10 == 9][:CE_LINES]
    replaced = sae.replacement(model, module, held_out, table.hook_name, context=256, progress=None)
    return found | {"ΔCE": replaced.delta, "KL": replaced.kl, "recovered": replaced.recovered}


COLUMNS = ("fvu", "l0", "dead_fraction", "ΔCE", "KL", "recovered", "labels", "F1 latents", "F1 neurons", "seconds")


def row(name: str, runs: list[dict[str, float]]) -> str:
    cells = []
    for column in COLUMNS:
        values = [run[column] for run in runs]
        cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    ratio = statistics.mean(run["F1 latents"] / run["F1 neurons"] for run in runs)
    return f"| {name} | {' | '.join(cells)} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", default="written")
    parser.add_argument("--kinds", nargs="+", default=["TopK"], choices=["TopK", "BatchTopK", "Matryoshka"])
    parser.add_argument("--k", nargs="+", type=int, default=[32])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=400_000)
    parser.add_argument("--out", default="sae_quality")
    options = parser.parse_args()
    model = load_model("smollm2", dtype=settings().dtype)
    lines = list(dict.fromkeys(data.lines(options.text)))
    tables = activations(model, options.text, lines, options.tokens)
    header = "| | " + " | ".join(COLUMNS) + " | F1 ratio |\n|" + "---|" * (len(COLUMNS) + 2)
    rows, raw = [], {}
    for name, table in tables.items():
        for kind in options.kinds:
            for k in options.k:
                title = f"{name}, {kind}, k {k}"
                raw[title] = [one(model, lines, table, kind, k, seed, options.steps) for seed in options.seeds]
                rows.append(row(title, raw[title]))
                print(rows[-1], flush=True)
    about = (
        f"smollm2, text {Path(options.text).stem}, {len(table)} tokens, every tenth line held out, "
        f"attention sinks excluded; 8 × d_model latents, {options.steps} steps of 2,048 tokens, "
        f"seeds {options.seeds}: mean (minimum to maximum). "
        "Each label's latent and neuron are chosen on the tokens that they are scored on."
    )
    path = OUT / f"{options.out}.md"
    path.write_text(
        "\n\n".join(["# SAE quality", f"Measured on: {machine()}.", about, header + "\n" + "\n".join(rows)]) + "\n",
        encoding="utf-8",
    )
    (OUT / f"{options.out}.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
