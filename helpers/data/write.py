"""Have smollm2 write the corpus: ``python -m helpers.data.write``.

Two stages. `sample` has documents written into a plain JSON-lines file and can be stopped and started
again at will: every batch has a seed of its own. `keep` reads that file and packs what is readable
into ``written.jsonl.gz``, the corpus that the notebooks read.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import torch
from tqdm.auto import tqdm

from helpers.data.prompts import request

HERE = Path(__file__).parent
SYSTEM = "You are a writer. You answer with the text alone."
SAMPLING = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "repetition_penalty": 1.1, "max_new_tokens": 240}


def sample(raw: Path, documents: int, seed: int, batch_size: int = 64) -> None:
    """Append documents to ``raw`` until it has ``documents`` of them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from helpers.models import smollm2_folder

    raw.parent.mkdir(parents=True, exist_ok=True)
    done = _whole_lines(raw)
    folder = smollm2_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
    with raw.open("a", encoding="utf-8") as file, tqdm(total=documents, initial=done, unit="doc") as bar:
        for start in range(done, documents, batch_size):
            records = _write_batch(model, tokenizer, seed, start, min(batch_size, documents - start))
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            file.flush()
            bar.update(len(records))


def _whole_lines(raw: Path) -> int:
    """Documents already there; a line cut in two by a stop is taken off."""
    if not raw.exists():
        return 0
    text = raw.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        raw.write_bytes(whole)
    return whole.count(b"\n")


@torch.inference_mode()
def _write_batch(model, tokenizer, seed: int, start: int, size: int) -> list[dict]:
    requests = [request(seed, start + offset) for offset in range(size)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--raw", type=Path, default=Path("build/written.raw.jsonl"))
    parser.add_argument("--documents", type=int, default=2560)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sample(args.raw, args.documents, args.seed)


if __name__ == "__main__":
    main()
