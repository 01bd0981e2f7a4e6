"""Where a submission's code runs: bubblewrap around :mod:`helpers.grading.worker`, with limits and a watchdog.

Inside there is a read-only system, this Python, ``helpers`` without ``helpers.grading``, the model, and a small ``/tmp``;
no network, no other processes, no solutions, no other submission, and nothing of the host that can be written to.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import psutil
from huggingface_hub import constants

from . import worker

ROOT = Path(__file__).resolve().parents[2]  # of the course
GIB = 1 << 30
MAX_TEXT, MAX_BLOB = 4 << 20, 128 << 20  # bytes of one answer
WATCH_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    seconds: float = 900.0  # in all
    cell_seconds: float = 300.0  # for one cell, or one question
    memory_gib: float = 6.0  # of all its processes together
    disk_mib: int = 512  # of /tmp
    processes: int = 64


class SandboxError(RuntimeError):
    """No sandbox can be had; the message says what to do."""


class Broken(Exception):
    """The process that answers is gone: ``reason`` is ``"time"``, ``"memory"``, ``"processes"``, ``"answer"`` or ``"died"``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Place:
    """What a sandbox shows: the settings of the homework and files that are only read."""

    model: str
    text: str
    budget: str
    threads: int
    files: tuple[str, ...] = ()
    sandboxed: bool = True


def available() -> bool:
    """Whether bubblewrap is there and may make namespaces on this machine."""
    if shutil.which("bwrap") is None:
        return False
    probe = ["bwrap", *_isolation(Limits()), "--ro-bind", "/usr", "/usr", *_links(), "true"]
    return subprocess.run(probe, capture_output=True, timeout=30).returncode == 0


def demand(sandboxed: bool) -> None:
    """Raise :class:`SandboxError` when a sandbox is wanted and can't be had."""
    if sandboxed and not available():
        why = "isn't installed" if shutil.which("bwrap") is None else "may make no namespaces here"
        raise SandboxError(
            f"bubblewrap {why}, and without it submissions could read, change and delete what you can: install the "
            "package 'bubblewrap' (Debian, Ubuntu, Fedora), or pass --no-sandbox if you trust every submission."
        )


