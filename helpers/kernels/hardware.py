"""Facts about the hardware that decide which kernel is faster."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import torch


@lru_cache
def bf16_is_fast(device_type: str) -> bool:
    """Return whether bf16 is at least as fast as fp32; emulated bf16 takes several times as long.

    A processor may have bf16 instructions and still be slower with them: an Intel Xeon without AMX took 1.6 times as
    long for generation and 1.7 times for harvesting.
    """
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu":
        return False
    try:
        known = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return known and ("GenuineIntel" not in processor() or torch.cpu._is_amx_tile_supported())
    except (AttributeError, RuntimeError, TypeError):  # private functions: another PyTorch may lack them
        return False


def processor() -> str:
    """Return the system's description of its processor, vendor included."""
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.is_file() else platform.processor()
