"""Steered generation at GPT-2 small's size: the original's loop, Hugging Face, TransformerLens and helpers.

    python -m benchmarks.generation [--tokens 64 200] [--rounds 3]

The weights are random and the tokenizer is the tests'; neither affects speed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from benchmarks.common import race, write
from helpers import hooks
from helpers.models.loading import load_model
from tests import tiny

PROMPT = "on monday we went to the city . the weather was"
COEFFICIENTS = (0.3, -0.3, 0.1, -0.1, 0.2, -0.2, 0.4, -0.4)


def folder(where: Path) -> Path:
    """Save GPT-2 small with random weights and the tests' tokenizer; return the folder."""
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=1)).save_pretrained(where)
    tiny.tokenizer().save_pretrained(where)
    return where


def make_hooks(vectors: torch.Tensor, coefficient: float) -> list:
    """Return the original's hooks: every layer, last position."""

    def adder(vector):
        def add(resid, hook):
            resid[:, -1, :] += vector
            return resid

        return add

    return [(f"blocks.{layer}.hook_resid_pre", adder(coefficient * v)) for layer, v in enumerate(vectors)]


@torch.no_grad()
def original(model, vectors, new: int) -> int:
    """Generate with the original's loop, which reads the whole text again for every token."""
    tokens, fwd_hooks = model.to_tokens(PROMPT), make_hooks(vectors, COEFFICIENTS[0])
    for _ in range(new):
        chosen = model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, chosen], 1)
    return new


@torch.no_grad()
def hugging_face(plain, start, vectors, new: int) -> int:
    """Generate with Hugging Face's KV cache and a PyTorch forward pre-hook on each block."""

    def adder(vector):
        def add(module, arguments):
            arguments[0][:, -1] += vector

        return add

    handles = [
        block.register_forward_pre_hook(adder(COEFFICIENTS[0] * v))
        for block, v in zip(plain.transformer.h, vectors, strict=True)
    ]
    try:
        written = plain.generate(start, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=2)
    finally:
        for handle in handles:
            handle.remove()
    return written.shape[1] - start.shape[1]


@torch.no_grad()
def transformer_lens(model, vectors, new: int) -> int:
    tokens = model.to_tokens(PROMPT)
    with model.hooks(fwd_hooks=make_hooks(vectors, COEFFICIENTS[0])):
        written = model.generate(tokens, max_new_tokens=new, do_sample=False, stop_at_eos=False, verbose=False)
    return written.shape[1] - tokens.shape[1]


def with_helpers(model, vectors, new: int, count: int, past: str) -> int:
    sets = [make_hooks(vectors, c) for c in COEFFICIENTS[:count]]
    return sum(
        len(row[0].token_ids) for row in hooks.generate_many(model, [PROMPT], sets, new, past, fluency=past == "clean")
    )


def contestants(model, plain, new: int) -> dict[str, Callable[[], int]]:
    vectors = torch.randn(model.cfg.n_layers, model.cfg.d_model, generator=torch.Generator().manual_seed(1)).to(
        model.W_U.device
    )
    start = model.to_tokens(PROMPT)
    found = {
        "original's loop (TransformerBridge)": lambda: original(model, vectors, new),
        "Hugging Face generate, forward hooks": lambda: hugging_face(plain, start, vectors, new),
        "TransformerBridge.generate, hooks": lambda: transformer_lens(model, vectors, new),
    }
    for past, counts in (("clean", (1, 3, 8)), ("steered", (1, 8))):
        for count in counts:
            found[f"helpers, {past} past, {count} coefficient{'s' * (count > 1)}"] = lambda count=count, past=past: (
                with_helpers(model, vectors, new, count, past)
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[64, 200], help="new tokens per text (default: 64 200)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds to take medians over (default: 3)")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as where:
        model = load_model(folder(Path(where)), device=device)
        plain = AutoModelForCausalLM.from_pretrained(where).to(device).eval()
        sections = {
            f"{new} new tokens": race(contestants(model, plain, new), args.rounds, f"generation, {new} tokens")
            for new in args.tokens
        }
    notes = (
        "GPT-2 small's size (124M), random weights, fp32, greedy, a prompt of 12 tokens; "
        "every layer is steered at the last position."
    )
    write("generation", "Steered generation", sections, notes)


if __name__ == "__main__":
    main()
