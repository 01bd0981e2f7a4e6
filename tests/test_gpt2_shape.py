"""GPT-2's shape with random weights: both solutions run to the end, and what needs meaning says why it is skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gpt2 import random_gpt2, tokenizer
from tests.test_notebooks import MASTERS, ROOT, quick, run_with_nbmake  # noqa: F401

MERGES = (ROOT / ".." / "shared" / "data" / "gpt2-merges.txt").resolve()
pytestmark = pytest.mark.skipif(not MERGES.is_file(), reason=f"{MERGES.name} isn't there")


def test_the_tokenizer_is_gpt2s():
    words = tokenizer(MERGES)
    assert words.encode("Hello world") == [15496, 995] and words.eos_token_id == 50256 and len(words) == 50257
    text = "Naïve café №5: don't — “ok”\n\tend"
    assert words.decode(words.encode(text)) == text


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return random_gpt2(tmp_path_factory.mktemp("gpt2"), MERGES)


@pytest.mark.slow
@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_solutions_run_on_random_weights(master, folder, quick, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HOMEWORK_MODEL", str(folder))
    book = ROOT / "build" / "test" / f"{master.stem}_on_random_gpt2.ipynb"
    run_with_nbmake(master, book)
    shown = json.loads(book.read_text(encoding="utf-8"))
    assert shown["cells"]
