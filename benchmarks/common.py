"""How everything here is measured: the contestants take turns, round after round, and medians are compared.

A noisy machine slows all of them alike when they take turns, so a ratio says more than a time; and CPU
seconds count what was worked, also while something else has the cores.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch
from tqdm.auto import tqdm

OUT = Path("build/bench")


@dataclass(frozen=True)
class Turn:
    """One turn of one contestant."""

    units: int  # what it made: tokens
    wall: float  # seconds
    cpu: float  # seconds of all threads
    memory: float  # MB above what was held before, at the peak


@dataclass(frozen=True)
class Row:
    """Medians over the rounds."""

    name: str
    units: int
    wall: float
    cpu: float
    memory: float

    @property
    def per_second(self) -> float:
        return self.units / self.wall

    @property
    def per_cpu_second(self) -> float:
        return self.units / self.cpu


class _Peak(threading.Thread):
    """Watches the process's resident memory (or the GPU's) while a turn runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.process, self.done, self.start_rss = (
            psutil.Process(),
            threading.Event(),
            psutil.Process().memory_info().rss,
        )
        self.peak = self.start_rss

    def run(self):
        while not self.done.wait(0.02):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def megabytes(self) -> float:
        self.done.set()
        self.join()
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 1e6
        return (self.peak - self.start_rss) / 1e6


def turn(contestant: Callable[[], int | Turn]) -> Turn:
    """Let it run: it returns its number of units, or, from a process of its own, the whole turn."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    peak = _Peak()
    peak.start()
    wall, cpu = time.perf_counter(), time.process_time()
    units = contestant()
    if isinstance(units, Turn):
        peak.megabytes()
        return units
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Turn(units, time.perf_counter() - wall, time.process_time() - cpu, peak.megabytes())


def race(
    contestants: dict[str, Callable[[], int | Turn]], rounds: int = 3, title: str = "bench", warm: bool = False
) -> list[Row]:
    """Let everyone run ``rounds`` times, in turns, after a turn that doesn't count unless they are ``warm`` already."""
    turns: dict[str, list[Turn]] = {name: [] for name in contestants}
    first = 1 if warm else 0
    with tqdm(total=(rounds + 1 - first) * len(contestants), desc=title) as bar:
        for number in range(first, rounds + 1):
            for name, contestant in contestants.items():
                found = turn(contestant)
                if number:
                    turns[name].append(found)
                bar.update()
    median = lambda name, field: statistics.median(getattr(t, field) for t in turns[name])  # noqa: E731
    return [
        Row(name, turns[name][0].units, *(median(name, field) for field in ("wall", "cpu", "memory")))
        for name in contestants
    ]


def table(rows: list[Row], unit: str = "tokens") -> str:
    """Markdown; ratios are to the first row, by CPU seconds and by wall clock."""
    lines = [
        f"| | {unit} | seconds | CPU s | {unit}/s | {unit}/CPU s | × first (wall) | × first (CPU) | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    first = rows[0]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.units} | {row.wall:.2f} | {row.cpu:.2f} | {row.per_second:.1f} | {row.per_cpu_second:.1f} "
            f"| {row.per_second / first.per_second:.2f} | {row.per_cpu_second / first.per_cpu_second:.2f} | {row.memory:.0f} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """What it was measured on."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {versions}"
    return f"{_cpu()}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads, {versions}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().split("\n") if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def write(name: str, title: str, sections: dict[str, list[Row]], notes: str = "", unit: str = "tokens") -> Path:
    """``build/bench/NAME.md`` and ``.json``."""
    OUT.mkdir(parents=True, exist_ok=True)
    parts = [f"# {title}", f"Measured on: {machine()}. Contestants take turns; medians.", notes]
    parts += [f"## {section}\n\n{table(rows, unit)}" for section, rows in sections.items()]
    path = OUT / f"{name}.md"
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    data = {
        "machine": machine(),
        "sections": {section: [asdict(row) for row in rows] for section, rows in sections.items()},
    }
    (OUT / f"{name}.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    return path
