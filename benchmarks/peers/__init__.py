"""Other SAE libraries, each in its own virtual environment because its pinned versions conflict with the course's.

A script in this folder runs in such an environment. It reads its task from a JSON file and writes its answer to one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / "build" / "bench" / "environments"
REQUIREMENTS = HERE.parent.parent / "requirements.txt"
TORCH = next(line for line in REQUIREMENTS.read_text().split("\n") if line.startswith("torch=="))


class PeerError(RuntimeError):
    """A library that can't be installed or failed; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A library: its name, its requirements, and the script that runs it."""

    name: str
    requirement: str  # packages, separated by spaces
    script: str
    without: str = ""  # a dependency to uninstall, because it conflicts with the course's torch


PEERS = (
    Peer("sae-lens", "sae-lens==6.54.12", "saelens.py"),
    Peer(
        "dictionary_learning",
        "dictionary-learning==0.1.0 transformers==4.57.1",
        "dictionary_learning_peer.py",
        without="torchvision",
    ),
    Peer("sparsify", "eai-sparsify==1.3.3", "sparsify_peer.py"),
)


def is_there(peer: Peer) -> bool:
    """Return whether the peer's environment is installed."""
    stamp = ENVIRONMENTS / peer.name / ".installed"
    return stamp.is_file() and stamp.read_text() == peer.requirement


def environment(peer: Peer) -> Path:
    """Return the peer's interpreter; create its environment if it is missing.

    Raises:
        PeerError: the installation fails.
    """
    folder = ENVIRONMENTS / peer.name
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if is_there(peer):
        return python
    print(f"Installing {peer.name} (a few minutes, once)", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "-q", TORCH, *peer.requirement.split()],
        *([[str(python), "-m", "pip", "uninstall", "-q", "-y", peer.without]] if peer.without else []),
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().split("\n") or [""])[-1]
            raise PeerError(f"{peer.name} can't be installed: {last[:200]}")
    stamp.write_text(peer.requirement)
    return python


def installed() -> tuple[list[tuple[Peer, Path]], list[str]]:
    """Return the installed peers with their interpreters, and a message for each that can't be installed."""
    found, missing = [], []
    for peer in PEERS:
        try:
            found.append((peer, environment(peer)))
        except PeerError as error:
            missing.append(f"Skipped: {error}")
    return found, missing


def ask(python: Path | str, script: str, **task) -> dict:
    """Run a script of this folder on a task and return its answer.

    Raises:
        PeerError: the script failed; the message ends with the last part of its stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "task.json"), Path(folder, "answer.json")
        question.write_text(json.dumps(task))
        done = subprocess.run(
            [str(python), str(HERE / script), str(question), str(answer)],
            capture_output=True,
            text=True,
            env={**os.environ, "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HERE.parent.parent)},
        )
        if done.returncode or not answer.is_file():
            raise PeerError(f"{script} failed with exit status {done.returncode}: {done.stderr.strip()[-600:]}")
        return json.loads(answer.read_text())
