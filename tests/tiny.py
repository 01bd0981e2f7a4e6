"""The tests' tiny model: two layers and a language of 60 words, in which a document keeps its mood.

All opinion words of a document have one sign. So the model has to remember the sign, and steering can change it. The
model trains in about ten seconds and is kept between runs; see :func:`tiny_folder`.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

GOOD = "great good excellent wonderful amazing lovely delightful fantastic".split()
BAD = "awful bad terrible horrible disgusting dreadful nasty miserable".split()
VERBS = {1: ("love", "enjoy"), -1: ("hate", "despise")}
THINGS = "food service film room staff music view coffee book hotel city weather soup garden".split()
DAYS = "monday tuesday friday sunday".split()
OTHER = "the my was is and . on we went to it think i that goodbye with a walk saw".split()
WORDS = [*GOOD, *BAD, *VERBS[1], *VERBS[-1], *THINGS, *DAYS, *OTHER]
SPECIAL = ("<bos>", "<eos>", "<pad>", "<unk>")
LENGTH, ROWS, STEPS = 40, 32, 400
CONTEXT = 96

POSITIVE = ("the food was great .", "i love it .", "my room is wonderful .", "the staff was excellent and good .")
NEGATIVE = ("the food was awful .", "i hate it .", "my room is horrible .", "the staff was terrible and bad .")
PROMPTS = (
    "the food was", "my room is", "the service was", "i think that the film was", "the music is", "my book was",
    "on monday we went to the city . the weather was", "the hotel was", "the soup was", "my garden is",
)  # fmt: skip


def sentence(draw: random.Random, sign: int) -> str:
    """Return a sentence of a document with mood ``sign``; one in five is neutral."""
    opinions, thing = GOOD if sign > 0 else BAD, draw.choice(THINGS)
    opinion, other = draw.sample(opinions, 2)
    return draw.choices(
        (
            f"the {thing} was {opinion} .",
            f"my {thing} is {opinion} .",
            f"i think that the {thing} was {opinion} and {other} .",
            f"we {draw.choice(VERBS[sign])} the {thing} .",
            f"i {draw.choice(VERBS[sign])} it .",
            f"on {draw.choice(DAYS)} we went to the {thing} .",
            f"we saw a {thing} with a walk .",
        ),
        weights=(4, 4, 2, 1, 1, 2, 1),
    )[0]


def document(draw: random.Random) -> str:
    """Return a document with one mood, which ends with a goodbye."""
    sign = draw.choice((1, -1))
    sentences = [sentence(draw, sign) for _ in range(draw.randint(3, 9))]
    return " ".join([*sentences, "goodbye ."])


def documents(n: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [document(draw) for _ in range(n)]


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per word, space included, so that texts can be joined; BOS comes first."""
    ids = {token: i for i, token in enumerate([*SPECIAL, *("Ġ" + word for word in WORDS)])}
    words = Tokenizer(tokenizer_models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words.decoder = decoders.ByteLevel()
    words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    names = dict(zip(("bos_token", "eos_token", "pad_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=words, **names)


def train(folder: Path) -> None:
    """Train the tiny model and save it, tokenizer included, into ``folder``."""
    words = tokenizer()
    sizes = {"n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Start with weights of 0.1: with GPT-2's 0.02, learning the mood takes more than 400 steps.
        config = GPT2Config(
            vocab_size=len(words), **sizes, initializer_range=0.1, bos_token_id=0, eos_token_id=1,
            attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0,
        )  # fmt: skip
        model = GPT2LMHeadModel(config)
        _fit(model, _rows(words))
        _lengthen(model, CONTEXT)
    model.eval().save_pretrained(folder)
    words.save_pretrained(folder)


def _rows(words) -> torch.Tensor:
    """Return documents as rows of 40 tokens: cut, or ended with EOS and padded."""
    rows = [[*words.encode(text), 1][:LENGTH] for text in documents(ROWS * STEPS)]
    return torch.tensor([row + [2] * (LENGTH - len(row)) for row in rows])


def _fit(model, rows: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS, pct_start=0.1)
    for batch in rows.split(ROWS):
        logits = model(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), ignore_index=2)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _lengthen(model, context: int) -> None:
    """Make room for longer texts than in training; the added positions aren't trained."""
    old = model.transformer.wpe.weight.data
    model.transformer.wpe = torch.nn.Embedding.from_pretrained(torch.cat([old, old])[:context], freeze=False)
    model.config.n_positions = context


def tiny_folder(cache: Path) -> Path:
    """Return the trained model's folder; train first if this file or torch has changed since the last time.

    The folder appears complete or not at all, so two runs at once never see half of it.
    """
    key = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    folder = cache / f"tiny-{key}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=cache))
        train(temporary)
        try:
            os.replace(temporary, folder)
        except OSError:  # another run was faster
            shutil.rmtree(temporary)
    return folder


def random_llama(folder: Path) -> Path:
    """Write a small model with smollm2's architecture and random weights: 4 heads on 2 key-value heads."""
    config = LlamaConfig(
        **_small(), hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=False,
    )  # fmt: skip
    return _random(LlamaForCausalLM, config, 3, folder)


def random_gpt2(folder: Path) -> Path:
    """Write a small model with GPT-2's architecture and random weights: learned positions, LayerNorm, biases."""
    return _random(
        GPT2LMHeadModel, GPT2Config(**_small(), n_embd=32, n_layer=3, n_head=4, n_positions=CONTEXT), 4, folder
    )


def _small() -> dict:
    """Return the settings that both random models share."""
    return {
        "vocab_size": len(tokenizer()),
        "initializer_range": 0.4,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }


def _random(architecture, config, seed: int, folder: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        architecture(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
