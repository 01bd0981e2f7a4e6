"""Grade a class of 200 on the tests' tiny model: ``python -m benchmarks.grading [--students N] [--dask]``.

Of the submissions 40% are right, 30% wrong in every task, 20% blank and 10% hostile. The report shows submissions
per minute, the grader's own CPU time outside the sandboxes, and whether its memory grows. With ``--dask`` a cluster
of two workers on loopback grades the same class. One worker is killed midway; grades.csv must stay the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.common import OUT, machine
from grading.__main__ import main as grade
from tests import tiny
from tests.grading.cluster import cluster
from tests.submissions import books
from tests.submissions.hostile import hostile
from tests.submissions.wrong import by_task

LIMITS = ["--cell-seconds", "20", "--limit-seconds", "60", "--memory-gib", "2"]


def build_class(folder: Path, students: int) -> None:
    """Write the submissions; of every ten, four are right, three wrong, two blank and one hostile."""
    mistakes, attacks = by_task(), hostile()
    for number in range(students):
        student, kind = folder / f"student {number:03}", number % 10
        if kind == 9:
            attacks[(number // 10 * 5) % len(attacks)].put(student)
            continue
        answers = (
            {task: sources[number % len(sources)] for task, sources in mistakes.items()} if kind in (4, 5, 6) else {}
        )
        for name in books.NAMES:
            mine = {task: source for task, source in answers.items() if books.name_of(task) == name}
            books.put(student, books.book(name, mine, solved=kind < 7), name)


class Memory(threading.Thread):
    """A thread that samples the memory of this process and its workers, without sandboxes, every two seconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float]] = []
        self.running = True

    def run(self) -> None:
        started = time.monotonic()
        while self.running:
            with contextlib.suppress(psutil.Error):
                me = psutil.Process()
                mine = [me, *(child for child in me.children(recursive=True) if not _in_sandbox(child))]
                self.samples.append((time.monotonic() - started, sum(p.memory_info().rss for p in mine) / 2**30))
            time.sleep(2)


def _in_sandbox(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(p.name() == "bwrap" for p in [process, *process.parents()])
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--students", type=int, default=200, help="number of submissions (default: 200)")
    parser.add_argument("--dask", action="store_true", help="also grade the class on a Dask cluster")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        model, text = tiny.tiny_folder(root / "model"), root / "text.txt"
        text.write_text("\n".join(tiny.documents(1500, seed=9)), encoding="utf-8")
        build_class(root / "class", options.students)
        common = ["--model", str(model), "--text", str(text), "--budget", "quick", "--threads", "1", *LIMITS]
        # Prepare the cached facts, so that the timed run doesn't.
        assert grade(["grade", str(root / "class" / "student 000"), "--report", str(root / "first"), *common]) == 0
        memory = Memory()
        memory.start()
        started = time.monotonic()
        assert grade(["grade", str(root / "class"), "--report", str(root / "here"), "--jobs", "2", *common]) == 0
        seconds = time.monotonic() - started
        memory.running = False
        lines = _figures(root / "here", options.students, seconds, memory)
        _write(options.students, lines)
        if options.dask:
            started = time.monotonic()
            with cluster(root, root / "there", options.students // 3) as (address, _):
                assert (
                    grade(["grade", str(root / "class"), "--report", str(root / "there"), "--dask", address, *common])
                    == 0
                )
            same = (root / "here" / "grades.csv").read_bytes() == (root / "there" / "grades.csv").read_bytes()
            verdict = "identical" if same else "DIFFERS"
            seconds = time.monotonic() - started
            lines.append(f"| Dask, two workers, one killed midway | {seconds:.0f} s; grades.csv {verdict} |")
            _write(options.students, lines)


def _write(students: int, lines: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    title = f"# A class of {students}, `--jobs 2`, tiny model"
    text = "\n".join([title, "", f"Measured on: {machine()}.", "", "| | |", "|---|---|", *lines, ""])
    (OUT / "grading_class.md").write_text(text, encoding="utf-8")
    print(text, flush=True)


def _figures(report: Path, students: int, seconds: float, memory: Memory) -> list[str]:
    marks = json.loads((report / "marks.json").read_text())["marks"]
    own, inside = [each["own_cpu_seconds"] for each in marks], [each["cpu_seconds"] for each in marks]
    warm = memory.samples[len(memory.samples) // 5][0]  # by then the workers are running
    early = [value for at, value in memory.samples if warm <= at < 2 * warm]
    late = [value for at, value in memory.samples[-len(early) :]]
    counts = {
        status: sum(each["status"] == status for each in marks) for status in sorted({each["status"] for each in marks})
    }
    return [
        f"| submissions per minute | {60 * students / seconds:.1f} ({seconds:.0f} s) |",
        f"| the grader's own CPU seconds per submission | median {statistics.median(own):.2f}, "
        f"mean {statistics.mean(own):.2f}, maximum {max(own):.2f} |",
        "| CPU seconds in the sandbox (imports, the student's cells, hidden tests) | "
        f"median {statistics.median(inside):.1f}, mean {statistics.mean(inside):.1f} |",
        f"| memory of the grader and its two workers | {statistics.median(early):.2f} GiB early, "
        f"{statistics.median(late):.2f} GiB at the end, {max(v for _, v in memory.samples):.2f} GiB maximum |",
        f"| statuses | {', '.join(f'{status} {count}' for status, count in counts.items())} |",
    ]


if __name__ == "__main__":
    main()
