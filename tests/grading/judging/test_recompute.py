"""An SAE's figures, recomputed from its codes, equal those of sae.evaluate and expose disguised dense codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from grading.judging.hidden_tests import BadAnswer
from grading.judging.reference import load_hidden_tests
from helpers import sae
from tests.submissions import books

recompute = load_hidden_tests(books.MASTERS).recompute

D, N = 32, 600


@pytest.fixture(scope="module")
def dictionary():
    """Return 128 directions, and codes of tokens that are sums of 3 of them."""
    random = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(128, D, generator=random), dim=-1)
    codes = torch.zeros(N, 128).scatter(1, torch.rand(N, 128, generator=random).topk(3).indices, 1.0)
    return rows.numpy(), codes.numpy()


def answer(rows: np.ndarray, codes: np.ndarray, bias: np.ndarray | None = None) -> dict:
    token, latent = codes.nonzero()
    bias = np.zeros(rows.shape[1], np.float32) if bias is None else bias
    return {
        "rows": rows,
        "bias": bias,
        "token": token,
        "latent": latent,
        "value": codes[token, latent],
        "active": len(token),
    }


def test_recomputed_figures_equal_those_of_evaluate():
    torch.manual_seed(0)
    module, x = sae.TopK(D, 64, k=5), torch.randn(N, D)
    with torch.no_grad():
        found = recompute.figures(
            answer(module.W_dec.numpy(), module.encode(x).numpy(), module.b_dec.numpy()), x.numpy()
        )
    marks = sae.evaluate(module, x)
    assert (found.fvu, found.l0, found.dead) == pytest.approx((marks.fvu, marks.l0, marks.dead_fraction), rel=1e-4)


def test_a_sparse_code_spreads_over_more_dimensions_than_it_has_active_latents(dictionary):
    rows, codes = dictionary
    found = recompute.figures(answer(rows, codes), codes @ rows)
    assert found.fvu < 1e-9 and found.l0 == 3 and found.dense == 0 and found.spread > 5
    assert recompute._dense(found, found) == ""


@pytest.mark.parametrize("copies", [1, 3, 10])
def test_axes_of_a_subspace_are_a_dense_code_however_often_they_are_repeated(dictionary, copies):
    rows, codes = dictionary
    x = codes @ rows
    honest = recompute.figures(answer(rows, codes), x)
    axes = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:8]
    part = np.arange(N) % copies
    dense = np.concatenate([((x - x.mean(0)) @ axes.T) * (part == i)[:, None] for i in range(copies)], 1)
    found = recompute.figures(answer(np.concatenate([axes] * copies), dense, x.mean(0)), x)
    assert found.l0 == pytest.approx(8) and found.spread <= 1 and "dense code" in recompute._dense(found, honest)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": np.full((128, D), 1e200)}, {"value": np.full(3 * N, np.nan)}, {"token": np.zeros(3 * N, int)},
        {"latent": np.full(3 * N, 128)}, {"bias": np.zeros(3)}, {"active": math.inf}, {"rows": np.zeros((128, D + 1))},
        {"value": np.zeros(5)},
    ],
)  # fmt: skip
def test_numbers_that_cant_be_a_code_are_rejected(dictionary, change):
    rows, codes = dictionary
    given = answer(rows, codes) | change
    if "rows" in change and change["rows"].shape == (128, D):
        given["value"] = np.full(3 * N, 1e200)
    with pytest.raises(BadAnswer):
        recompute.figures(given, codes @ rows)


def test_l0_counts_active_latents_that_were_not_sent(dictionary):
    rows, codes = dictionary
    assert recompute.figures(answer(rows, codes) | {"active": 90 * N}, codes @ rows).l0 == 90
