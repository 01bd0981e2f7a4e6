"""Have smollm2 write the corpus: ``python -m tools.corpus.write``.

There are two stages. `sample` writes documents to a JSON-lines file; it can be stopped and resumed because each
batch has its own seed. `keep` packs the readable documents into ``written.jsonl.gz``, the corpus that the notebooks
read. It drops reviews if the judge disagrees with their tone.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from tqdm.auto import tqdm

from helpers.data.texts import WRITTEN
from tools.corpus.prompts import request
from tools.corpus.readable import whole_sentences, why_unreadable

BATCH = 64
SYSTEM = "You are a writer. You answer with the text alone."
SAMPLING = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "repetition_penalty": 1.1, "max_new_tokens": 240}


def sample(raw: Path, documents: int, seed: int) -> None:
    """Append documents to ``raw`` until it holds ``documents`` of them, rounded up to whole batches."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from helpers.models.smollm2 import smollm2_folder

    raw.parent.mkdir(parents=True, exist_ok=True)
    done = _whole_batches(raw)
    folder = smollm2_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model = model.to(device).eval()
    with raw.open("a", encoding="utf-8") as file, tqdm(total=documents, initial=done, unit="doc") as bar:
        for start in range(done, documents, BATCH):
            records = _write_batch(model, tokenizer, seed, start)
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            file.flush()
            bar.update(len(records))


def _whole_batches(raw: Path) -> int:
    """Remove an incomplete batch from ``raw``, to be sampled again, and return the number of documents left."""
    if not raw.exists():
        return 0
    lines = raw.read_text(encoding="utf-8").split("\n")[:-1]  # drop an unfinished last line
    kept = len(lines) // BATCH * BATCH
    raw.write_text("".join(line + "\n" for line in lines[:kept]), encoding="utf-8")
    return kept


@torch.inference_mode()
def _write_batch(model, tokenizer, seed: int, start: int) -> list[dict]:
    requests = [request(seed, start + offset) for offset in range(BATCH)]
    inputs = tokenizer(
        [_chat(tokenizer, r) for r in requests], return_tensors="pt", padding=True, add_special_tokens=False
    ).to(model.device)
    torch.manual_seed(seed * 1_000_003 + start)
    written = model.generate(**inputs, **SAMPLING, pad_token_id=tokenizer.eos_token_id)
    texts = tokenizer.batch_decode(written[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return [
        {"genre": r.genre, "topic": r.topic, "tone": r.tone, "text": r.opening + text}
        for r, text in zip(requests, texts, strict=True)
    ]


def _chat(tokenizer, r) -> str:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": r.ask}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + r.opening


def keep(raw: Path, packed: Path) -> Counter:
    """Pack the readable documents of ``raw`` into ``packed``; return counts of kept ones and of each reason to drop."""
    records = [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record["text"] = whole_sentences(record["text"])
    verdicts = [why_unreadable(record["text"]) for record in records]
    records = [record for record, why in zip(records, verdicts, strict=True) if why is None]
    confirmed = _tone_confirmed(records)
    kept = [record for record, right in zip(records, confirmed.tolist(), strict=True) if right]
    body = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
    # Leave file name and time out of the header, so that the same text gives the same bytes.
    packed.write_bytes(gzip.compress(body.encode(), compresslevel=9, mtime=0))
    return Counter(why or "readable" for why in verdicts) + Counter(kept=len(kept), wrong_tone=int((~confirmed).sum()))


def _tone_confirmed(records: list[dict]) -> Bool[Tensor, " n"]:
    """Return False for reviews whose tone differs from the request.

    The threshold is the median score, because equally many reviews of each tone were requested.
    """
    # Not the full judge: its probe is trained on this corpus.
    from helpers.sentiment.llm_judge import asked, judge_model

    confirmed = torch.ones(len(records), dtype=torch.bool)
    reviews = [i for i, record in enumerate(records) if record["tone"]]
    if reviews:
        scores = asked([records[i]["text"] for i in reviews], judge_model(), progress=True)
        wanted = torch.tensor([records[i]["tone"] == "positive" for i in reviews])
        confirmed[reviews] = (scores > scores.median()) == wanted
    return confirmed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--raw", type=Path, default=Path("build/written.raw.jsonl"), help="file with all samples (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=WRITTEN, help="the packed corpus (default: helpers/data/written.jsonl.gz)"
    )
    parser.add_argument(
        "--documents",
        type=int,
        default=1856,
        help="number of documents to sample, about a second each (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of requests and sampling (default: 0)")
    args = parser.parse_args()
    sample(args.raw, args.documents, args.seed)
    for what, count in keep(args.raw, args.out).most_common():
        print(f"{count:6} {what}")


if __name__ == "__main__":
    main()
