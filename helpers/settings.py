"""What is run and how big: three environment variables, read here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from helpers.kernels.hardware import bf16_is_fast

BUDGETS = ("full", "quick")


class SettingsError(ValueError):
    """An environment variable with a value that isn't one of its choices."""


@dataclass(frozen=True)
class Sizes:
    """How much the notebooks do. Tokens are counted without BOS."""

    prompts: int  # prompts per point of a dose-response curve
    trial: int  # other prompts, on which layers and heads are chosen
    layers: int  # layers that are tried one by one
    new_tokens: int  # tokens per completion
    heads: int  # attention heads that are tried one by one
    tokens: int  # tokens whose activations are harvested
    steps: int  # training steps of a reference SAE
    batch_size: int  # tokens per training step
    relu_steps: int  # training steps of the student's dense SAE, which costs several times as much per step


QUICK = Sizes(
    prompts=8, trial=4, layers=3, new_tokens=8, heads=4, tokens=12_000, steps=60, batch_size=256, relu_steps=40
)
FULL = Sizes(
    prompts=40, trial=12, layers=8, new_tokens=20, heads=8, tokens=92_000, steps=500, batch_size=1024, relu_steps=150
)
FULL_GPU = Sizes(
    prompts=40,
    trial=32,
    layers=30,
    new_tokens=20,
    heads=90,
    tokens=2_000_000,
    steps=4000,
    batch_size=2048,
    relu_steps=4000,
)


@dataclass(frozen=True)
class Settings:
    """The homework's three settings and what follows from them and the device."""

    model: str
    text: str
    budget: str
    device: str
    dtype: torch.dtype
    sizes: Sizes

    def __str__(self) -> str:
        return (
            f"HOMEWORK_MODEL={self.model}  HOMEWORK_TEXT={self.text}  HOMEWORK_BUDGET={self.budget}  "
            f"(on {self.device}, {str(self.dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads)"
        )


def settings() -> Settings:
    """Read ``HOMEWORK_MODEL``, ``HOMEWORK_TEXT`` and ``HOMEWORK_BUDGET``; see the README for their choices.

    Raises:
        SettingsError: a budget that is neither ``full`` nor ``quick``.
    """
    budget = os.environ.get("HOMEWORK_BUDGET") or "full"
    if budget not in BUDGETS:
        raise SettingsError(f"HOMEWORK_BUDGET={budget!r}: choose 'full' (the default) or 'quick'.")
    gpu = torch.cuda.is_available()
    return Settings(
        model=os.environ.get("HOMEWORK_MODEL") or "smollm2",
        text=os.environ.get("HOMEWORK_TEXT") or "written",
        budget=budget,
        device="cuda" if gpu else "cpu",
        dtype=torch.bfloat16 if bf16_is_fast("cuda" if gpu else "cpu") else torch.float32,
        sizes=QUICK if budget == "quick" else FULL_GPU if gpu else FULL,
    )
