"""Activations on disk equal those in memory, after any number of processes and kills."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock

from helpers import harvest, sae
from helpers.caching import shards
from helpers.caching.__main__ import main
from helpers.caching.activations import HarvestError
from helpers.caching.shards import harvest_to, open_shards
from tests import tiny

ROOT = Path(__file__).parents[2]
NAMES = ["blocks.1.hook_resid_pre", "blocks.0.hook_resid_pre"]
LINES = tiny.documents(60, seed=3)
SMALL = {"context": 30, "too_long": "split", "lines_per_shard": 8, "progress": False}


@pytest.fixture
def stored(tiny_model, tmp_path):
    return open_shards(harvest_to(tmp_path / "acts", tiny_model, LINES, NAMES, **SMALL))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_stored_activations_equal_those_in_memory(tiny_model, stored):
    expected = harvest(tiny_model, LINES, NAMES, context=30, too_long="split", progress=False)
    for name in NAMES:
        found = stored.activations(name)
        assert torch.allclose(found.values[:], expected[name].values, atol=1e-4)
        for column in ("text_ids", "positions", "token_ids", "is_sink"):
            assert torch.equal(getattr(found, column), getattr(expected[name], column)), column
    assert stored.activations().hook_name == NAMES[0] and found.text_ids.max() == len(LINES) - 1


def test_indices_slices_and_masks_select_the_right_rows(stored):
    values = stored.activations().values
    whole = values[:]
    rows = torch.randperm(len(values))[:50]
    assert (
        torch.equal(values[rows], whole[rows])
        and torch.equal(values[3:40:7], whole[3:40:7])
        and torch.equal(values[5], whole[5])
    )
    some = torch.arange(len(values)) % 3 == 0
    view = values[some]
    assert type(view) is type(values) and torch.equal(view[:], whole[some]) and view.shape == (int(some.sum()), 64)
    assert torch.equal(view[view[:][:, 0] > 0][:], whole[some][whole[some][:, 0] > 0])


def test_training_from_disk_gives_the_metrics_of_training_from_memory(stored):
    on_disk = stored.activations()
    in_memory = type(on_disk)(
        on_disk.values[:], on_disk.text_ids, on_disk.positions, on_disk.token_ids, on_disk.is_sink
    )
    figures = []
    for acts in (on_disk, in_memory):
        train, test = acts.split(0.2)
        torch.manual_seed(0)
        module = sae.TopK(64, 128, k=8)
        sae.train(module, train, config=sae.TrainConfig(steps=20, batch_size=64), progress=False)
        figures.append(sae.evaluate(module, test).figures())
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_the_values(tiny_model, tmp_path, stored, dtype):
    half = open_shards(harvest_to(tmp_path / dtype, tiny_model, LINES, NAMES, dtype=dtype, **SMALL))
    values = half.activations().values
    assert str(values.dtype) == f"torch.{dtype}"
    assert torch.allclose(values[:].float(), stored.activations().values[:], rtol=1e-2, atol=1e-2)


def test_batches_give_each_row_once_in_an_order_set_by_the_seed(stored):
    acts = stored.activations()
    key = acts.values[:].sum(-1)
    passes = [
        torch.cat([batch.sum(-1) for batch in stored.batches(size=32, seed=seed, at_once=2)]) for seed in (0, 0, 1)
    ]
    assert torch.equal(passes[0], passes[1]) and not torch.equal(passes[0], passes[2])
    assert torch.allclose(passes[0].sort().values, key[~acts.is_sink].sort().values)
    assert not torch.allclose(passes[0], key[~acts.is_sink])


def test_cut_split_and_blank_lines_are_counted(tiny_model, tmp_path):
    lines = ["the food", "", " ", "<eos> <eos>", LINES[0]]
    found = open_shards(
        harvest_to(tmp_path / "a", tiny_model, lines, NAMES[0], context=10, too_long="cut", progress=False)
    )
    assert found.counts() == {"cut": 1, "blank": 3}
    acts = found.activations()
    assert acts.text_ids.unique().tolist() == [0, 4] and acts.positions.max() == 9
    split = open_shards(
        harvest_to(tmp_path / "b", tiny_model, lines, NAMES[0], context=10, too_long="split", progress=False)
    ).activations()
    words = tiny_model.to_tokens(LINES[0])[0, 1:]
    assert torch.equal(split.token_ids[split.text_ids == 4], words) and split.positions.max() == 9


def test_a_generator_and_dicts_give_the_same_shards(tiny_model, tmp_path, stored):
    for name, texts in (
        ("generator", (line for line in LINES)),
        ("dicts", iter({"id": 1, "text": line} for line in LINES)),
    ):
        harvest_to(tmp_path / name, tiny_model, texts, NAMES, **SMALL)
        assert contents(tmp_path / name) == contents(stored.folder)


def test_a_streaming_dataset_gives_the_same_shards(tiny_model, tmp_path, stored):
    import datasets

    source = tmp_path / "lines.jsonl"
    source.write_text("\n".join(json.dumps({"text": line}) for line in LINES))
    stream = datasets.load_dataset(
        "json", data_files=str(source), split="train", streaming=True, cache_dir=str(tmp_path / "cache")
    )
    harvest_to(tmp_path / "stream", tiny_model, stream, NAMES, **SMALL)
    assert contents(tmp_path / "stream") == contents(stored.folder)


@pytest.mark.parametrize(
    ("texts", "more", "word"),
    [
        ([{"words": "x"}], {}, "no column 'text': choose one of 'words'"),
        ([], {}, "no line"),
        ("one string", {}, "one string"),
        ([3], {}, "must be text"),
        (["the \ud800 food"], {}, "isn't valid text"),
        (["the"], {"dtype": "int8"}, "dtype="),
        (["the"], {"part": (3, 3)}, "part="),
        ([""], {"blank": "error"}, "blank"),
        ([LINES[0]], {"too_long": "error", "context": 5}, "more than the context"),
    ],
)
def test_bad_input_is_refused(tiny_model, tmp_path, texts, more, word):
    with pytest.raises(HarvestError, match=word):
        harvest_to(tmp_path / "acts", tiny_model, texts, NAMES[0], **{"progress": False, **more})


def test_a_folder_of_another_model_text_or_setting_is_refused(tiny_model, gpt2, stored):
    with pytest.raises(HarvestError, match="another model"):
        harvest_to(stored.folder, gpt2, LINES, NAMES, **SMALL)
    with pytest.raises(HarvestError, match=r"other settings .too_long"):
        harvest_to(stored.folder, tiny_model, LINES, NAMES, **{**SMALL, "too_long": "cut"})
    with pytest.raises(HarvestError, match="text has changed since shard-00002"):
        harvest_to(stored.folder, tiny_model, [*LINES[:20], "the food", *LINES[21:]], NAMES, **SMALL)
    with pytest.raises(HarvestError, match="wasn't harvested here"):
        stored.activations("blocks.0.hook_resid_post")


def test_an_unfinished_folder_cannot_be_opened(tiny_model, tmp_path, stored):
    with pytest.raises(HarvestError, match="no finished harvest"):
        open_shards(tmp_path / "nothing")
    harvest_to(tmp_path / "part", tiny_model, LINES, NAMES, part=(0, 2), **SMALL)
    with pytest.raises(HarvestError, match=r"4 of 8 shards .* missing, shard-00001"):
        open_shards(tmp_path / "part")
    harvest_to(tmp_path / "part", tiny_model, LINES, NAMES, part=(1, 2), **SMALL)
    assert contents(tmp_path / "part") == contents(stored.folder)


def test_harvesting_resumes_after_a_full_disk(tiny_model, tmp_path, stored, monkeypatch):
    written, real = [], os.replace

    def replace(source, target):
        written.append(target)
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(HarvestError, match=r"can't be written .*MB were needed.*resumes from there"):
        harvest_to(tmp_path / "other", tiny_model, LINES, NAMES, **SMALL)
    assert not list((tmp_path / "other").glob("*.tmp"))
    harvest_to(tmp_path / "other", tiny_model, LINES, NAMES, **SMALL)
    assert {name: raw for name, raw in contents(tmp_path / "other").items() if not name.endswith(".lock")} == contents(
        stored.folder
    )


def test_a_shard_locked_by_another_process_comes_last(tiny_model, tmp_path, stored, monkeypatch):
    folder = tmp_path / "other"
    folder.mkdir()
    order, real = [], shards._shard_bytes
    lock = FileLock(folder / ".shard-00001.safetensors.lock")
    lock.acquire()

    def shard_bytes(number, *rest):
        order.append(number)
        if number == 7:
            lock.release()
        return real(number, *rest)

    monkeypatch.setattr(shards, "_shard_bytes", shard_bytes)
    harvest_to(folder, tiny_model, LINES, NAMES, **SMALL)
    assert order == [0, 2, 3, 4, 5, 6, 7, 1] and contents(folder) == contents(stored.folder)


# Imports once and forks for each harvest, since a start takes seconds. One thread makes forks safe and fixes the order
# of sums.
SCRIPT = """
import os, sys, threading
import torch
from tqdm.auto import tqdm
torch.set_num_threads(1)
from helpers import load_model
from helpers.caching import shards
from tests import tiny
from tests.caching.test_shards import NAMES, SMALL
model, lines = load_model(sys.argv[1], device="cpu"), tiny.documents(400, seed=3)
print("ready", flush=True)
for request in sys.stdin:
    folder, number, of = request.split()
    child = os.fork()
    if not child:
        tqdm.set_lock(threading.RLock())  # the inherited lock may be held by a process that was killed
        shards.harvest_to(folder, model, lines, NAMES, part=(int(number), int(of)), **SMALL)
        os._exit(0)
    print(child, flush=True)
