"""SAEs on disk: SAELens' layout is written and read, and broken files are refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from helpers import sae
from helpers.sae.base import SAEError
from helpers.sae.storage import CONFIG, NAMES, WEIGHTS
from helpers.sae.topk import TopK


@pytest.fixture
def module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = TopK(6, 20, 3)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn(parameter.shape))
        return made


@pytest.fixture
def folder(module, tmp_path):
    return sae.save(module, tmp_path / "deep" / "sae", "smollm2", "blocks.15.hook_resid_pre")


def test_a_saved_sae_loads_unchanged(module, folder):
    loaded = sae.load(str(folder))
    assert isinstance(loaded, TopK) and (loaded.d_in, loaded.d_sae, loaded.k) == (6, 20, 3)
    for name in NAMES:
        assert torch.equal(getattr(loaded, name), getattr(module, name))
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.encode(x), module.encode(x)) and torch.equal(loaded(x)[0], module(x)[0])


def test_a_loaded_sae_can_be_trained_further(folder):
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    sae.train(sae.load(folder), x, config=sae.TrainConfig(steps=3, batch_size=50), progress=None)


def test_the_weights_file_has_saelens_layout(module, folder):
    assert (
        sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS] == ["cfg.json", "sae_weights.safetensors"]
    )
    tensors = load_file(folder / WEIGHTS)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {"W_enc": (6, 20), "b_enc": (20,), "W_dec": (20, 6), "b_dec": (6,)}
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in tensors.values())
    with safe_open(folder / WEIGHTS, "pt") as file:  # row-major on disk, although W_enc is transposed in memory
        assert torch.equal(file.get_slice("W_enc")[0], module.W_enc[0]) and not module.W_enc.is_contiguous()


def test_the_config_has_saelens_fields(folder):
    config = json.loads((folder / CONFIG).read_text())
    metadata = config.pop("metadata")
    assert config == {
        "architecture": "topk", "k": 3, "d_in": 6, "d_sae": 20, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
    }  # fmt: skip
    assert set(metadata) == {
        "sae_lens_version",
        "model_name",
        "hook_name",
        "hook_head_index",
        "context_size",
        "prepend_bos",
    }
    assert (metadata["model_name"], metadata["hook_name"]) == ("smollm2", "blocks.15.hook_resid_pre")
    assert tuple(map(int, metadata["sae_lens_version"].split("."))) >= (6, 0, 0)


class Own(nn.Module):
    """A student's ReLU SAE."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(4)
        self.W_enc, self.b_enc = (nn.Parameter(torch.randn(*shape, generator=random)) for shape in ((6, 20), (20,)))
        self.W_dec, self.b_dec = (nn.Parameter(torch.randn(*shape, generator=random)) for shape in ((20, 6), (6,)))

    def encode(self, x):
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, h):
        return h @ self.W_dec + self.b_dec


def rows(n=50):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


def test_a_students_sae_is_saved_as_standard(tmp_path):
    module = Own()
    config = json.loads((sae.save(module, tmp_path) / CONFIG).read_text())
    assert config["architecture"] == "standard" and "k" not in config
    loaded = sae.load(tmp_path)  # a JumpReLU with thresholds of 0
    assert torch.equal(loaded.encode(rows()), module.encode(rows()))
    assert torch.allclose(loaded.decode(module.encode(rows())), module.decode(module.encode(rows())))


@pytest.mark.parametrize(
    ("kind", "written"),
    [(sae.BatchTopK, "jumprelu"), (sae.Matryoshka, "jumprelu"), (sae.JumpReLU, "jumprelu"), (sae.Gated, "gated")],
)
def test_other_architectures_load_as_the_same_function(tmp_path, kind, written):
    module = kind(6, 20) if kind in (sae.JumpReLU, sae.Gated) else kind(6, 20, 3)
    sae.train(module, 9 * rows(300), config=sae.TrainConfig(steps=20, batch_size=50), progress=None)
    config = json.loads((sae.save(module, tmp_path) / CONFIG).read_text())
    assert config["architecture"] == written and "k" not in config
    loaded = sae.load(tmp_path)
    x = 9 * rows()
    assert torch.allclose(loaded.encode(x), module.encode(x), atol=1e-5) and torch.allclose(
        loaded(x)[0], module(x)[0], atol=1e-5
    )
    if written == "jumprelu":
        assert load_file(tmp_path / WEIGHTS)["threshold"].shape == (20,)


def rewrite(folder, **settings):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | settings))


def test_rescaling_by_decoder_norm_is_folded_into_the_weights(module, folder):
    """SAELens can choose latents by activation times decoder norm; it divides by the norm to decode."""
    rewrite(folder, rescale_acts_by_decoder_norm=True)
    loaded, norms = sae.load(folder), module.W_dec.norm(dim=-1)
    pre = ((rows() - module.b_dec) @ module.W_enc + module.b_enc) * norms
    top = pre.topk(3)
    latents = torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
    assert torch.allclose(loaded.encode(rows()), latents, atol=1e-5)
    assert torch.allclose(loaded(rows())[0], (latents / norms) @ module.W_dec + module.b_dec, atol=1e-5)


def test_apply_b_dec_to_input_false_is_folded_into_the_biases(tmp_path):
    for module in (Own(), sae.Gated(6, 20)):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3)
        folder = sae.save(module, tmp_path / type(module).__name__)
        rewrite(folder, apply_b_dec_to_input=False)
        expected = module.encode(rows() + module.b_dec)  # encode subtracts b_dec again
        assert torch.allclose(sae.load(folder).encode(rows()), expected, atol=1e-4)


def test_unsupported_settings_are_refused(folder):
    for name, value in (("normalize_activations", "layer_norm"), ("reshape_activations", "hook_z")):
        rewrite(folder, **{name: value})
        with pytest.raises(SAEError, match=f"{name}='{value}'"):
            sae.load(folder)
        rewrite(folder, **{name: "none"})
    rewrite(folder, architecture="temporal")
    with pytest.raises(SAEError, match="'temporal' SAE; topk, jumprelu, gated and standard"):
        sae.load(folder)


def test_a_module_without_an_saes_weights_is_refused(tmp_path):
    with pytest.raises(SAEError, match="Linear has no W_enc, b_enc, W_dec, b_dec"):
        sae.save(nn.Linear(2, 2), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(SAEError, match=f"has no {name}"):
        sae.load(folder)


@pytest.mark.parametrize("kept", [0, 5, 200, -4])
def test_truncated_weights_are_refused(folder, kept):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SAEError, match="broken"):
        sae.load(folder)


def test_a_tensor_that_is_missing_or_has_another_shape_is_refused(folder):
    tensors = load_file(folder / WEIGHTS)
    without = {name: tensor for name, tensor in tensors.items() if name != "b_enc"}
    # A plain copy would broadcast the tensor of one element.
    for broken in ({**tensors, "W_dec": torch.ones(7, 6)}, {**tensors, "b_dec": torch.ones(1)}, without):
        save_file(broken, folder / WEIGHTS)
        with pytest.raises(SAEError, match="broken"):
            sae.load(folder)


@pytest.mark.parametrize("text", ["", "{", '{"architecture": "topk"', '{"architecture": "topk"}', "[]"])
def test_a_broken_config_is_refused(folder, text):
    (folder / CONFIG).write_text(text)
    with pytest.raises(SAEError, match=r"cfg\.json"):
        sae.load(folder)
