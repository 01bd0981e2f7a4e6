"""Timing: contestants take turns, round after round, and medians are reported.

Taking turns spreads a machine's noise over all contestants, so ratios are more reliable than times. CPU seconds
don't count the time in which other processes hold the cores.
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
    """The measurements of one turn of one contestant."""

    units: int  # units produced, such as tokens
    wall: float  # seconds
    cpu: float  # seconds, summed over threads
    memory: float  # peak MB above the memory held before the turn; on a GPU, peak MB allocated


@dataclass(frozen=True)
class Row:
    """One contestant's medians over the rounds."""

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
    """A thread that records the peak of the process's resident memory; on a GPU, PyTorch does."""

    def __init__(self):
        super().__init__(daemon=True)
        self.process, self.done = psutil.Process(), threading.Event()
        self.peak = self.start_rss = self.process.memory_info().rss

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
    """Run a contestant once. It returns its number of units, or a :class:`Turn` if it ran in a subprocess."""
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
    """Let the contestants take turns for ``rounds`` rounds; return their medians.

    Unless they are ``warm``, an uncounted round runs first.
    """
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
    """Format rows as a Markdown table; ratios compare with the first row, by wall clock and by CPU seconds."""
    lines = [
        f"| | {unit} | seconds | CPU s | {unit}/s | {unit}/CPU s | × first (wall) | × first (CPU) | peak MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    first = rows[0]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.units} | {row.wall:.2f} | {row.cpu:.2f} "
            f"| {row.per_second:.1f} | {row.per_cpu_second:.1f} | {row.per_second / first.per_second:.2f} "
            f"| {row.per_cpu_second / first.per_cpu_second:.2f} | {row.memory:.0f} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """Describe the machine and the versions."""
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
    """Write ``build/bench/NAME.md`` and ``NAME.json``; return the path of the Markdown file."""
    OUT.mkdir(parents=True, exist_ok=True)
    parts = [f"# {title}", f"Measured on: {machine()}. Contestants take turns; figures are medians.", notes]
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
