"""What is run and how big: three environment variables, read here and nowhere else."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

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


QUICK = Sizes(prompts=8, trial=4, layers=3, new_tokens=8, heads=4, tokens=12_000, steps=60, batch_size=256, relu_steps=40)
FULL = Sizes(prompts=40, trial=12, layers=8, new_tokens=20, heads=8, tokens=92_000, steps=500, batch_size=1024, relu_steps=150)
FULL_GPU = Sizes(prompts=40, trial=32, layers=30, new_tokens=20, heads=90, tokens=2_000_000, steps=4000, batch_size=2048, relu_steps=4000)


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


@lru_cache
def bf16_is_fast(device_type: str) -> bool:
    """Whether the hardware computes in bf16 at least as fast as in fp32; where it is emulated, it takes several times as long.

    A processor may have the instructions and still be slower: an Intel Xeon without AMX took 1.6 times as long for
    generation and 1.7 times for harvesting.
    """
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return "GenuineIntel" not in processor() or torch.cpu._is_amx_tile_supported()


def processor() -> str:
    """What the system says of its processor: the vendor among it."""
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.is_file() else platform.processor()
