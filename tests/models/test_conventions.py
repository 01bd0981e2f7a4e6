"""Every text starts with BOS, whatever the tokenizer has; a tokenizer that has no such token is refused."""

from __future__ import annotations

import shutil

import pytest
from transformers import PreTrainedTokenizerFast

from helpers import harvest, load_model
from helpers.models import ModelError
from tests import tiny

PROMPT = "the food was great ."


def folder_with(tiny_folder, tmp_path, bos: str | None, eos: str | None):
    """Copy the tiny model, with a tokenizer that puts nothing in front of a text and has only these tokens."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    words = tiny.tokenizer().backend_tokenizer
    words.post_processor = None
    names = {name: value for name, value in (("bos_token", bos), ("eos_token", eos)) if value}
    for file in folder.glob("*token*"):
        file.unlink()
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("bos", "eos", "first"),
    [("<bos>", "<eos>", "<bos>"), (None, "<eos>", "<eos>"), ("<bos>", None, "<bos>"), ("<eos>", "<eos>", "<eos>")],
)
def test_a_text_starts_with_bos_or_else_with_the_end_of_text(tiny_folder, tmp_path, bos, eos, first):
    model = load_model(folder_with(tiny_folder, tmp_path, bos, eos), device="cpu")
    assert [token.strip() for token in model.to_str_tokens(PROMPT)] == [first, *PROMPT.split()]
    rows = harvest(model, [PROMPT], "blocks.1.hook_resid_pre", progress=False)
    assert [model.tokenizer.decode([i]).strip() for i in rows.token_ids] == PROMPT.split()


def test_a_tokenizer_with_neither_is_refused(tiny_folder, tmp_path):
    with pytest.raises(ModelError, match=r"neither.*begin-of-text.*Set tokenizer.bos_token"):
        load_model(folder_with(tiny_folder, tmp_path, None, None), device="cpu")
