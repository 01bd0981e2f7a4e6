"""GPT-2 small without a download: its architecture with random weights, and its tokenizer from the list of merges.

It serves to test everything except the meaning of the output. As a command, this module writes the folder:

    python -m tests.gpt2 MERGES FOLDER && HOMEWORK_MODEL=FOLDER make run
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"


def tokenizer(merges: Path) -> PreTrainedTokenizerFast:
    """Return GPT-2's tokenizer: 256 bytes, one token per merge, and the end of text, which is also BOS."""
    lines = merges.read_text(encoding="utf-8").split("\n")
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    byte_symbols = sorted(pre_tokenizers.ByteLevel.alphabet())  # GPT-2's vocabulary begins with them, in this order
    ids = {symbol: i for i, symbol in enumerate([*byte_symbols, *map("".join, pairs), END])}
    words = Tokenizer(tokenizer_models.BPE(ids, pairs))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=END, eos_token=END, unk_token=END)


def random_gpt2(folder: Path, merges: Path) -> Path:
    """Write a folder with GPT-2 small's shape, random weights and GPT-2's tokenizer."""
    words = tokenizer(merges)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    print(random_gpt2(Path(sys.argv[2]), Path(sys.argv[1])))
