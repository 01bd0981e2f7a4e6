"""Killed training resumes and ends with the weights of an uninterrupted run; rows can be on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import sae
from helpers.sae import SAEError, checkpoints
from helpers.sae.batches import Rows, Shuffled

CONFIG = sae.TrainConfig(steps=60, batch_size=64, lr=3e-3, save_every=7, dead_after=0.02, log_every=5)
KINDS = {"topk": sae.TopK, "batchtopk": sae.BatchTopK, "gated": sae.Gated}

# Dies in the middle of step `kill_at`, as in a power cut.
SCRIPT = """
import os, signal, sys
sys.path.insert(0, {here!r})
from tests.sae import test_checkpoints as t
module, calls = t.make({kind!r}), []
step = module.training_step
def dying(*arguments):
    calls.append(1)
    if len(calls) == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)
module.training_step = dying
t.sae.train(module, t.data(), config=t.CONFIG, progress=None, checkpoint={path!r})
"""


def data(n=500):
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(0)) * 5 + 3


def make(kind="topk"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return KINDS[kind](16, 64) if kind == "gated" else KINDS[kind](16, 64, 4)


@contextmanager
def interrupting(module, method: str, at_call: int):
    """Stop what runs inside at a call of a method, as a student does who presses the stop button."""
    original, calls = getattr(module, method), []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == at_call:
            raise KeyboardInterrupt
        return original(*arguments)

    setattr(module, method, stopping)
    with pytest.raises(KeyboardInterrupt):
        yield
    delattr(module, method)  # the class's own method again


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def killed(path: Path, kind="topk", kill_at=40) -> None:
    here = str(Path(__file__).parents[2])
    code = SCRIPT.format(here=here, kind=kind, kill_at=kill_at, path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, kind):
    path = tmp_path / "run.pt"
    killed(path, kind)
    assert checkpoints.read_checkpoint(path, {})["step"] == 35  # the last multiple of 7 before step 40
    uninterrupted, resumed = make(kind), make(kind)
    history = sae.train(uninterrupted, data(), config=CONFIG, progress=None)
    seen = []
    step = resumed.training_step
    resumed.training_step = lambda *arguments: (seen.append(1), step(*arguments))[1]
    again = sae.train(resumed, data(), config=CONFIG, progress=None, checkpoint=path)
    assert len(seen) == 25 and same(uninterrupted, resumed) and again == history
    assert not path.exists()  # deleted at the end


def test_checkpoints_do_not_change_the_run(tmp_path):
    plain, saving = make(), make()
    sae.train(plain, data(), config=CONFIG, progress=None)
    sae.train(saving, data(), config=CONFIG, progress=None, checkpoint=tmp_path / "deep" / "run.pt")
    assert same(plain, saving) and list((tmp_path / "deep").iterdir()) == []


def test_an_error_keeps_the_checkpoint(tmp_path):
    path, module = tmp_path / "run.pt", make()
    with interrupting(module, "training_step", 20):
        sae.train(module, data(), config=CONFIG, progress=None, checkpoint=path)
    assert checkpoints.read_checkpoint(path, {})["step"] == 14


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    killed(path)
    for module, rows, config, words in (
        (make("batchtopk"), data(), CONFIG, "module: TopK there, BatchTopK here"),
        (sae.TopK(16, 32, 4), data(), CONFIG, "shapes"),
        (make(), data(501), CONFIG, "rows: 500 there, 501 here"),
        (make(), data() + 1, CONFIG, "mean norm"),
        (make(), data(), sae.TrainConfig(steps=61, batch_size=64), "config"),
    ):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        with pytest.raises(SAEError, match=f"belongs to another run.*{words}.*delete it"):
            sae.train(module, rows, config=config, progress=None, checkpoint=path)
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


COEFFICIENT = 0.1


def loss(x, x_hat, h, coefficient=0.1):
    return (x - x_hat).pow(2).sum(-1).mean() + coefficient * h.abs().sum(-1).mean()


def with_constant(x, x_hat, h):
    return loss(x, x_hat, h, 0.1)


def with_global(x, x_hat, h):
    return loss(x, x_hat, h, COEFFICIENT)


def with_closure(coefficient):
    return lambda x, x_hat, h: loss(x, x_hat, h, coefficient)


def interrupted(path, module, loss_fn):
    with interrupting(module, "decode", 30):
        sae.train(module, data(), loss_fn, CONFIG, None, path)
    assert path.is_file()


@pytest.mark.parametrize("first", [with_constant, with_global, with_closure(0.1)])
def test_a_checkpoint_of_another_loss_is_refused(tmp_path, first, monkeypatch):
    path = tmp_path / "run.pt"
    interrupted(path, make("gated"), first)
    for other in (
        with_closure(0.2),
        lambda x, x_hat, h: (first(x, x_hat, h), 0 * h.sum()),
        lambda x, x_hat, h: (x - x_hat).abs().mean(),
        lambda x, x_hat, h: first(x, x_hat, h) + 1e-3 * x_hat.pow(2).sum(),
    ):
        with pytest.raises(SAEError, match=r"belongs to another run.*loss"):
            sae.train(make("gated"), data(), other, CONFIG, None, path)
    monkeypatch.setattr(sys.modules[__name__], "COEFFICIENT", 0.3)
    if first is with_global:
        with pytest.raises(SAEError, match=r"belongs to another run.*loss"):
            sae.train(make("gated"), data(), first, CONFIG, None, path)
    else:
        sae.train(make("gated"), data(), with_closure(0.1), CONFIG, None, path)
        assert not path.exists()


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [
        (lambda: sae.TopK(16, 64, 4), lambda: sae.TopK(16, 64, 8), "'k': 4.*'k': 8"),
        (lambda: sae.JumpReLU(16, 64), lambda: sae.JumpReLU(16, 64, sparsity=2.0), "sparsity"),
        (lambda: sae.JumpReLU(16, 64), lambda: sae.JumpReLU(16, 64, bandwidth=0.5), "bandwidth"),
        (lambda: sae.Gated(16, 64), lambda: sae.Gated(16, 64, sparsity=0.3), "sparsity"),
        (lambda: sae.Matryoshka(16, 64, 4), lambda: sae.Matryoshka(16, 64, 4, sizes=(8, 64)), "sizes"),
    ],
)
def test_a_checkpoint_of_other_settings_of_the_module_is_refused(tmp_path, first, other, words):
    path, module = tmp_path / "run.pt", first()
    with interrupting(module, "training_step", 20):
        sae.train(module, data(), config=CONFIG, progress=None, checkpoint=path)
    with pytest.raises(SAEError, match=f"belongs to another run.*{words}"):
        sae.train(other(), data(), config=CONFIG, progress=None, checkpoint=path)
    sae.train(first(), data(), config=CONFIG, progress=None, checkpoint=path)


def test_a_checkpoint_of_other_rows_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    killed(path)
    other = torch.randn(500, 16, generator=torch.Generator().manual_seed(1)) * 5 + 3
    for rows in (-data(), data().flip(0), data().flip(1), other):
        with pytest.raises(SAEError, match="belongs to another run"):
            sae.train(make(), rows, config=CONFIG, progress=None, checkpoint=path)


def test_a_stopped_cell_resumes_with_the_same_module(tmp_path):
    path, module, uninterrupted = tmp_path / "run.pt", make("gated"), make("gated")
    interrupted(path, module, with_constant)
    sae.train(module, data(), with_constant, CONFIG, None, path)
    sae.train(uninterrupted, data(), with_constant, CONFIG, None)
    assert same(module, uninterrupted)


@pytest.mark.parametrize("kept", [0, 10, 2000])
def test_a_truncated_checkpoint_is_refused(tmp_path, kept):
    path = tmp_path / "run.pt"
    killed(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SAEError, match="is broken"):
        sae.train(make(), data(), config=CONFIG, progress=None, checkpoint=path)


def test_a_kill_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    checkpoints.write_checkpoint(path, {"about": {}, "step": 1})

    def half(state, target):
        Path(target).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write_checkpoint(path, {"about": {}, "step": 2})
    assert checkpoints.read_checkpoint(path, {})["step"] == 1


# Rows ------------------------------------------------------------------------------------------------


def test_rows_know_their_mean_norm_and_variance(monkeypatch):
    monkeypatch.setattr("helpers.sae.batches.CHUNK", 64)
    x = data()
    rows = Rows(x)
    assert torch.allclose(rows.mean, x.mean(0), atol=1e-5) and len(rows) == 500
    assert rows.mean_norm == pytest.approx(x.norm(dim=-1).mean().item(), rel=1e-6)
    assert rows.variance == pytest.approx((x - x.mean(0)).pow(2).sum(-1).mean().item(), rel=1e-5)


def test_rows_on_disk_train_like_rows_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", data().numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="r+"))
    in_memory, on_disk = make(), make()
    sae.train(in_memory, data(), config=CONFIG, progress=None)
    sae.train(on_disk, mapped, config=CONFIG, progress=None)
    assert same(in_memory, on_disk)


def test_a_shuffle_resumes_from_its_saved_state():
    rows = Rows(data(100))
    one, other = (Shuffled(rows, 30, torch.Generator().manual_seed(5)) for _ in range(2))
    for _ in range(4):
        one.next()
    other.load_state_dict(one.state_dict())
    assert all(torch.equal(one.next(), other.next()) for _ in range(7))
