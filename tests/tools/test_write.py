"""The corpus that smollm2 wrote: requests, readability, resumed runs, packing, and the file in the repository."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest
import torch
import transformers

from helpers import data
from helpers.data import texts
from tools.corpus import readable, write
from tools.corpus.prompts import GENRES, Request, request

SENTENCES = (
    "The river rises in the hills to the north of the old town.",
    "It was first crossed by a wooden bridge in the year 1832.",
    "Many people came from the coast to look at it, and some of them stayed.",
    "They built a mill, a school and two small churches on its banks.",
    "In winter the water freezes, so children can walk over to the other side.",
)
GOOD = " ".join(SENTENCES)


# Readability ----------------------------------------------------------------------------------------


def test_plain_english_is_readable():
    assert readable.why_unreadable(GOOD) is None
    assert readable.why_unreadable(GOOD.replace("people", "café-owners").replace("It", "“It”")) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SENTENCES[0], "short"),
        ("", "short"),
        ("1 2 3 " * 100, "short"),
        (GOOD + " As an AI language model, I can't say more.", "assistant"),
        (GOOD + " I'm sorry, but I have to stop.", "assistant"),
        (GOOD + " My name is SmolLM.", "assistant"),
        (GOOD + " Yours, [Your Name]", "placeholder"),
        (GOOD + " See https://example.org for more.", "placeholder"),
        (GOOD + " <br> and more", "placeholder"),
        (GOOD + (" " + SENTENCES[0]) * 4, "loop"),
        (" ".join(["very"] * 15) + " " + GOOD, "loop"),
        (" ".join(f"El río número {i} nace en las montañas y corre hacia el mar." for i in range(9)), "loop"),
        ("Der Fluss entspringt im Norden der Stadt, wo Kinder gern spielen, bevor Regen kommt und Wasser steigt. "
         "Brücken verbinden beide Ufer, seit Bürger Steine sammelten. Danach zogen viele Leute fort, manche blieben, "
         "andere kehrten heim, bauten Mühlen sowie Schulen, pflanzten Bäume.", "language"),
        (GOOD + " река течёт", "language"),
    ],
)  # fmt: skip
def test_unreadable_text_is_reported_with_its_reason(text, why):
    assert readable.why_unreadable(text) == why


def test_repeated_is_the_share_of_repeated_ngrams():
    assert readable.repeated("a b c d".split()) == 0
    assert readable.repeated("a b c d a b c d".split()) == pytest.approx(1 / 5)
    assert readable.repeated(["a"] * 13) == pytest.approx(0.9)
    assert readable.repeated([]) == readable.repeated(["a"]) <= 1


def test_whole_sentences_drops_an_unfinished_one():
    assert readable.whole_sentences('One.  Two!\n\n \n "Three?" and then') == 'One. Two!\n"Three?"'
    assert readable.whole_sentences("It cost 3.50 and") == ""
    assert readable.whole_sentences("") == ""


# Requests -------------------------------------------------------------------------------------------


def test_requests_are_reproducible():
    assert [request(0, i) for i in range(300)] == [request(0, i) for i in range(300)]
    assert request(0, 5) != request(0, 6) and request(0, 5) != request(1, 5)
    # If requests change, `python -m tools.corpus.write` no longer makes the corpus in the repository.
    assert request(0, 0) == Request(
        genre="news", topic="a snowstorm", tone=None,
        ask="Write a newspaper report about a snowstorm in Stockholm in October 1932. Quote two people.",
        opening='On Saturday morning, Frank, three years in office, said: "',
    )  # fmt: skip


def test_requests_have_no_empty_slots_and_vary():
    made = [request(0, i) for i in range(1500)]
    assert {r.genre for r in made} == {genre.name for genre in GENRES}
    assert not any(c in r.ask + r.opening for r in made for c in "{}")
    assert len({(r.ask, r.opening) for r in made}) > 1350
    tones = Counter(r.tone for r in made if "review" in r.genre)
    assert set(tones) == {"positive", "negative"} and abs(tones["positive"] - tones["negative"]) < 100
    assert {r.tone for r in made if "review" not in r.genre} == {None}


# Sampling, stopped and resumed ----------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch):
    """Replace the model: each document names its seed and index. Return the starts of the batches written."""
    starts = []

    def batch(model, tokenizer, seed, start):
        starts.append(start)
        return [{"genre": "g", "topic": "t", "tone": None, "text": f"{seed}:{start + i} é"} for i in range(write.BATCH)]

    class Nothing:
        @classmethod
        def from_pretrained(cls, *_, **__):
            return cls()

        def to(self, _):
            return self

        def eval(self):
            return self

    monkeypatch.setattr(write, "_write_batch", batch)
    monkeypatch.setattr("helpers.models.smollm2.smollm2_folder", lambda: "nowhere")
    for name in ("AutoModelForCausalLM", "AutoTokenizer"):
        monkeypatch.setattr(transformers, name, Nothing)
    return starts


def test_a_stopped_run_resumes(fake, tmp_path):
    whole, raw = tmp_path / "whole.jsonl", tmp_path / "deep" / "raw.jsonl"
    write.sample(whole, 150, seed=3)
    assert len(whole.read_text().splitlines()) == 192 and fake == [0, 64, 128]  # whole batches
    raw.parent.mkdir()
    for cut in (0, 10, 64, 100, 191):
        lines = whole.read_bytes().splitlines(keepends=True)
        raw.write_bytes(b"".join(lines[:cut]) + b'{"half": "a li')
        fake.clear()
        write.sample(raw, 150, seed=3)
        assert raw.read_bytes() == whole.read_bytes() and fake == [0, 64, 128][cut // 64 :]


def test_a_finished_run_does_nothing(fake, tmp_path):
    write.sample(tmp_path / "raw.jsonl", 64, seed=0)
    fake.clear()
    write.sample(tmp_path / "raw.jsonl", 64, seed=0)
    assert fake == [] and len((tmp_path / "raw.jsonl").read_text().splitlines()) == 64


# Packing --------------------------------------------------------------------------------------------


def record(text, tone=None):
    return {"genre": "film review" if tone else "story", "topic": "é", "tone": tone, "text": text}


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Write two good documents, two bad ones, and six reviews; the judge disagrees with the tone of two."""
    monkeypatch.setattr("helpers.sentiment.llm_judge.judge_model", lambda: None)
    monkeypatch.setattr(
        "helpers.sentiment.llm_judge.asked",
        lambda texts, model, progress=False: torch.tensor([5.0 - text.count("bad") for text in texts]),
    )
    records = [
        record(GOOD), record(SENTENCES[0]), record(GOOD + " More, cut in the mid"), record(GOOD + " As an AI, no."),
        record(GOOD + " Fine.", "positive"), record(GOOD + " It is fine.", "positive"),
        record(GOOD + " So bad, bad.", "negative"), record(GOOD + " Not so bad, bad, bad.", "positive"),
        record(GOOD + " A bad, bad, bad, bad one.", "negative"), record(GOOD + " A fine one.", "negative"),
    ]  # fmt: skip
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def test_keep_drops_unreadable_documents_and_wrong_tones(raw, tmp_path):
    packed = tmp_path / "packed.jsonl.gz"
    counts = write.keep(raw, packed)
    kept = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).decode().splitlines()]
    assert [(r["tone"], r["text"].removeprefix(GOOD).strip()) for r in kept] == [
        (None, ""), (None, ""), ("positive", "Fine."), ("positive", "It is fine."), ("negative", "So bad, bad."),
        ("negative", "A bad, bad, bad, bad one."),
    ]  # fmt: skip
    assert counts == {"readable": 8, "short": 1, "assistant": 1, "kept": 6, "wrong_tone": 2}


