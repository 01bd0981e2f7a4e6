"""Files of SAELens 3 to 6, sparsify and Gemma Scope load as what they describe, or are refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from helpers import sae
from helpers.sae.base import SAEError

D_IN, D_SAE = 6, 20


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = 2 * normal(200, D_IN, seed=9)


def weights(**more):
    made = {"W_enc": normal(D_IN, D_SAE, seed=1), "b_enc": normal(D_SAE, seed=2), "W_dec": normal(D_SAE, D_IN, seed=3)}
    return made | {"b_dec": normal(D_IN, seed=4)} | more


def pre(w, subtract=True, bias="b_enc"):
    return (X - w["b_dec"] if subtract else X) @ w["W_enc"] + w[bias]


def topk(values, k):
    top = values.topk(k)
    return torch.zeros_like(values).scatter(-1, top.indices, top.values.relu())


def saelens(folder, w, **config):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in w.items()}, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32"} | config))
    return folder


def expect(folder, latents, w, factor=1.0):
    """Compare the loaded SAE with an independent formula; also after it was saved and loaded again."""
    x_hat = (latents * factor) @ w["W_dec"] + w["b_dec"]
    for _ in range(2):
        loaded = sae.load(folder)
        assert (loaded.encode(X) - latents).abs().max() <= 1e-6 * latents.abs().max()
        assert (loaded(X)[0] - x_hat).abs().max() <= 1e-6 * x_hat.abs().max()
        folder = sae.save(loaded, folder.parent / "again")


OLD = {"hook_name": "blocks.1.hook_resid_pre", "model_name": "m", "normalize_activations": "none"}
BY_KWARGS = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}
# Of one SAE with k = 4, as versions 3 to 6 describe it.
TOPKS = {
    "version 3 and 4": OLD | {"architecture": "standard"} | BY_KWARGS,
    "older name": OLD | {"architecture": "standard", "activation_fn": "topk", "activation_fn_kwargs": {"k": 4}},
    "version 5": OLD | {"architecture": "topk"} | BY_KWARGS,
    "k in the kwargs": {"architecture": "topk", "activation_fn_kwargs": {"k": 4}},
    "no architecture": {"hook_point": "blocks.1.hook_resid_pre"} | BY_KWARGS,
    "version 6": {"architecture": "topk", "k": 4, "rescale_acts_by_decoder_norm": False},
}  # fmt: skip


@pytest.mark.parametrize("name", TOPKS)
def test_topk_of_every_version_is_topk(tmp_path, name):
    w = weights()
    latents = topk(pre(w), 4)
    expect(saelens(tmp_path, w, **TOPKS[name]), latents, w)
    assert sae.load(tmp_path).k == 4 and (latents > 0).sum(-1).max() == 4


@pytest.mark.parametrize(
    "config",
    [
        {"hook_point": "blocks.1.hook_resid_pre"},
        {"hook_point": "blocks.1.hook_resid_pre", "normalize_activations": False, "activation_fn_str": "relu"},
        OLD | {"architecture": "standard", "activation_fn_str": "relu", "activation_fn_kwargs": {}},
        {"architecture": "standard", "metadata": {"sae_lens_version": "6.1.0"}},
    ],
)
def test_relu_of_every_version_is_relu(tmp_path, config):
    w = weights()
    expect(saelens(tmp_path, w, **config), pre(w).relu(), w)


def test_an_unused_scaling_factor_of_ones_is_read(tmp_path):
    w = weights()
    folder = saelens(tmp_path, w | {"scaling_factor": torch.ones(D_SAE)}, **OLD, architecture="standard")
    expect(folder, pre(w).relu(), w)


@pytest.mark.parametrize("name", ["scaling_factor", "finetuning_scaling_factor"])
def test_a_scaling_factor_counts_in_decoding(tmp_path, name):
    w, factor = weights(), torch.linspace(0.5, 2, D_SAE)
    expect(saelens(tmp_path, w | {name: factor}, **OLD, finetuning_scaling_factor=True), pre(w).relu(), w, factor)
    with pytest.raises(SAEError, match="finetuning_scaling_factor=False"):
        sae.load(saelens(tmp_path, w | {name: factor}, **OLD, finetuning_scaling_factor=False))


@pytest.mark.parametrize("config", [{}, {"activation_fn_str": "relu"}, {"apply_b_dec_to_input": False}])
def test_thresholds_below_zero_act_like_zero(tmp_path, config):
    w = weights(threshold=torch.linspace(-1, 1, D_SAE))
    values = pre(w, subtract="apply_b_dec_to_input" not in config)
    latents = values.relu() * (values > w["threshold"])
    expect(saelens(tmp_path, w, architecture="jumprelu", **config), latents, w)
    assert torch.isfinite(sae.load(tmp_path).encode(X)).all()


@pytest.mark.parametrize("subtract", [True, False])
def test_gated(tmp_path, subtract):
    w = {name: value for name, value in weights().items() if name != "b_enc"}
    w |= {"b_gate": normal(D_SAE, seed=5), "b_mag": normal(D_SAE, seed=6), "r_mag": 0.3 * normal(D_SAE, seed=7)}
    shared = pre(w, subtract, "b_gate") - w["b_gate"]
    latents = (shared * w["r_mag"].exp() + w["b_mag"]).relu() * (shared + w["b_gate"] > 0)
    config = OLD | {"architecture": "gated", "activation_fn_str": "relu", "apply_b_dec_to_input": subtract}
    expect(saelens(tmp_path, w, **config), latents, w)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_dtype_are_read(tmp_path, dtype):
    w = {name: value.to(dtype) for name, value in weights().items()}
    w32 = {name: value.float() for name, value in w.items()}
    expect(saelens(tmp_path, w, architecture="topk", k=4, dtype=str(dtype)), topk(pre(w32), 4), w32)


def sparsify(folder, w, **config):
    folder.mkdir(parents=True, exist_ok=True)
    names = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    save_file({name: value.contiguous() for name, value in names.items()}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D_IN, "k": 4, "expansion_factor": 32} | config))
    return folder


@pytest.mark.parametrize(
    "config",
    [
        {"normalize_decoder": True, "num_latents": 0, "signed": False},
        {"activation": "topk", "multi_topk": True, "num_latents": D_SAE, "skip_connection": False, "transcode": False},
        {},
    ],
)
def test_sparsify(tmp_path, config):
    """Its ReLU comes before TopK, which gives the same."""
    w = weights()
    expect(sparsify(tmp_path, w, **config), topk(pre(w).relu(), 4), w)


@pytest.mark.parametrize("as_file", [True, False])
def test_gemma_scope(tmp_path, as_file):
    w = weights(threshold=normal(D_SAE, seed=8).abs())
    np.savez(tmp_path / "params.npz", **{name: value.numpy() for name, value in w.items()})
    values = pre(w, subtract=False)
    loaded = sae.load(tmp_path / "params.npz" if as_file else tmp_path)
    assert torch.allclose(loaded.encode(X), values.relu() * (values > w["threshold"]), atol=1e-5)
    expect(tmp_path, values.relu() * (values > w["threshold"]), w)


REFUSED = {
    "tanh-relu": OLD | {"architecture": "standard", "activation_fn_str": "tanh-relu"},
    "activation_fn": OLD | {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4, "signed": True}},
    "activation_fn='topk'": OLD | {"architecture": "jumprelu"} | BY_KWARGS,
    "names no k": {"architecture": "topk"},
    "normalize_activations='expected_average_only_in'": OLD | {"normalize_activations": True},
    "normalize_activations='constant_norm_rescale'": OLD | {"normalize_activations": "constant_norm_rescale"},
    "normalize_activations='layer_norm'": OLD | {"normalize_activations": "layer_norm"},
    "normalize_activations='covariance_whitening'": OLD | {"normalize_activations": "covariance_whitening"},
    "reshape_activations='hook_z'": OLD | {"hook_name": "blocks.1.attn.hook_z"},
    "rescale_acts_by_decoder_norm=True": {"architecture": "standard", "rescale_acts_by_decoder_norm": True},
    "'batchtopk' SAE": {"architecture": "batchtopk", "k": 4},
    "'matryoshka_batchtopk' SAE": {"architecture": "matryoshka_batchtopk", "k": 4},
    "'abs_topk' SAE": {"architecture": "abs_topk", "k": 4},
    "'skip_transcoder' SAE": {"architecture": "skip_transcoder"},
    "d_in=7": {"architecture": "standard", "d_in": 7},
    "d_sae=21": {"architecture": "standard", "d_sae": 21},
    "activation_fn=['relu', 'topk']": BY_KWARGS | {"activation_fn_str": "relu", "activation_fn": "topk"},
    "k=[3, 4]": {"architecture": "topk", "k": 3} | BY_KWARGS,
    "have W_dec, W_enc, b_dec and b_enc": {"architecture": "gated"},
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_computes_something_else_is_refused_by_name(tmp_path, reason):
    with pytest.raises(SAEError) as error:
        sae.load(saelens(tmp_path, weights(), **REFUSED[reason]))
    assert reason in str(error.value)


@pytest.mark.parametrize("k", [0, D_SAE + 1, 4.0, True, "4", [4]])
def test_a_k_that_is_no_number_of_latents_is_refused(tmp_path, k):
    for folder in (saelens(tmp_path, weights(), architecture="topk", k=k), sparsify(tmp_path, weights(), k=k)):
        with pytest.raises(SAEError) as error:
            sae.load(folder)
        assert f"names no k from 1 to {D_SAE}, but {k!r}" in str(error.value)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"activation": "groupmax"}, "activation='groupmax'"),
        ({"transcode": True}, "transcode=True"),
        ({"skip_connection": True}, "skip_connection=True"),
        ({"signed": True}, "signed=True"),
        ({"k": None}, "names no k"),
        ({"d_in": 7}, "d_in=7"),
        ({"num_latents": 21}, "num_latents=21"),
    ],
)
def test_what_sparsify_computes_otherwise_is_refused_by_name(tmp_path, config, reason):
    with pytest.raises(SAEError, match=reason):
        sae.load(sparsify(tmp_path, weights(), **config))


def test_tensors_that_no_setting_explains_are_refused(tmp_path):
    with pytest.raises(SAEError, match="W_skip"):
        sae.load(saelens(tmp_path, weights(W_skip=torch.zeros(D_IN, D_IN)), architecture="standard"))
    with pytest.raises(SAEError, match="threshold"):
        sae.load(saelens(tmp_path, weights(), architecture="jumprelu"))


def test_gemma_scope_of_embeddings_and_broken_files_are_refused(tmp_path):
    folder = tmp_path / "embedding" / "width_4k"
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **{name: value.numpy() for name, value in weights().items()})
    with pytest.raises(SAEError, match="embeddings"):
        sae.load(folder)
    (tmp_path / "gemma-scope-2b-pt-transcoders").mkdir()
    np.savez(tmp_path / "gemma-scope-2b-pt-transcoders" / "params.npz", W_enc=np.zeros(1))
    with pytest.raises(SAEError, match="is a transcoder"):
        sae.load(tmp_path / "gemma-scope-2b-pt-transcoders")
    path = tmp_path / "params.npz"
    path.write_bytes((folder / "params.npz").read_bytes()[:100])
    with pytest.raises(SAEError, match="broken"):
        sae.load(path)
    with pytest.raises(SAEError, match="missing"):
        sae.load(tmp_path / "nothing" / "params.npz")
