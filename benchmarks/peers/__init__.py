"""Other libraries' SAEs, each in an environment of its own: their pins and ours don't go together.

A script beside this file runs in such an environment; it is told what to do by a JSON file and answers with one.
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
    """A peer that couldn't be installed or didn't answer; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A library: its name, the requirement that is installed, and the script that drives it."""

    name: str
    requirement: str  # packages, separated by blanks
    script: str
    without: str = ""  # a package that comes along and doesn't go together with our torch


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
    """Whether the peer's environment has been made already."""
    stamp = ENVIRONMENTS / peer.name / ".installed"
    return stamp.is_file() and stamp.read_text() == peer.requirement


def environment(peer: Peer) -> Path:
    """The peer's interpreter; its environment is made when it isn't there.

    Raises:
        PeerError: it can't be installed here.
    """
    folder = ENVIRONMENTS / peer.name
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if is_there(peer):
        return python
    print(f"setting up {peer.name} (a few minutes, once)", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "-q", TORCH, *peer.requirement.split()],
        *([[str(python), "-m", "pip", "uninstall", "-q", "-y", peer.without]] if peer.without else []),
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().split("\n") or [""])[-1]
            raise PeerError(f"{peer.name} can't be installed here: {last[:200]}")
    stamp.write_text(peer.requirement)
    return python


def installed() -> tuple[list[tuple[Peer, Path]], list[str]]:
    """The peers that are here, with their interpreters, and a word about each that isn't."""
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
        PeerError: it ended with an error; the message has the end of what it said.
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
            raise PeerError(f"{script} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        return json.loads(answer.read_text())