class Session:
    """A sandbox and the pipes to its worker; a context manager.

    ``ask`` and the others raise :class:`Broken` when the worker is gone; then everything in the sandbox has been killed.
    """

    def __init__(self, place: Place, limits: Limits, until: float | None = None) -> None:
        self.limits, self.broken = limits, ""
        self.until = until or time.monotonic() + limits.seconds
        self._folder = tempfile.TemporaryDirectory(prefix="grade-") if not place.sandboxed else None
        command, environment = _command(place, limits, self._folder and self._folder.name)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            cwd=self._folder.name if self._folder else "/", start_new_session=True, bufsize=0,
        )  # fmt: skip
        os.set_blocking(self._process.stdin.fileno(), False)
        self.cpu_seconds = 0.0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._wait_for("ready", self.until)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything in the sandbox and wait until it is gone."""
        self._kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()
        if self._folder:
            self._folder.cleanup()

    def begin(self) -> None:
        """A fresh interpreter for the next task."""
        self._send({"do": "begin"})

    def end(self) -> None:
        self._send({"do": "end"})
        self._wait_for("ended", time.monotonic() + 30)

    def cell(self, source: str) -> dict | None:
        """Run a cell; its error (``type``, ``message``, ``line``, ``text``), or None."""
        return _error(self._exchange({"do": "cell", "source": source})[0])

    def provide(self, path: str, names: list[str]) -> dict | None:
        """Give the student's namespace ``names`` out of a bundle; an error or None."""
        return _error(self._exchange({"do": "provide", "path": path, "names": names})[0])

    def ask(self, source: str, name: str, given: dict, arrays: bytes = b"") -> tuple[dict, bytes]:
        """The answer to a question: ``{"answer": …}`` or ``{"error": …}``, and a safetensors blob. Not to be trusted."""
        return self._exchange({"do": "ask", "source": source, "name": name, "given": given}, arrays)

    def _exchange(self, command: dict, blob: bytes = b"") -> tuple[dict, bytes]:
        self._send(command, blob)
        return self._wait_for("reply", min(self.until, time.monotonic() + self.limits.cell_seconds))

    def _send(self, command: dict, blob: bytes = b"") -> None:
        """Write a command; a process that doesn't read it can't keep us."""
        view = memoryview(worker.frame(command, blob))
        until, pipe = min(self.until, time.monotonic() + self.limits.cell_seconds), self._process.stdin.fileno()
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
        parts, pipe = [], self._process.stdout.fileno()
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
        """Every process of the sandbox; orphans belong to its first process, so none is missed."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _watch(self) -> None:
        """Kill the sandbox when all its processes together take too much."""
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
            elif time.monotonic() > self.until + 60:  # whatever else should have stopped it
                self.broken = self.broken or "time"
            if self.broken:
                self._kill()
            time.sleep(WATCH_EVERY)


def _error(reply: dict) -> dict | None:
    """The error that a reply tells of; its parts may be anything."""
    found = reply.get("error")
    return found if isinstance(found, dict) or found is None else {"type": "something"}


def _memory(process: psutil.Process, files: dict[tuple[int, int], int]) -> int:
    """Bytes that are this process's own, shared memory included; files that live in memory alone are noted in ``files``.

    Pages of files on disk are left out: libraries and the model are mapped by everyone.
    """
    folder = Path(f"/proc/{process.pid}")
    lines = (line.split() for line in (folder / "status").read_text().splitlines())
    own = sum(1024 * int(words[1]) for words in lines if words and words[0] in ("RssAnon:", "RssShmem:"))
    for entry in os.scandir(folder / "fd"):
        try:
            if os.readlink(entry.path).startswith("/memfd:"):
                found = os.stat(entry.path)
                files[found.st_dev, found.st_ino] = 512 * found.st_blocks
        except OSError:
            continue
    return own


def _command(place: Place, limits: Limits, folder: str | None) -> tuple[list[str], dict[str, str]]:
    """The command line of the worker, in a sandbox or without, and its environment."""
    settings = {"alone": place.sandboxed, "limits": _process_limits(limits, place.sandboxed)}
    home = folder or "/tmp"
    environment = {
        "HOMEWORK_MODEL": place.model, "HOMEWORK_TEXT": place.text, "HOMEWORK_BUDGET": place.budget,
        "OMP_NUM_THREADS": str(place.threads), "MKL_NUM_THREADS": str(place.threads),
        "HOME": home, "TMPDIR": home, "IPYTHONDIR": f"{home}/.ipython", "MPLCONFIGDIR": f"{home}/.mpl",
        "XDG_CACHE_HOME": str(_cache_root()), "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TQDM_DISABLE": "1",
    }  # fmt: skip
    run = [sys.executable, "-s", "-P", worker.__file__, json.dumps(settings)]
    if not place.sandboxed:
        return run, environment
    variables = [part for name, value in environment.items() for part in ("--setenv", name, value)]
    return ["bwrap", *_isolation(limits), *_files(place), *variables, *run], {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}


def _process_limits(limits: Limits, sandboxed: bool) -> dict[str, int]:
    # Address space is far more than memory: torch reserves several GiB and maps the model.
    found = {"AS": int(limits.memory_gib * GIB) + 16 * GIB, "FSIZE": limits.disk_mib << 20, "NOFILE": 1024}
    if sandboxed:  # outside of a user namespace the limit would count all the user's processes
        found["NPROC"] = 8 * limits.processes  # threads count, too
    return found


def _isolation(limits: Limits) -> list[str]:
    size = str(limits.disk_mib << 20)
    return [
        "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--disable-userns", "--cap-drop", "ALL",
        "--die-with-parent", "--new-session", "--clearenv", "--hostname", "homework",
        "--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--size", size, "--tmpfs", "/tmp", "--chdir", "/tmp",
    ]  # fmt: skip


def _files(place: Place) -> list[str]:
    """Read-only: the system, this Python, the course's ``helpers`` but not its grading, the model, files that are named."""
    system = ["/usr", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/passwd"]
    ours = [sys.prefix, sys.base_prefix, str(ROOT / "helpers"), *place.files, *(path for path in (place.model, place.text) if Path(path).exists())]
    ours += map(str, _cache_root().glob("mechinterp-homework/smollm2-*"))
    if "gpt2" in place.model or "wikitext" in place.text:
        ours.append(constants.HF_HUB_CACHE)
    arguments = [*_links(), *(part for path in system for part in ("--ro-bind-try", path, path))]
    arguments += ["--tmpfs", str(ROOT)]  # in case that the course lies in what is shown of the system
    for path in dict.fromkeys(os.path.abspath(path) for path in ours):
        if path not in system:
            arguments += ["--ro-bind-try", path, path]
    hidden = str(ROOT / "helpers" / "grading")
    arguments += ["--tmpfs", hidden, "--ro-bind", worker.__file__, worker.__file__]
    return [*arguments, "--remount-ro", hidden, "--remount-ro", str(ROOT), "--remount-ro", "/"]


def _links() -> list[str]:
    """``/bin``, ``/lib`` and others are links into ``/usr`` on most systems, folders on some."""
    return [part for path in _top_level() for part in _bind(path)]


def _top_level() -> Iterator[Path]:
    yield from (path for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")) if path.exists())


def _bind(path: Path) -> list[str]:
    return ["--symlink", os.readlink(path), str(path)] if path.is_symlink() else ["--ro-bind", str(path), str(path)]


def _cache_root() -> Path:
    return Path(platformdirs.user_cache_dir()).resolve()
