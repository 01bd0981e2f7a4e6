"""GPT-2 and WikiText over a hub on loopback, from an empty cache, and every way in which the hub can fail.

``HF_ENDPOINT`` and ``HF_HOME`` are read when the hub's client is imported, so each try is a process of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from helpers import hub
from tests import tiny
from tests.hubserver import Hub

ROOT = Path(__file__).parent.parent
LINES = ["", " = Heading = \n", " One line .\n", "", " Another one .\n"]
WITHIN = 30.0  # seconds, from the call to the word

LIGHT = """
import importlib.util, json, sys, time
spec = importlib.util.spec_from_file_location("hub", "helpers/hub.py")
hub = sys.modules["hub"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hub)
for name, (kind, files) in json.loads(sys.argv[1]).items():
    setattr(hub, name, hub.Repo(getattr(hub, name).name, kind, getattr(hub, name).revision, tuple(map(tuple, files))))
hub.STALL_SECONDS = 4.0
started, found = time.monotonic(), {}
try:
    found["files"] = len(hub.fetch(hub.GPT2)) + len(hub.fetch(hub.WIKITEXT))
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
found["seconds"] = time.monotonic() - started
print("FOUND" + json.dumps(found))
"""
PINNED = """
import json, sys, time
from helpers import hub
for name, (kind, files) in json.loads(sys.argv[1]).items():
    setattr(hub, name, hub.Repo(getattr(hub, name).name, kind, getattr(hub, name).revision, tuple(map(tuple, files))))
"""
WHOLE = (
    PINNED
    + """
from helpers import data, load_model
started, found = time.monotonic(), {}
try:
    model = load_model("gpt2", device="cpu")
    found["layers"] = model.cfg.n_layers
    found["text"] = model.tokenizer.decode(model.to_tokens("the food was great .")[0, 1:])
    found["lines"] = data.lines("wikitext", split="validation")
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
found["seconds"] = time.monotonic() - started
print("FOUND" + json.dumps(found))
"""
)
NOTEBOOKS = (
    PINNED
    + """
from pathlib import Path
from grading.release.masters import find_masters, read_master
found = {}
for path, last in zip(find_masters(Path("solutions")), ("model", "lines"), strict=True):
    scope = {"__name__": "__main__"}
    for cell in read_master(path).cells:  # the notebook's own, down to the one that loads
        if cell.cell_type == "code" and last not in scope:
            exec(cell.source, scope)
    found[path.stem] = [scope["setting"].model, scope["model"].cfg.n_layers, scope.get("lines")]
print("FOUND" + json.dumps(found))
"""
)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A made-up gpt2 and a made-up WikiText, as the hub would name them."""
    folder = tiny.random_gpt2(tmp_path_factory.mktemp("gpt2"))
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": LINES}), table)
    text = {f"datasets/{hub.WIKITEXT.name}/{name}": table.getvalue() for name, _ in hub.WIKITEXT.files}
    return {f"{hub.GPT2.name}/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())} | text


@pytest.fixture
def load(files, tmp_path):
    """``load(address)``: what fetching came to, in a process with a cache of its own; other code than ``LIGHT`` loads, too."""
    pins = {
        "GPT2": (
            "model",
            [(name.split("/")[-1], sha(raw)) for name, raw in files.items() if name.startswith(hub.GPT2.name)],
        ),
        "WIKITEXT": (
            "dataset",
            [(name, sha(files[f"datasets/{hub.WIKITEXT.name}/{name}"])) for name, _ in hub.WIKITEXT.files],
        ),
    }

    def run(address: str, command: tuple[str, ...] = (), code: str = LIGHT, **more: str) -> dict:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        settings = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "cache"),
            "XDG_CACHE_HOME": str(tmp_path / "xdg"),
            **more,
        }
        done = subprocess.run(
            [*command, sys.executable, "-c", code, json.dumps(pins)],
            env=kept | settings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=150,
        )
        line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND")), None)
        assert line, done.stderr[-2000:]
        return json.loads(line.removeprefix("FOUND"))

    return run


def sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def loaded(found: dict) -> bool:
    if "files" in found:
        return "error" not in found
    return found.get("layers") == 3 and found.get("lines") == [line for line in LINES if line.strip()]


def serve(files, fault: str = "", revision: str = hub.GPT2.revision) -> Hub:
    return Hub(files, revision, fault)


def test_from_an_empty_cache_and_then_without_a_hub(files, load, capsys):
    server = serve(files)
    with server.serve() as address:
        first = load(address, code=WHOLE)
        assert loaded(first), first
        asked = len(server.asked)
        assert loaded(load(address, code=WHOLE)) and len(server.asked) == asked  # what is there is used without asking
    again = load("http://127.0.0.1:9", code=WHOLE)
    assert loaded(again) and again["seconds"] < 5, again
    with capsys.disabled():
        print(f"\n  warm and unreachable: {again['seconds']:.1f} s")


def test_both_notebooks_load_from_an_empty_cache(files, load):
    server = serve(files)
    with server.serve() as address:
        found = load(address, code=NOTEBOOKS, HOMEWORK_MODEL="gpt2", HOMEWORK_TEXT="wikitext", HOMEWORK_BUDGET="quick")
    assert found["01_sentiment_steering"] == ["gpt2", 3, None]
    assert found["02_sparse_autoencoder"] == ["gpt2", 3, [line for line in LINES if line.strip()]]


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("hang", "doesn't answer within"), ("503", "overloaded.*503"), ("429", "overloaded.*429"), ("404", "has no .*404"), ("401", "has no .*401"),
        ("cut", "can't be downloaded|stopped coming"), ("stall", "stopped coming"), ("corrupt", "damaged on the way"),
    ],
)  # fmt: skip
def test_a_fault_is_named_in_time_and_the_next_run_succeeds(files, load, fault, word, capsys):
    server = serve(files, fault)
    with server.serve() as address:
        found = load(address)
        with capsys.disabled():
            print(f"\n  {fault}: {found['seconds']:.1f} s: {found.get('error', 'no error')[:150]}")
        error = found["error"]
        assert found["seconds"] < WITHIN
        assert error.startswith("HubError") and re.search(word, error) and "\n" not in error
        server.fault = ""
        assert loaded(load(address))


@pytest.mark.parametrize(
    ("address", "word"),
    [("http://127.0.0.1:9", "can't be reached"), ("http://no-such-host.invalid", "can't be reached")],
)
def test_no_hub_at_all(load, address, word, capsys):
    found = load(address)
    with capsys.disabled():
        print(f"\n  {address}: {found['seconds']:.1f} s")
    assert word in found["error"] and "HOMEWORK_MODEL=smollm2" in found["error"] and found["seconds"] < WITHIN


def test_a_slow_first_byte_is_waited_for(files, load):
    server = serve(files, "slow")
    server.slow_seconds = 1.5
    with server.serve() as address:
        assert loaded(load(address))


def test_a_full_disk(files, load, tmp_path):
    limit = ("bash", "-c", 'ulimit -f 20; trap "" XFSZ; exec "$@"', "bash")  # no file above 20 kB: the write fails
    with serve(files).serve() as address:
        found = load(address, limit)
        assert "error" in found and found["seconds"] < WITHIN, found
        assert loaded(load(address))


def test_a_cache_that_cant_be_written_to(files, load, tmp_path):
    with serve(files).serve() as address:
        (tmp_path / "a file").write_text("x")
        found = load(address, HF_HOME=str(tmp_path / "a file" / "cache"))
        assert "error" in found and "HF_HOME" in found["error"], found
        assert loaded(load(address))


def test_offline_by_wish(load):
    found = load("http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in found["error"] and found["seconds"] < 5


def test_pins_are_whole():
    for repo in (hub.GPT2, hub.WIKITEXT):
        assert len(repo.revision) == 40 and all(len(digest) == 64 for _, digest in repo.files)
    assert not hub.is_cached(hub.Repo("no/such", "model", "0" * 40, (("config.json", "0" * 64),)))
