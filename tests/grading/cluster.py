"""Start a Dask cluster of one scheduler and two workers on the loopback interface."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.submissions.books import ROOT

_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}


@contextmanager
def cluster(folder: Path, report: Path, kill_after: int) -> Iterator[tuple[str, subprocess.Popen]]:
    """Yield the scheduler's address and the worker to be killed.

    The worker is killed, and another one started, once ``kill_after`` submissions are done.
    """
    file = folder / "scheduler.json"
    scheduler = _start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    worker = ("worker", "--scheduler-file", str(file), "--no-nanny", "--nthreads", "1")
    workers = [_start(*worker) for _ in range(2)]

    def kill() -> None:
        while len(list((report / "results").glob("*.json"))) < kill_after:
            time.sleep(0.1)
        workers[0].kill()
        workers[0].wait()
        workers.append(_start(*worker))  # a cluster manager would do the same

    try:
        address = _address(file)
        threading.Thread(target=kill, daemon=True).start()
        yield address, workers[0]
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def _start(what: str, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"], **_QUIET
    )


def _address(file: Path) -> str:
    until = time.monotonic() + 60
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.2)
    return json.loads(file.read_text())["address"]
