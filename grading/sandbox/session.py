"""Start :mod:`grading.sandbox.worker` in a sandbox, talk to it over pipes, and watch what it uses."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil

from grading.sandbox import isolation, worker
from grading.sandbox.isolation import GIB, Limits, Place

MAX_TEXT, MAX_BLOB = 4 << 20, 128 << 20  # bytes in one answer
WATCH_EVERY = 0.1  # seconds


class Broken(Exception):
    """Raised when the worker is gone.

    ``reason`` is ``"time"``, ``"memory"``, ``"processes"``, ``"answer"`` or ``"died"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Session:
    """A sandbox and the pipes to its worker, as a context manager.

    All methods but ``close`` raise :class:`Broken` if the worker is gone. By then everything in the sandbox is killed.

    Raises:
        SandboxError: the sandbox or its worker doesn't start; no student's code has run then.
        Broken: there was no time left to start it.
    """

    def __init__(self, place: Place, limits: Limits, until: float | None = None) -> None:
        self.limits, self.broken = limits, ""
        self.until = until or time.monotonic() + limits.seconds
        self._folder = tempfile.TemporaryDirectory(prefix="grade-") if not place.sandboxed else None
        command, environment = isolation.command(place, limits, self._folder.name if self._folder else None)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            cwd=self._folder.name if self._folder else "/", start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self.cpu_seconds = 0.0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """Wait for the worker. The error output is closed before any student's code runs."""
        assert self._process.stderr
        with self._process.stderr as errors:
            os.set_blocking(errors.fileno(), False)
            try:
                self._wait_for("ready", self.until)
            except Broken as broken:
                said = (errors.read() or b"").decode("utf-8", "replace").strip()
                self.close()
                if broken.reason == "time":
                    raise
                why = {"memory": "memory limit is too low", "processes": "process limit is too low"}.get(broken.reason)
                why = f"the {why}" if why else said.splitlines()[-1] if said else "it ended without a message"
                raise isolation.SandboxError(f"The sandbox can't be started: {why}.") from None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything in the sandbox, wait for its end and delete its folder."""
        self._kill()
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            pipe.close()
        if self._folder:
            self._folder.cleanup()

    def begin(self) -> None:
        """Start a fresh interpreter for the next task."""
        self._send({"do": "begin"})

    def end(self) -> None:
        """End the task's interpreter and everything that it started."""
        self._send({"do": "end"})
        self._wait_for("ended", time.monotonic() + 30)

    def cell(self, source: str) -> dict | None:
        """Run a cell and return its error (``type``, ``message``, ``line``, ``text``), or None."""
        return _error(self._exchange({"do": "cell", "source": source})[0])

    def provide(self, path: str, names: list[str]) -> dict | None:
        """Load ``names`` from a bundle into the student's namespace and return the error, or None."""
        return _error(self._exchange({"do": "provide", "path": path, "names": names})[0])

    def ask(self, source: str, name: str, given: dict, arrays: bytes = b"") -> tuple[dict, bytes]:
        """Ask a question; return ``{"answer": …}`` or ``{"error": …}``, and a safetensors blob. Trust neither."""
        return self._exchange({"do": "ask", "source": source, "name": name, "given": given}, arrays)

    def _exchange(self, command: dict, blob: bytes = b"") -> tuple[dict, bytes]:
        self._send(command, blob)
        return self._wait_for("reply", min(self.until, time.monotonic() + self.limits.cell_seconds))

    def _send(self, command: dict, blob: bytes = b"") -> None:
        """Write a command; raise :class:`Broken` if the worker doesn't read it in time."""
        view = memoryview(worker.frame(command, blob))
        until, pipe = min(self.until, time.monotonic() + self.limits.cell_seconds), self._stdin.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while view:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self._break("time")
                try:
                    view = view[os.write(pipe, view[: 1 << 16]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    self._break("died")

    def _wait_for(self, event: str, until: float) -> tuple[dict, bytes]:
        try:
            text, blob = worker.HEAD.unpack(self._read(worker.HEAD.size, until))
            if text > MAX_TEXT or blob > MAX_BLOB:
                self._break("answer")
            message, blob = json.loads(self._read(text, until)), self._read(blob, until)
        except (ValueError, RecursionError):
            self._break("answer")
        if not isinstance(message, dict) or message.get("event") != event:
            self._break("died" if isinstance(message, dict) and message.get("event") == "ended" else "answer")
        return message, blob

    def _read(self, size: int, until: float) -> bytes:
        parts, pipe = [], self._stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while size:
                if not selector.select(max(0.0, until - time.monotonic())):
                    self._break("time")
                part = os.read(pipe, min(size, 1 << 20))
                if not part:
                    self._break("died")
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    def _break(self, reason: str) -> None:
        self.broken = self.broken or reason
        self._kill()
        raise Broken(self.broken)

    def _kill(self) -> None:
        for process in [*self._members(), self._process]:
            try:
                process.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                pass

    def _members(self) -> list[psutil.Process]:
        """Return every process of the sandbox. Orphans become children of its first process, so none is missed."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _watch(self) -> None:
        """Kill the sandbox if its processes together exceed a limit."""
        while self._process.poll() is None:
            members = self._members()
            memory = cpu = 0.0
            files: dict[tuple[int, int], int] = {}
            for member in members:
                try:
                    memory += _memory(member, files)
                    cpu += sum(member.cpu_times()[:4])
                except (psutil.Error, OSError, ValueError):
                    continue
            memory += sum(files.values())
            self.cpu_seconds = max(self.cpu_seconds, cpu)
            if memory > self.limits.memory_gib * GIB:
                self.broken = self.broken or "memory"
            elif len(members) > self.limits.processes:
                self.broken = self.broken or "processes"
            elif time.monotonic() > self.until + 60:  # every other timeout has failed
                self.broken = self.broken or "time"
            if self.broken:
                self._kill()
            time.sleep(WATCH_EVERY)


def _error(reply: dict) -> dict | None:
    """Return the error in a reply, or None. The values in it may be of any type."""
    error = reply.get("error")
    return error if isinstance(error, dict) or error is None else {"type": "something"}


def _memory(process: psutil.Process, files: dict[tuple[int, int], int]) -> int:
    """Return the bytes that this process holds, shared memory included, and add its memory-only files to ``files``.

    Pages of files on disk are excluded, since all processes share libraries and the model.
    """
    folder = Path(f"/proc/{process.pid}")
    lines = (line.split() for line in (folder / "status").read_text().splitlines())
    own = sum(1024 * int(words[1]) for words in lines if words and words[0] in ("RssAnon:", "RssShmem:"))
    for entry in os.scandir(folder / "fd"):
        try:
            if os.readlink(entry.path).startswith("/memfd:"):
                info = os.stat(entry.path)
                files[info.st_dev, info.st_ino] = 512 * info.st_blocks
        except OSError:
            continue
    return own