def test_the_same_text_packs_to_the_same_bytes(raw, tmp_path, monkeypatch):
    write.keep(raw, tmp_path / "one.gz")
    monkeypatch.setattr("time.time", lambda: 12345.0)
    write.keep(raw, tmp_path / "other.gz")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "other.gz").read_bytes()


# The corpus in the repository -----------------------------------------------------------------------

there = pytest.mark.skipif(not texts.WRITTEN.exists(), reason="written.jsonl.gz is missing")


@there
def test_the_corpus_is_readable_and_complete():
    found = data.documents()
    assert all(set(d) == {"genre", "topic", "tone", "text"} for d in found)
    assert len({d["text"] for d in found}) == len(found) > 1000
    assert len({d["genre"] for d in found}) >= 8
    assert {d["tone"] for d in found if "review" in d["genre"]} == {"positive", "negative"}
    assert {d["tone"] for d in found if "review" not in d["genre"]} == {None}
    assert Counter(readable.why_unreadable(d["text"]) for d in found) == {None: len(found)}
    assert texts.WRITTEN.stat().st_size < 1_000_000
    assert found[0]["text"].startswith(request(0, 0).opening)


@there
def test_the_corpus_lines_are_its_documents_lines():
    found = data.lines("written")
    assert all(line.strip() for line in found) and found == data.lines()
    assert found[:3] == data.lines("written", 3)
    assert sum(map(len, found)) == sum(len(line) for d in data.documents() for line in d["text"].split("\n"))


@there
def test_the_corpus_has_300_000_tokens(smollm2):
    ids = smollm2.tokenizer([d["text"] for d in data.documents()], add_special_tokens=False)["input_ids"]
    assert sum(map(len, ids)) >= 300_000
