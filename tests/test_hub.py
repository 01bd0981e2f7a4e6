"""GPT-2 and WikiText from a hub on loopback: from an empty cache, and with every fault that a hub can have.

The hub's client reads ``HF_ENDPOINT`` and ``HF_HOME`` when it is imported, so each attempt runs in a new process.
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
WITHIN = 30.0  # seconds from the call to the error

LIGHT = """
import importlib.util, json, sys, time
spec = importlib.util.spec_from_file_location("hub", "helpers/hub.py")
hub = sys.modules["hub"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hub)
for name, (kind, files) in json.loads(sys.argv[1]).items():
    setattr(hub, name, hub.Repo(getattr(hub, name).name, kind, getattr(hub, name).revision, tuple(map(tuple, files))))
hub.STALL_SECONDS = 4.0
started, outcome = time.monotonic(), {}
try:
    outcome["files"] = len(hub.fetch(hub.GPT2)) + len(hub.fetch(hub.WIKITEXT))
except Exception as error:
    outcome["error"] = f"{type(error).__name__}: {error}"
outcome["seconds"] = time.monotonic() - started
print("OUTCOME" + json.dumps(outcome))
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
started, outcome = time.monotonic(), {}
try:
    model = load_model("gpt2", device="cpu")
    outcome["layers"] = model.cfg.n_layers
    outcome["text"] = model.tokenizer.decode(model.to_tokens("the food was great .")[0, 1:])
    outcome["lines"] = data.lines("wikitext", split="validation")
except Exception as error:
    outcome["error"] = f"{type(error).__name__}: {error}"
outcome["seconds"] = time.monotonic() - started
print("OUTCOME" + json.dumps(outcome))
"""
)
NOTEBOOKS = (
    PINNED
    + """
from pathlib import Path
from grading.release.masters import graded_masters, read_master
outcome = {}
for path, last in zip(graded_masters(Path("solutions")), ("model", "lines"), strict=True):
    scope = {"__name__": "__main__"}
    for cell in read_master(path).cells:  # the notebook's cells, up to the one that loads
        if cell.cell_type == "code" and last not in scope:
            exec(cell.source, scope)
    outcome[path.stem] = [scope["setting"].model, scope["model"].cfg.n_layers, scope.get("lines")]
print("OUTCOME" + json.dumps(outcome))
"""
)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """Return the files of a made-up gpt2 and WikiText, named as on the hub."""
    folder = tiny.random_gpt2(tmp_path_factory.mktemp("gpt2"))
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": LINES}), table)
    text = {f"datasets/{hub.WIKITEXT.name}/{name}": table.getvalue() for name, _ in hub.WIKITEXT.files}
    return {f"{hub.GPT2.name}/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())} | text


@pytest.fixture
def load(files, tmp_path):
    """Return ``load(address)``, which runs ``code`` in a new process with the test's own cache."""
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
        line = next((line for line in done.stdout.splitlines() if line.startswith("OUTCOME")), None)
        assert line, done.stderr[-2000:]
        return json.loads(line.removeprefix("OUTCOME"))

    return run


def sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def loaded(outcome: dict) -> bool:
    if "files" in outcome:
        return "error" not in outcome
    return outcome.get("layers") == 3 and outcome.get("lines") == [line for line in LINES if line.strip()]


def serve(files, fault: str = "", revision: str = hub.GPT2.revision) -> Hub:
    return Hub(files, revision, fault)


def test_loading_works_from_an_empty_cache_and_then_without_a_hub(files, load, capsys):
    server = serve(files)
    with server.serve() as address:
        first = load(address, code=WHOLE)
        assert loaded(first), first
        asked = len(server.asked)
        assert loaded(load(address, code=WHOLE)) and len(server.asked) == asked  # cached files are used without asking
    again = load("http://127.0.0.1:9", code=WHOLE)
    assert loaded(again) and again["seconds"] < 5, again
    with capsys.disabled():
        print(f"\n  warm and unreachable: {again['seconds']:.1f} s")


def test_both_notebooks_load_from_an_empty_cache(files, load):
    server = serve(files)
    with server.serve() as address:
        outcome = load(
            address, code=NOTEBOOKS, HOMEWORK_MODEL="gpt2", HOMEWORK_TEXT="wikitext", HOMEWORK_BUDGET="quick"
        )
    assert outcome["01_sentiment_steering"] == ["gpt2", 3, None]
    assert outcome["02_sparse_autoencoder"] == ["gpt2", 3, [line for line in LINES if line.strip()]]


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ("hang", "didn't answer within"), ("503", "overloaded.*503"), ("429", "overloaded.*429"),
        ("404", "has no .*404"), ("401", "has no .*401"),
        ("cut", "can't be downloaded|stalled"), ("stall", "stalled"), ("corrupt", "was damaged"),
    ],
)  # fmt: skip
def test_a_fault_is_named_in_time_and_the_next_run_succeeds(files, load, fault, pattern, capsys):
    server = serve(files, fault)
    with server.serve() as address:
        outcome = load(address)
        with capsys.disabled():
            print(f"\n  {fault}: {outcome['seconds']:.1f} s: {outcome.get('error', 'no error')[:150]}")
        error = outcome["error"]
        assert outcome["seconds"] < WITHIN
        assert error.startswith("HubError") and re.search(pattern, error) and "\n" not in error
        server.fault = ""
        assert loaded(load(address))


@pytest.mark.parametrize(
    ("address", "word"),
    [("http://127.0.0.1:9", "can't be reached"), ("http://no-such-host.invalid", "can't be reached")],
)
def test_an_unreachable_hub_is_explained(load, address, word, capsys):
    outcome = load(address)
    with capsys.disabled():
        print(f"\n  {address}: {outcome['seconds']:.1f} s")
    assert word in outcome["error"] and "HOMEWORK_MODEL=smollm2" in outcome["error"] and outcome["seconds"] < WITHIN


def test_a_slow_first_byte_is_waited_for(files, load):
    server = serve(files, "slow")
    server.slow_seconds = 1.5
    with server.serve() as address:
        assert loaded(load(address))


def test_a_full_disk_fails_in_time(files, load):
    limit = ("bash", "-c", 'ulimit -f 20; trap "" XFSZ; exec "$@"', "bash")  # no file above 20 kB: the write fails
    with serve(files).serve() as address:
        outcome = load(address, limit)
        assert "error" in outcome and outcome["seconds"] < WITHIN, outcome
        assert loaded(load(address))


def test_an_unwritable_cache_is_explained(files, load, tmp_path):
    with serve(files).serve() as address:
        (tmp_path / "a file").write_text("x")
        outcome = load(address, HF_HOME=str(tmp_path / "a file" / "cache"))
        assert "error" in outcome and "HF_HOME" in outcome["error"], outcome
        assert loaded(load(address))


def test_hf_hub_offline_is_explained(load):
    outcome = load("http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in outcome["error"] and outcome["seconds"] < 5


def test_pins_are_complete():
    for repo in (hub.GPT2, hub.WIKITEXT):
        assert len(repo.revision) == 40 and all(len(digest) == 64 for _, digest in repo.files)
    assert not hub.is_cached(hub.Repo("no/such", "model", "0" * 40, (("config.json", "0" * 64),)))
