"""Run a submission's code. This process is started inside the sandbox, and the grader doesn't trust it.

The first process imports the libraries once and runs no student code. It forks a child per task. In the child an
IPython shell runs the chosen cells and then the grader's questions. When the child ends, the first process kills
whatever the child left running. So tasks can't see each other's effects, and a crashed task doesn't stop the others.

Commands and answers use two pipes, kept apart from file descriptors 0, 1 and 2. Those lead to the null device, so a
submission's output takes no memory. A frame is two lengths, then a JSON text and a safetensors blob.

This file imports nothing from :mod:`grading`, which doesn't exist in the sandbox.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import struct
import sys
import traceback

HEAD = struct.Struct(">QQ")
FREE = (18, 19)  # descriptors for the pipes, high enough to be free


def receive(pipe: int) -> tuple[dict, bytes]:
    """Return the next command and its blob; exit the process if the pipe is closed."""
    text, blob = HEAD.unpack(_exactly(pipe, HEAD.size))
    return json.loads(_exactly(pipe, text)), _exactly(pipe, blob)


def frame(message: dict, blob: bytes = b"") -> bytes:
    """Return a message and a blob as the bytes of one frame."""
    text = json.dumps(message).encode()
    return HEAD.pack(len(text), len(blob)) + text + blob


def send(pipe: int, message: dict, blob: bytes = b"") -> None:
    """Write one frame, whole."""
    view = memoryview(frame(message, blob))
    while view:
        view = view[os.write(pipe, view) :]


def _exactly(pipe: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(pipe, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def main() -> None:
    """Wait for tasks and fork a child for each."""
    commands, answers = _hide_pipes()
    settings = json.loads(sys.argv[1])
    _limit(settings["limits"])
    import matplotlib

    matplotlib.use("agg")
    importlib.import_module("IPython.core.interactiveshell")
    importlib.import_module("safetensors.torch")
    for name in ("checks", "latents", "models", "plots", "sae", "sentiment", "steering"):
        importlib.import_module(f"helpers.{name}")

    _silence(2)
    send(answers, {"event": "ready"})
    while True:
        receive(commands)  # {"do": "begin"}
        child = os.fork()
        if not child:
            _serve(commands, answers)
        _, status = os.waitpid(child, 0)
        _kill_rest(child, settings["alone"])
        send(answers, {"event": "ended", "status": status})


def _hide_pipes() -> tuple[int, int]:
    os.dup2(0, FREE[0], inheritable=False)
    os.dup2(1, FREE[1], inheritable=False)
    _silence(0, 1)  # errors are for the grader until the worker is ready
    return FREE


def _silence(*numbers: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in numbers:
        os.dup2(nowhere, number)
    os.close(nowhere)


def _limit(limits: dict[str, int]) -> None:
    """Limit each process. The session watches from outside what they use together."""
    import resource

    for name, value in {"CORE": 0, **limits}.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        except ValueError:  # already lower
            pass


def _kill_rest(child: int, alone: bool) -> None:
    """Kill what a child left running: all other processes if ``alone`` in a process namespace, else its group."""
    try:
        os.kill(-1, signal.SIGKILL) if alone else os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _serve(commands: int, answers: int) -> None:
    """Run cells and questions in the child until the task ends. Never returns."""
    os.setpgid(0, 0)
    sys.path.insert(0, "")  # as in a notebook: cells import the modules that %%writefile wrote
    _seed()
    shell = _shell()
    with _on_the_cpu():
        _answer(commands, answers, shell)


def _answer(commands: int, answers: int, shell) -> None:
    student: dict = shell.user_ns
    while True:
        command, blob = receive(commands)
        if command["do"] == "end":
            os._exit(0)
        reply, arrays = {}, b""
        try:
            if command["do"] == "cell":
                reply = _run_cell(shell, command["source"])
            elif command["do"] == "provide":
                _provide(student, command["path"], command["names"])
            else:
                reply, arrays = _ask(student, command, blob)
        except BaseException as error:  # student code may also raise SystemExit or KeyboardInterrupt
            reply, arrays = {"error": _describe(error)}, b""
        send(answers, {"event": "reply", **reply}, arrays)


def _seed() -> None:
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@contextlib.contextmanager
def _on_the_cpu():
    """Run code that asks for CUDA on the CPU if there is no GPU."""
    from unittest import mock

    import torch
    from torch.overrides import TorchFunctionMode

    def here(value):
        return "cpu" if isinstance(value, (str, torch.device)) and str(value).startswith("cuda") else value

    class OnTheCPU(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.cuda:
                return args[0]
            if function is torch.device:  # torch looks up its device modules by this name
                return function(*args, **(kwargs or {}))
            return function(*map(here, args), **{name: here(value) for name, value in (kwargs or {}).items()})

    if torch.cuda.is_available():
        yield
        return
    with OnTheCPU(), mock.patch.object(torch, "set_default_device", lambda device: None):
        yield


def _shell():
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=config)
    try:
        shell.enable_matplotlib("inline")
    except Exception:
        pass  # the pictures aren't shown anyway
    return shell


def _run_cell(shell, source: str) -> dict:
    result = shell.run_cell(source, store_history=False, silent=False)
    error = result.error_before_exec or result.error_in_exec
    return {"error": _describe(error)} if error is not None else {}


def _provide(student: dict, path: str, names: list[str]) -> None:
    """Load names from the reference run, as if the notebook's given cells had run."""
    import torch

    bundle = torch.load(path, mmap=True, weights_only=False)  # safe: the grader wrote it
    student.update({name: bundle[name] for name in names})


def _ask(student: dict, command: dict, blob: bytes) -> tuple[dict, bytes]:
    """Run one of the grader's questions: a function of the student's namespace and the given input."""
    from safetensors.torch import load, save

    scope: dict = {"__name__": "question"}
    exec(compile(command["source"], "<question>", "exec"), scope)
    answer = scope[command["name"]](student, {**command["given"], **(load(blob) if blob else {})})
    arrays = {name: value for name, value in answer.items() if hasattr(value, "dtype")}
    words = {name: value for name, value in answer.items() if name not in arrays}
    return {"answer": words}, save({name: _tensor(value) for name, value in arrays.items()}) if arrays else b""


def _tensor(value):
    import torch

    return torch.as_tensor(value).detach().cpu().contiguous().clone()


def _describe(error: BaseException) -> dict:
    """Return the error's type and message, and the student's line that raised it."""
    lines = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(("<ipython", "/tmp/ipykernel"))
    ]
    place = lines[-1] if lines else None
    return {
        "type": type(error).__name__[:80],
        "message": str(error)[:2000],
        "line": place.lineno if place else getattr(error, "lineno", None),
        "text": (place.line or "")[:200] if place else str(getattr(error, "text", "") or "").strip()[:200],
    }


if __name__ == "__main__":
    main()
