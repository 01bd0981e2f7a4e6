"""Steering vectors on disk: both formats, compatibility with repeng and llama.cpp, and broken files."""

from __future__ import annotations

import json
import sys

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers.steering import storage
from helpers.steering.curves import SteeringError
from helpers.steering.storage import SteeringVectors

VALUES = torch.arange(24.0).reshape(4, 6) + 1
SAVED = SteeringVectors(VALUES, "smollm2")


def test_safetensors_round_trip(tmp_path):
    path = storage.save(SAVED, tmp_path / "new" / "mood.safetensors")
    found = storage.load(path)
    assert torch.equal(found.values, VALUES) and (found.model, found.hook) == (SAVED.model, SAVED.hook)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["hook"] == "blocks.{layer}.hook_resid_pre" and json.loads(metadata["layers"]) == [0, 1, 2, 3]
    assert json.loads(metadata["norms"]) == pytest.approx(VALUES.norm(dim=-1).tolist())
    assert [file.name for file in path.parent.iterdir()] == ["mood.safetensors"]  # no temporary file is left


def test_gguf_directions_belong_to_block_outputs(tmp_path):
    """direction.L is added to the output of block L, which is the residual stream before block L+1; L starts at 1."""
    path = storage.save(SAVED, tmp_path / "mood.gguf")
    reader = gguf.GGUFReader(path)
    assert {t.name: t.data.tolist() for t in reader.tensors} == {
        "direction.1": VALUES[2].tolist(),
        "direction.2": VALUES[3].tolist(),
    }
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "smollm2"
    assert reader.get_field("controlvector.layer_count").contents() == 2
    found = storage.load(path)
    assert torch.equal(found.values[2:], VALUES[2:]) and not found.values[:2].any() and found.model == "smollm2"


def test_repengs_files_load(tmp_path):
    """repeng writes blocks 1 to the last; no layer reads the last block's output."""
    writer = gguf.GGUFWriter(tmp_path / "repeng.gguf", "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", 3)
    for block in (3, 2, 1):
        writer.add_tensor(f"direction.{block}", np.full(6, block, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = storage.load(tmp_path / "repeng.gguf", n_layers=4)
    assert found.values[:, 0].tolist() == [0, 0, 1, 2] and found.model == "llama"
    assert storage.load(tmp_path / "repeng.gguf").values[:, 0].tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        (VALUES, "mood.pt", r"ends in \.safetensors or \.gguf"),
        (VALUES[0], "mood.safetensors", r"shape \[6\]"),
        (VALUES * torch.nan, "mood.safetensors", "finite values"),
        (VALUES[:2], "mood.gguf", r"three layers for \.gguf"),
    ],
)
def test_invalid_vectors_and_names_are_not_saved(tmp_path, values, name, words):
    with pytest.raises(SteeringError, match=words):
        storage.save(SteeringVectors(values, "m"), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_bad_files_are_rejected(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    save_file({"other": VALUES}, tmp_path / "other.safetensors")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    (tmp_path / "text.txt").write_text("hello")
    cases = {
        "none.safetensors": "no file",
        "cut.safetensors": "holds no",
        "other.safetensors": "holds no",
        "cut.gguf": "isn't a readable GGUF",
    }
    for name, words in (cases | {"text.txt": "neither"}).items():
        with pytest.raises(SteeringError, match=words):
            storage.load(tmp_path / name)


def test_a_missing_gguf_package_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(SteeringError, match="pip install gguf"):
        storage.save(SAVED, tmp_path / "mood.gguf")
