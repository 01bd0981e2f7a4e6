"""Weights that would give wrong numbers without a word are refused, and each message names the reason."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from helpers import sae
from helpers.sae.base import SAEError
from tests.sae.test_formats import D_IN, D_SAE, expect, normal, pre, saelens, sparsify, topk, weights


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec", "b_dec"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, name, value):
    w = weights()
    w[name].view(-1)[1] = value
    for folder in (saelens(tmp_path / "1", w, architecture="standard"), sparsify(tmp_path / "2", w)):
        with pytest.raises(SAEError, match=rf"{name} in .* has NaN or infinite numbers"):
            sae.load(folder)


def test_numbers_beyond_fp32_are_refused(tmp_path):
    w = {name: value.double() for name, value in weights().items()}
    w["W_dec"][0, 0] = 1e300
    with pytest.raises(SAEError, match=r"W_dec in .* has NaN or infinite numbers"):
        sae.load(saelens(tmp_path, w, architecture="standard"))


def test_an_infinite_threshold_silences_its_latent(tmp_path):
    w = weights(threshold=torch.tensor([0.5, float("inf"), -float("inf"), *[0.1] * (D_SAE - 3)]))
    latents = pre(w).relu() * (pre(w) > w["threshold"])
    assert not latents[:, 1].any() and latents[:, 2].any()
    expect(saelens(tmp_path, w, architecture="jumprelu"), latents, w)


def test_a_threshold_that_is_nan_is_refused(tmp_path):
    with pytest.raises(SAEError, match=r"threshold in .* has NaN"):
        sae.load(saelens(tmp_path, weights(threshold=torch.full((D_SAE,), torch.nan)), architecture="jumprelu"))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.bool])
def test_quantised_weights_are_refused(tmp_path, dtype):
    w = {name: (10 * value).to(dtype) for name, value in weights().items()}
    with pytest.raises(SAEError, match=f"is {dtype}: only floating-point weights"):
        sae.load(saelens(tmp_path, w, architecture="standard"))


def test_a_decoder_row_of_zeros_is_rescaled_to_zeros(tmp_path):
    """Divided by its norm of 0 it was NaN, and so was every reconstruction."""
    w = weights()
    w["W_dec"][3] = 0
    norms = w["W_dec"].norm(dim=-1)
    latents = topk(pre(w) * norms, 4)
    folder = saelens(tmp_path, w, architecture="topk", k=4, rescale_acts_by_decoder_norm=True)
    expect(folder, latents, w, torch.where(norms > 0, 1 / norms, 0.0))


@pytest.mark.parametrize("broken", [{"b_dec": torch.ones(1)}, {"W_enc": torch.ones(D_IN)}, {"W_dec": torch.ones(2, 2)}])
def test_shapes_that_do_not_fit_together_are_refused(tmp_path, broken):
    w = weights(**broken)
    settings = {"apply_b_dec_to_input": False, "rescale_acts_by_decoder_norm": True}
    with pytest.raises(SAEError, match="are broken"):
        sae.load(saelens(tmp_path / "1", w, architecture="topk", k=2, **settings))
    arrays = {name: value.numpy() for name, value in (w | {"threshold": torch.ones(D_SAE)}).items()}
    np.savez(tmp_path / "params.npz", **arrays)
    with pytest.raises(SAEError, match="are broken"):
        sae.load(tmp_path)


# Gemma Scope's embeddings and transcoders look like SAEs of other layers: only the path differs.
LOOKALIKES = {"embedding/width_4k": "is of embeddings", "gemma-scope-2b-pt-transcoders/layer_0": "is a transcoder"}


@pytest.mark.parametrize("folder", LOOKALIKES)
@pytest.mark.parametrize("given", ["params.npz", "."])
def test_the_folders_above_a_relative_path_count(tmp_path, monkeypatch, folder, given):
    w = weights(threshold=normal(D_SAE, seed=8).abs())
    (tmp_path / folder).mkdir(parents=True)
    np.savez(tmp_path / folder / "params.npz", **{name: value.numpy() for name, value in w.items()})
    monkeypatch.chdir(tmp_path / folder)
    with pytest.raises(SAEError, match=LOOKALIKES[folder]):
        sae.load(given)


def test_a_link_in_the_hubs_cache_counts_by_its_own_name(tmp_path):
    w = weights(threshold=normal(D_SAE, seed=8).abs())
    np.savez(tmp_path / "blob.npz", **{name: value.numpy() for name, value in w.items()})
    (tmp_path / "embedding").mkdir()
    os.symlink(tmp_path / "blob.npz", tmp_path / "embedding" / "params.npz")
    with pytest.raises(SAEError, match="is of embeddings"):
        sae.load(tmp_path / "embedding")


# As sparsify wrote them from November 2024 to February 2025; only the run's config.json marks transcoders.
EARLY = {"normalize_decoder": True, "num_latents": D_SAE, "multi_topk": False, "skip_connection": False}


@pytest.mark.parametrize("depth", ["layers.3.mlp", "layers.3.mlp/seed1"])
@pytest.mark.parametrize("config", [EARLY, {"num_latents": D_SAE}])
def test_an_early_transcoder_of_sparsify_is_refused(tmp_path, depth, config):
    folder = sparsify(tmp_path / depth, weights(), **config)
    (tmp_path / "config.json").write_text(json.dumps({"transcode": True, "sae": config}))
    with pytest.raises(SAEError, match="transcode=True"):
        sae.load(folder)


def test_an_early_sae_of_sparsify_is_read_if_it_is_sure_to_be_one(tmp_path):
    folder, w = sparsify(tmp_path / "layers.3", weights(), **EARLY), weights()
    with pytest.raises(SAEError, match=r"doesn't say whether this is an SAE or a transcoder.*config\.json"):
        sae.load(folder)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))  # of something else
    with pytest.raises(SAEError, match="doesn't say"):
        sae.load(folder)
    (tmp_path / "config.json").write_text(json.dumps({"transcode": False, "sae": EARLY}))
    expect(folder, topk(pre(w), 4), w)
    (tmp_path / "config.json").unlink()
    expect(sparsify(folder, w, **EARLY, transcode=False), topk(pre(w), 4), w)
    expect(sparsify(folder, w, signed=False), topk(pre(w), 4), w)  # before there were transcoders
