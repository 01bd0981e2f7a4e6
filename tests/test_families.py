"""Both solutions run on other architectures and on a model of two layers. Outcomes there mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from helpers.models.smollm2 import smollm2_folder
from tests import families
from tests.test_notebooks import ROOT

GRADED = ("01_sentiment_steering", "02_sparse_autoencoder")
CODE_TASKS = ("1.1", "1.2", "2.1", "2.2", "2.4")


def run(model, out) -> dict:
    environment = os.environ | {"HOMEWORK_MODEL": str(model), "HOMEWORK_BUDGET": "quick"}
    command = [sys.executable, "-m", "grading.release.run", *GRADED, "--out", str(out)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-3000:]
    return json.loads((out / "run.json").read_text(encoding="utf-8"))["tasks"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3"])
def test_both_solutions_run_on_random_weights(family, tmp_path):
    words = AutoTokenizer.from_pretrained(smollm2_folder())
    tasks = run(families.random_model(tmp_path / "model", family, words=words), tmp_path)
    assert all(tasks[task]["passed"] for task in CODE_TASKS)
    for task in ("1.3", "2.3", "2.6", "2.7"):
        assert tasks[task]["passed"] is None and "no better than chance" in tasks[task]["key"], task


@pytest.mark.slow
def test_both_solutions_run_on_a_model_of_two_layers(tiny_folder, tmp_path):
    tasks = run(tiny_folder, tmp_path)
    assert all(tasks[task]["passed"] for task in CODE_TASKS)