"""


@pytest.fixture
def start(tiny_folder):
    """Return ``start(folder, i, n)``, which starts a process that harvests a part into a folder."""
    command = [sys.executable, "-c", SCRIPT, str(tiny_folder)]
    forks = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert forks.stdout.readline() == "ready\n"

    def run(folder: Path, number: int = 0, of: int = 1) -> psutil.Process:
        print(folder, number, of, file=forks.stdin, flush=True)
        return psutil.Process(int(forks.stdout.readline()))

    yield run
    forks.kill()
    forks.wait()


def wait(process: psutil.Process) -> None:
    """Wait until a process has ended. Its parent never reaps it, so it stays a zombie."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)


def test_ten_kills_or_four_processes_give_the_same_bytes(start, tmp_path):
    whole, four, killed = tmp_path / "whole", tmp_path / "four", tmp_path / "killed"
    began = time.monotonic()
    wait(start(whole))
    takes = time.monotonic() - began
    processes = [start(four, number, 4) for number in range(4)]
    for process in processes:
        wait(process)
    assert len(contents(whole)) == 52 and contents(four) == contents(whole)
    draw, interrupted = random.Random(7), 0
    for _ in range(10):
        process = start(killed)
        time.sleep(draw.uniform(0, takes / 8))
        interrupted += process.status() != psutil.STATUS_ZOMBIE
        process.kill()
        wait(process)
    assert interrupted >= 5
    wait(start(killed))
    assert contents(killed) == contents(whole)


def test_the_command_harvests_parts_and_reports_errors(tiny_folder, tmp_path, capsys):
    text = tmp_path / "lines.txt"
    text.write_text("\n".join(LINES))
    arguments = [
        str(tmp_path / "acts"),
        "--hook",
        NAMES[0],
        "--model",
        str(tiny_folder),
        "--text",
        str(text),
        "--lines-per-shard",
        "20",
    ]
    assert main([*arguments, "--shard", "0/2"]) == 0 and main([*arguments, "--shard", "1/2"]) == 0
    assert len(open_shards(tmp_path / "acts").shards) == 3
    assert main([*arguments, "--hook", "blocks.9.hook_resid_pre"]) == 1
    assert "no hook point" in capsys.readouterr().err
