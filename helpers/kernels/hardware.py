"""What the hardware is fast at."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import torch


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
