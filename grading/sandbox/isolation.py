"""Build the bubblewrap command line that limits what a submission's process can see and use.

Inside are a read-only system, this Python, ``helpers``, the model, and a small ``/tmp``. There is no network, no other
process, no solution and no other submission. Of the grader only the worker is visible, and no host file is writable.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from huggingface_hub import constants

from grading.paths import ROOT
from grading.sandbox import worker

GIB = 1 << 30
# pip's record lies next to an installed package. There ROOT is site-packages, which also holds what helpers import.
INSTALLED = any(ROOT.glob("mechinterp_homework-*.dist-info"))
HIDDEN = ROOT / "grading" if INSTALLED else ROOT


@dataclass(frozen=True)
class Limits:
    """The limits for one submission."""

    seconds: float = 900.0  # for the whole submission
    cell_seconds: float = 300.0  # for one cell or one question
    memory_gib: float = 6.0  # for all its processes together
    disk_mib: int = 512  # for /tmp
    processes: int = 64


@dataclass(frozen=True)
class Place:
    """What a sandbox contains: the homework's settings, and extra files, mounted read-only."""

    model: str
    text: str
    budget: str
    threads: int
    files: tuple[str, ...] = ()
    sandboxed: bool = True


class SandboxError(RuntimeError):
    """Raised when no sandbox is available; the message says what to do."""


def available() -> bool:
    """Return whether bubblewrap is installed and may create namespaces on this machine."""
    if shutil.which("bwrap") is None:
        return False
    probe = ["bwrap", *_isolation(Limits()), "--ro-bind", "/usr", "/usr", *_links(), "true"]
    return subprocess.run(probe, capture_output=True, timeout=30).returncode == 0


def demand(sandboxed: bool) -> None:
    """Raise :class:`SandboxError` if a sandbox is wanted but not available."""
    if sandboxed and not available():
        why = "isn't installed" if shutil.which("bwrap") is None else "may not create namespaces here"
        raise SandboxError(
            f"bubblewrap {why}. Without it submissions could read, change and delete all your files. Install the "
            "package 'bubblewrap' (Debian, Ubuntu, Fedora), or pass --no-sandbox if you trust every submission."
        )


def command(place: Place, limits: Limits, folder: str | None) -> tuple[list[str], dict[str, str]]:
    """Return the worker's command line, with or without the sandbox, and its environment."""
    settings = {"alone": place.sandboxed, "limits": _process_limits(limits, place.sandboxed)}
    home = folder or "/tmp"
    environment = {
        "HOMEWORK_MODEL": place.model, "HOMEWORK_TEXT": place.text, "HOMEWORK_BUDGET": place.budget,
        "OMP_NUM_THREADS": str(place.threads), "MKL_NUM_THREADS": str(place.threads),
        "HOME": home, "TMPDIR": home, "IPYTHONDIR": f"{home}/.ipython", "MPLCONFIGDIR": f"{home}/.mpl",
        "XDG_CACHE_HOME": str(_cache_root()), "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0",
        "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TQDM_DISABLE": "1",
    }  # fmt: skip
    run = [sys.executable, "-s", "-P", worker.__file__, json.dumps(settings)]
    if not place.sandboxed:
        return run, environment
    variables = [part for name, value in environment.items() for part in ("--setenv", name, value)]
    return ["bwrap", *_isolation(limits), *_files(place), *variables, *run], {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin")
    }


def _process_limits(limits: Limits, sandboxed: bool) -> dict[str, int]:
    # Address space exceeds memory by far: torch reserves several GiB and maps the model.
    resources = {"AS": int(limits.memory_gib * GIB) + 16 * GIB, "FSIZE": limits.disk_mib << 20, "NOFILE": 1024}
    if sandboxed:  # outside a user namespace the limit would count all processes of the user
        resources["NPROC"] = 8 * limits.processes  # threads count too
    return resources


def _isolation(limits: Limits) -> list[str]:
    size = str(limits.disk_mib << 20)
    return [
        "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--disable-userns", "--cap-drop", "ALL",
        "--die-with-parent", "--new-session", "--clearenv", "--hostname", "homework",
        "--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
        "--size", size, "--tmpfs", "/tmp", "--chdir", "/tmp",
    ]  # fmt: skip


def _files(place: Place) -> list[str]:
    """Return read-only mounts: the system, this Python, ``helpers``, the worker, the model, and the place's files."""
    system = ["/usr", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/passwd"]
    course = [
        sys.prefix,
        sys.base_prefix,
        *([str(ROOT)] if INSTALLED else []),
        str(ROOT / "helpers"),
        worker.__file__,
        *place.files,
        *(path for path in (place.model, place.text) if Path(path).exists()),
    ]
    course += map(str, _cache_root().glob("mechinterp-homework/smollm2-*"))
    if "gpt2" in place.model or "wikitext" in place.text:
        course.append(constants.HF_HUB_CACHE)
    arguments = [*_links(), *(part for path in system for part in ("--ro-bind-try", path, path))]
    paths = [path for path in dict.fromkeys(os.path.abspath(path) for path in course) if path not in system]
    around = [path for path in paths if HIDDEN.is_relative_to(Path(path).resolve())]
    for path in around:
        arguments += ["--ro-bind-try", path, path]
    arguments += ["--tmpfs", str(HIDDEN)]  # hides the grader and the course if they lie below a mounted folder
    for path in paths:
        if path not in around:
            arguments += ["--ro-bind-try", path, path]
    return [*arguments, "--remount-ro", str(HIDDEN), "--remount-ro", "/"]


def _links() -> list[str]:
    """Return mounts for ``/bin``, ``/lib`` and others: links into ``/usr`` on most systems, folders on some."""
    return [part for path in _top_level() for part in _bind(path)]


def _top_level() -> Iterator[Path]:
    yield from (path for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")) if path.exists())


def _bind(path: Path) -> list[str]:
    return ["--symlink", os.readlink(path), str(path)] if path.is_symlink() else ["--ro-bind", str(path), str(path)]


def _cache_root() -> Path:
    return Path(platformdirs.user_cache_dir()).resolve()
