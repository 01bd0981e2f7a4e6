"""Harvest with SAELens' activation store at GPT-2 small's size, random weights; runs in SAELens' environment."""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from datasets import Dataset
from sae_lens import ActivationsStore
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformers import PreTrainedTokenizerFast

task = json.loads(Path(sys.argv[1]).read_text())
tokenizer = PreTrainedTokenizerFast.from_pretrained(task["folder"])
torch.manual_seed(0)
model = HookedTransformer(
    HookedTransformerConfig(
        n_layers=12,
        d_model=768,
        n_heads=12,
        d_head=64,
        d_mlp=3072,
        n_ctx=1024,
        act_fn="gelu_new",
        normalization_type="LNPre",
        d_vocab=len(tokenizer),
    ),
    tokenizer=tokenizer,
    default_padding_side="right",
)


def harvest(lines: list[str]) -> int:
    """Harvest the lines once, packed into contexts by the store; return the number of activations without BOS."""
    store = ActivationsStore(
        model=model, dataset=Dataset.from_dict({"text": lines}), streaming=False, hook_name=task["hook"],
        hook_head_index=None, context_size=task["context"], d_in=768, n_batches_in_buffer=1, total_training_tokens=1,
        store_batch_size_prompts=task["batch_tokens"] // task["context"], train_batch_size_tokens=task["batch_tokens"],
        prepend_bos=True, normalize_activations="none", device="cpu", dtype="float32",
    )  # fmt: skip
    kept = []
    while True:
        try:
            values, tokens = store.get_raw_llm_batch(raise_on_epoch_end=True)
        except StopIteration:
            return sum(map(len, kept))
        kept.append(values[tokens != tokenizer.bos_token_id].clone())


harvest(task["lines"][: len(task["lines"]) // 4])  # warm-up, not timed
before, wall, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
units = harvest(task["lines"])
answer = {"units": units, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
answer["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
Path(sys.argv[2]).write_text(json.dumps(answer))
