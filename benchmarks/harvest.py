"""Harvesting 300 lines: ``python -m benchmarks.harvest [--rounds N] [--text FILE] [--merges FILE]``.

Measured at GPT-2 small's size (random weights) up to layer 11, and on smollm2 up to layer 15. One contestant is
this machine's limit: it only multiplies random rows by the weights of the blocks below the hook point, in full
batches without padding. ``--growth`` harvests 1, 10 and 100 times the text into a folder and reports time and peak
memory. Part of ``make bench``.
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from benchmarks.common import OUT, Row, Turn, machine, race, table
from benchmarks.peers import PEERS, PeerError, ask, environment
from helpers import data, harvest, load_model
from helpers.caching.harvesting import BATCH_TOKENS, batches
from helpers.kernels import matmul
from helpers.kernels.fused import fused
from helpers.models.smollm2 import smollm2_folder
from tests.gpt2 import random_gpt2

CONTEXT = 256
LINES = 300
LIMITS = "limit, fp32: products only", "limit, bf16: products only"
MULTIPLY = (torch.nn.Linear, Conv1D)


class _Enough(Exception):
    pass


@dataclass(frozen=True)
class Models:
    """One model, loaded three times: as bridges in fp32 and bf16, and as a Hugging Face model."""

    bridge: TransformerBridge
    half: TransformerBridge  # bf16
    plain: PreTrainedModel

    @classmethod
    def load(cls, folder: str) -> Models:
        plain = AutoModelForCausalLM.from_pretrained(smollm2_folder() if folder == "smollm2" else folder).eval()
        return cls(load_model(folder), load_model(folder, dtype=torch.bfloat16), plain)


def contestants(models: Models, lines: list[str], layer: int) -> dict[str, Callable[[], int | Turn]]:
    """Return the contestants; each harvests the lines and returns its number of tokens, BOS excluded."""
    bridge, half, plain = models.bridge, models.half, models.plain
    name, before = f"blocks.{layer}.hook_resid_pre", f"blocks.{layer - 1}.hook_resid_post"  # the same values
    rows = [bridge.to_tokens(line)[0, :CONTEXT] for line in lines]
    tokens = sum(len(row) - 1 for row in rows)
    return {
        "original: one line at a time, everything cached": lambda: _original(bridge, rows, name),
        "TransformerBridge, filter and stop": lambda: _filtered(bridge, rows, before, layer),
        "Hugging Face, output_hidden_states, 8 at a time": lambda: _hidden_states(plain, rows, layer),
        "Hugging Face, early stop, sorted": lambda: _early(plain, rows, layer),
        "helpers, fp32": lambda: _helpers(bridge, lines, name, tokens),
        LIMITS[0]: lambda: _limit(bridge, layer, rows),
        "helpers, bf16": lambda: _helpers(half, lines, name, tokens),
        LIMITS[1]: lambda: _limit(half, layer, rows),
    }


@torch.inference_mode()
def _original(model, rows, name) -> int:
    kept = []
    for row in rows:
        _, cache = model.run_with_cache(row[None])
        kept.append(cache[name][0, 1:])
    return sum(map(len, kept))


@torch.inference_mode()
def _filtered(model, rows, name, layer) -> int:
    kept = [
        model.run_with_cache(row[None], names_filter=name, stop_at_layer=layer)[1][name][0, 1:].clone() for row in rows
    ]
    return sum(map(len, kept))


@torch.inference_mode()
def _hidden_states(model, rows, layer) -> int:
    kept = []
    for first in range(0, len(rows), 8):
        part = rows[first : first + 8]
        batch = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
        mask = torch.arange(batch.shape[1]) < torch.tensor([len(row) for row in part])[:, None]
        hidden = model(batch, attention_mask=mask.long(), output_hidden_states=True, use_cache=False).hidden_states[
            layer
        ]
        kept += [hidden[i, 1 : len(row)].clone() for i, row in enumerate(part)]
    return sum(map(len, kept))


@torch.inference_mode()
def _early(model, rows, layer) -> int:
    """Run only the blocks below the layer, in batches of lines of similar length."""
    blocks = model.transformer.h if hasattr(model, "transformer") else model.model.layers
    kept: list[torch.Tensor] = []

    def stop(module, args, kwargs):
        kept.append(args[0] if args else kwargs["hidden_states"])
        raise _Enough

    handle = blocks[layer].register_forward_pre_hook(stop, with_kwargs=True)
    total = 0
    try:
        for indices in batches(rows):
            part = [rows[i] for i in indices]
            try:
                model(torch.nn.utils.rnn.pad_sequence(part, batch_first=True), use_cache=False)
            except _Enough:
                hidden = kept.pop()
                total += sum(len(hidden[i, 1 : len(row)].clone()) for i, row in enumerate(part))
    finally:
        handle.remove()
    return total


def _store(folder: str, lines: list[str], name: str) -> dict[str, Callable[[], Turn]]:
    """Return SAELens' store as a contestant, run in its own environment; empty if that can't be installed."""
    peer = next(peer for peer in PEERS if peer.name == "sae-lens")
    try:
        python = environment(peer)
    except PeerError as error:
        print(f"Skipped: {error}", file=sys.stderr)
        return {}
    task = {"folder": folder, "hook": name, "lines": lines, "context": CONTEXT, "batch_tokens": BATCH_TOKENS}
    return {"sae-lens' store": lambda: Turn(**ask(python, "saelens_store.py", **task))}


def _helpers(model, lines, name, tokens) -> int:
    found = harvest(model, lines, name, context=CONTEXT, too_long="cut", progress=False)
    assert len(found) == tokens
    return len(found)


@torch.inference_mode()
def _limit(model, layer: int, rows: list[torch.Tensor]) -> int:
    """Run only the products with the blocks' weights, by the fastest known method.

    Attention's products of queries, keys and values aren't run; they are assumed to run at the same rate.
    """
    modules = _multiplying(model, layer)
    inputs = {
        width: torch.randn(BATCH_TOKENS, width, dtype=model.cfg.dtype, device=model.cfg.device)
        for width in {_width(m) for m in modules}
    }
    tokens, pairs = sum(len(row) for row in rows), sum(len(row) * (len(row) + 1) // 2 for row in rows)
    weights = sum(m.weight.numel() for m in modules)
    share = layer * 2 * model.cfg.d_model * pairs / tokens / weights  # queries with keys, pattern with values
    turns = math.ceil(tokens * (1 + share) / BATCH_TOKENS)
    with matmul.packed_weights(), matmul.fast_products(model):
        for _ in range(turns):
            for module in modules:
                module(inputs[_width(module)])
    return round(turns * BATCH_TOKENS / (1 + share))


def _multiplying(model, layer: int) -> list[torch.nn.Module]:
    """Return the modules that multiply in the blocks below the layer.

    They are recorded during a forward pass, because a bridge holds GPT-2's queries, keys and values twice.
    """
    seen, handles = [], []
    for block in model.blocks[:layer]:
        for module in block.modules():
            if type(module) in MULTIPLY:
                handles.append(module.register_forward_hook(lambda module, *_: seen.append(module)))
    with fused(model):
        model.original_model(model.to_tokens("one line"), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def _width(module) -> int:
    return module.weight.shape[0 if type(module) is Conv1D else 1]


def compare(folder: str, lines: list[str], layer: int, rounds: int, title: str, only: list[str] | None = None) -> str:
    models = Models.load(folder)
    chosen = lambda name: not only or any(word in name for word in only)  # noqa: E731
    for name, warm_up in contestants(models, lines[:10], layer).items():
        if chosen(name):
            warm_up()
    runners = {name: runner for name, runner in contestants(models, lines, layer).items() if chosen(name)}
    # SAELens' version of TransformerLens can't load smollm2 from a folder.
    if folder != "smollm2" and chosen("sae-lens' store"):
        runners |= _store(folder, lines, f"blocks.{layer}.hook_resid_pre")
    rows = race(runners, rounds, title, warm=True)
    return "\n".join([f"## {title}", "", table(rows), "", _shares(rows), "", _error(models, lines[:60], layer)])


def _shares(rows: list[Row]) -> str:
    limits = {row.name: row.per_second for row in rows if row.name in LIMITS}
    if len(limits) < len(LIMITS):
        return ""
    lines = ["Shares of the limit (wall clock):", ""]
    for row in rows:
        if row.name not in limits:
            lines.append(f"- {row.name}: {row.per_second / limits[LIMITS['bf16' in row.name]]:.0%}")
    return "\n".join(lines)


def _error(models: Models, lines: list[str], layer: int) -> str:
    name = f"blocks.{layer}.hook_resid_pre"
    exact, half = (
        harvest(model, lines, name, context=CONTEXT, too_long="cut", progress=False).without_sinks().values
        for model in (models.bridge, models.half)
    )
    n = min(len(exact), len(half))
    error = ((exact[:n] - half[:n]).pow(2).sum() / (exact[:n] - exact[:n].mean(0)).pow(2).sum()).item()
    return f"Error of bf16 compared with fp32: {error:.1e} of the variance."


def growth(model: Path, lines: list[str]) -> str:
    """Harvest 1, 10 and 100 times the text into a folder, each in its own process; return a table."""
    code = """
