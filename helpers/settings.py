"""Settings from three environment variables, which are read only here: the model, the text and the budget."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from helpers.kernels.hardware import bf16_is_fast

BUDGETS = ("full", "quick")


class SettingsError(ValueError):
    """An environment variable with a value that isn't allowed."""


@dataclass(frozen=True)
class Sizes:
    """How much the notebooks do. Token counts exclude BOS."""

    prompts: int  # trial prompts per coefficient of a steering curve
    trial: int  # trial prompts to choose wordings, layers and heads on
    held_out: int  # prompts to report on
    graded: int  # prompts that only the grader has
    layers: int  # layers to try one at a time
    new_tokens: int  # tokens per completion
    heads: int  # attention heads to try one at a time
    tokens: int  # tokens to harvest activations from
    steps: int  # training steps of a reference SAE
    batch_size: int  # tokens per training step
    relu_steps: int  # training steps of the student's dense SAE; each takes several times as long


QUICK = Sizes(
    prompts=8,
    trial=4,
    held_out=8,
    graded=8,
    layers=3,
    new_tokens=8,
    heads=4,
    tokens=12_000,
    steps=60,
    batch_size=256,
    relu_steps=40,
)
FULL = Sizes(
    prompts=40,
    trial=12,
    held_out=120,
    graded=60,
    layers=8,
    new_tokens=20,
    heads=8,
    tokens=92_000,
    steps=500,
    batch_size=1024,
    relu_steps=150,
)
FULL_GPU = Sizes(
    prompts=40,
    trial=40,
    held_out=120,
    graded=60,
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
    """The homework's three settings, and what follows from them and the device."""

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
    """Read ``HOMEWORK_MODEL``, ``HOMEWORK_TEXT`` and ``HOMEWORK_BUDGET``; the README lists their values.

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
