"""GPT-2's shape with random weights: both solutions run to the end, and what needs meaning says why it is skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.gpt2 import random_gpt2, tokenizer
from tests.test_notebooks import ROOT

MERGES = (ROOT / ".." / "shared" / "data" / "gpt2-merges.txt").resolve()
pytestmark = pytest.mark.skipif(not MERGES.is_file(), reason=f"{MERGES.name} isn't there")


def test_the_tokenizer_is_gpt2s():
    words = tokenizer(MERGES)
    assert words.encode("Hello world") == [15496, 995] and words.eos_token_id == 50256 and len(words) == 50257
    text = "Naïve café №5: don't — “ok”\n\tend"
    assert words.decode(words.encode(text)) == text


@pytest.mark.slow
def test_both_solutions_run_on_random_weights(tmp_path):
    folder = random_gpt2(tmp_path / "model", MERGES)
    surroundings = os.environ | {"HOMEWORK_MODEL": str(folder), "HOMEWORK_BUDGET": "quick"}
    command = [sys.executable, "-m", "grading.release.run", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    tasks = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["tasks"]
    for task in ("1.3", "2.3", "2.6", "2.7"):
        assert tasks[task]["passed"] is None, task
        assert "not judged: the model predicts English no better than chance" in tasks[task]["key"], task
    assert all(tasks[task]["passed"] for task in ("1.1", "1.2", "2.1", "2.2", "2.4"))