import resource, sys, time
from helpers import load_model
from helpers.caching import shards
model = load_model(sys.argv[1])
lines = open(sys.argv[2], encoding="utf-8").read().split("\\n")
options = dict(context=64, too_long="cut", lines_per_shard=256, progress=False)
shards.harvest_to(sys.argv[3], model, lines[:64], "blocks.1.hook_resid_pre", **options)
started = time.perf_counter()
shards.harvest_to(sys.argv[4], model, lines, "blocks.1.hook_resid_pre", **options)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    rows = ["| text | lines | seconds | seconds per 1,000 lines | peak MB |", "|---|---|---|---|---|"]
    for times in (1, 10, 100):
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder) / "lines.txt"
            text.write_text("\n".join(lines * times), encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-c", code, str(model), str(text), f"{folder}/warm", f"{folder}/out"],
                capture_output=True,
                text=True,
                check=True,
            )
        seconds, peak = map(float, done.stdout.split())
        count = len(lines) * times
        rows.append(f"| {times} times | {count} | {seconds:.1f} | {1000 * seconds / count:.2f} | {peak:.0f} |")
    return "\n".join(["## The tiny model, into a folder", "", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds to take medians over (default: 3)")
    parser.add_argument("--text", default="written", help="text to harvest (default: written)")
    parser.add_argument("--merges", type=Path, help="GPT-2's merges file; without it only smollm2 is measured")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="WORD",
        help="run only contestants whose name contains one of these words, such as: helpers limit",
    )
    parser.add_argument("--growth", action="store_true", help="only harvest 1, 10 and 100 times the text into a folder")
    options = parser.parse_args()
    lines = [line for line in data.lines(options.text) if len(line) > 40]
    lines = random.Random(0).sample(lines, min(LINES, len(lines)))
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        if options.growth:
            from tests import tiny

            parts.append(growth(tiny.tiny_folder(Path(folder)), tiny.documents(1000)))
        else:
            if options.merges:
                gpt2 = str(random_gpt2(Path(folder) / "gpt2", options.merges))
                parts.append(compare(gpt2, lines, 11, options.rounds, "GPT-2 small's size, layer 11", options.only))
            parts.append(compare("smollm2", lines, 15, options.rounds, "smollm2, layer 15", options.only))
    OUT.mkdir(parents=True, exist_ok=True)
    name = "harvest_growth" if options.growth else "harvest"
    title = (
        "# Harvesting into a folder"
        if options.growth
        else f"# Harvesting {len(lines)} lines: contestants take turns, figures are medians"
    )
    text = "\n\n".join([title, f"Measured on: {machine()}.", *parts]) + "\n"
    (OUT / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
