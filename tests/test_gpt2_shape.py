"""Run both solutions on random weights of GPT-2's shape. Tasks that need a trained model must be left unjudged."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.gpt2 import random_gpt2, tokenizer
from tests.test_notebooks import ROOT

MERGES = (ROOT / ".." / "shared" / "data" / "gpt2-merges.txt").resolve()
pytestmark = pytest.mark.skipif(not MERGES.is_file(), reason=f"{MERGES.name} is missing")


def test_the_tokenizer_gives_gpt2s_ids():
    gpt2 = tokenizer(MERGES)
    assert gpt2.encode("Hello world") == [15496, 995] and gpt2.eos_token_id == 50256 and len(gpt2) == 50257
    text = "Naïve café №5: don't — “ok”\n\tend"
    assert gpt2.decode(gpt2.encode(text)) == text


@pytest.mark.slow
def test_both_solutions_run_on_random_weights(tmp_path):
    folder = random_gpt2(tmp_path / "model", MERGES)
    environment = os.environ | {"HOMEWORK_MODEL": str(folder), "HOMEWORK_BUDGET": "quick"}
    command = [sys.executable, "-m", "grading.release.run", "--out", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-3000:]
    tasks = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["tasks"]
    for task in ("1.3", "2.3", "2.6", "2.7"):
        assert tasks[task]["passed"] is None, task
        assert "not judged: the model predicts English no better than chance" in tasks[task]["key"], task
    assert all(tasks[task]["passed"] for task in ("1.1", "1.2", "2.1", "2.2", "2.4"))
