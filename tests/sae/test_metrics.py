"""FVU, L0, dead latents and F1, against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from helpers import latents, sae
from helpers.caching.activations import Activations, mark_sinks
from helpers.sae.base import SAEError


class Coder(nn.Module):
    """Module that encodes and decodes with two given functions."""

    def __init__(self, encode, decode):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.encode, self.decode = encode, decode


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def table(values) -> Activations:
    ids = torch.arange(len(values))
    return Activations(values, ids, ids + 1, ids, mark_sinks(values))


@pytest.fixture(params=[7, 4096])
def chunk(request, monkeypatch):
    """Set the chunk size; the metrics are of the whole set either way."""
    monkeypatch.setattr("helpers.sae.chunks.CHUNK", request.param)


def test_reconstructing_the_mean_gives_an_fvu_of_1(chunk):
    x = normal(500, 8) * torch.arange(1, 9) + 20
    metrics = sae.evaluate(Coder(lambda x: x.relu(), lambda h: x.mean(0).expand(len(h), -1)), x)
    assert metrics.fvu == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_mean_is_exact_for_rows_far_from_zero(chunk, dtype):
    x = (normal(3000, 8) + 100).to(dtype)
    exact = x.double().mean(0).float()
    assert sae.evaluate(Coder(lambda x: x.relu(), lambda h: exact.expand(len(h), -1)), x).fvu == pytest.approx(
        1, abs=1e-4
    )


def test_fvu_of_a_perfect_a_halved_and_a_zero_reconstruction(chunk):
    x = normal(500, 8) * 3 + 20
    assert sae.evaluate(Coder(lambda x: x, lambda h: h), x).fvu == 0
    half = Coder(lambda x: x, lambda h: (h + x.mean(0)) / 2)
    assert sae.evaluate(half, x).fvu == pytest.approx(0.25, rel=1e-5)
    zero = Coder(lambda x: x, torch.zeros_like)
    assert sae.evaluate(zero, x).fvu > 10  # predicting 0 is worse than predicting the mean


def test_fvu_is_a_ratio_of_sums_over_all_dimensions(chunk):
    """It isn't the mean of ratios per dimension or token."""
    x = normal(300, 2) * torch.tensor([10.0, 0.1])
    only_second = Coder(lambda x: x, lambda h: torch.stack([x[:, 0].mean().expand(len(h)), h[:, 1]], 1))
    assert sae.evaluate(only_second, x).fvu == pytest.approx(1.0, abs=1e-3)


def test_l0_density_and_dead_fraction_count_latents_above_0(chunk):
    latents = torch.zeros(100, 5)
    latents[:, 0] = 1  # always
    latents[::4, 1] = 0.001  # on every fourth token, however weakly
    latents[:, 2] = -1  # below 0 is inactive
    latents[99, 3] = 7  # once, in the last chunk
    x = torch.arange(100.0)[:, None].expand(-1, 3)
    metrics = sae.evaluate(Coder(lambda rows: latents[rows[:, 0].long()], lambda h: torch.zeros(len(h), 3)), x)
    assert metrics.l0 == pytest.approx(1 + 0.25 + 0.01)
    assert metrics.density.tolist() == pytest.approx([1, 0.25, 0, 0.01, 0])
    assert metrics.dead_fraction == pytest.approx(0.4)
    assert metrics.tokens == 100 and metrics.sinks_left_out == 0


def test_sinks_are_excluded_and_counted(chunk):
    x = normal(200, 8)
    x[::50] *= 1000
    rows = table(x)
    coder = Coder(lambda x: x, lambda h: 0.9 * h)
    metrics, kept = sae.evaluate(coder, rows), sae.evaluate(coder, rows, keep_sinks=True)
    assert (metrics.tokens, metrics.sinks_left_out) == (196, 4) and (kept.tokens, kept.sinks_left_out) == (200, 0)
    assert metrics.fvu == pytest.approx(sae.evaluate(coder, x[~rows.is_sink]).fvu)
    assert "4 sinks left out" in str(metrics)


def test_sinks_make_a_bad_sae_look_good():
    """An SAE that knows only the sinks' direction has a small FVU with sinks and a large one without."""
    x = normal(300, 16)
    x[:3] = 0
    x[:3, 0] = 1e5
    first = Coder(lambda x: x[:, :1], lambda h: torch.cat([h, torch.zeros(len(h), 15)], 1))
    assert sae.evaluate(first, table(x), keep_sinks=True).fvu < 1e-3 < 0.9 < sae.evaluate(first, table(x)).fvu


def test_shrinkage_and_cosine_are_relative_to_the_mean(chunk):
    """A large mean doesn't hide a short reconstruction."""
    x = normal(400, 8) + 100
    short = sae.evaluate(Coder(lambda x: x, lambda h: x.mean(0) + 0.7 * (h - x.mean(0))), x)
    assert short.shrinkage == pytest.approx(0.3, abs=1e-4) and short.cosine == pytest.approx(1, abs=1e-4)
    turned = sae.evaluate(Coder(lambda x: x, lambda h: x.mean(0) - (h - x.mean(0))), x)
    assert turned.shrinkage == pytest.approx(0, abs=1e-4) and turned.cosine == pytest.approx(-1, abs=1e-4)


def test_figures_are_plain_numbers():
    figures = sae.evaluate(Coder(lambda x: x, lambda h: h), normal(20, 3)).figures()
    assert set(figures) == {"fvu", "l0", "dead_fraction", "shrinkage", "cosine", "tokens", "sinks_left_out"}
    assert all(isinstance(value, (int, float)) for value in figures.values())


def test_constant_and_empty_activations_are_refused():
    same = Coder(lambda x: x, lambda h: h)
    for x, words in (
        (torch.ones(5, 3), "don't vary"),
        (torch.ones(0, 3), "at least one row"),
        (torch.ones(3), "at least one row"),
    ):
        with pytest.raises(SAEError, match=words):
            sae.evaluate(same, x)


# F1 of single features -------------------------------------------------------------------------------


def labels(*rows):
    return torch.stack([torch.as_tensor(row, dtype=torch.bool) for row in rows])


def test_best_f1_finds_planted_features(chunk):
    truth = torch.rand(3, 1000, generator=torch.Generator().manual_seed(1)) < torch.tensor([[0.02], [0.1], [0.3]])
    features = normal(1000, 600).abs() * (torch.rand(1000, 600, generator=torch.Generator().manual_seed(2)) < 0.1)
    for row, place in ((0, 7), (1, 555), (2, 599)):
        features[:, place] = truth[row] * (1 + normal(1000, seed=row).abs())
    best, which = latents.best_f1(lambda x: x, features, truth)
    assert which.tolist() == [7, 555, 599] and torch.allclose(best, torch.ones(3))


def test_a_random_feature_scores_low():
    truth = labels(torch.arange(2000) % 20 == 0)
    best, _ = latents.best_f1(lambda x: x, normal(2000, 50), truth)
    assert best < 0.25
    shuffled = truth[:, torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    own = shuffled[0].float()[:, None] * 3
    assert latents.best_f1(lambda x: x, own, shuffled)[0] == 1 and latents.best_f1(lambda x: x, own, truth)[0] < 0.25


def test_a_threshold_above_0_is_tried():
    """A feature that is weak everywhere and strong on the label is wrong at 0 but right at a quantile."""
    truth = labels(torch.arange(1000) % 50 == 0)
    feature = 0.1 + 0.01 * normal(1000, 1).abs() + 5 * truth[0, :, None]
    assert latents.best_f1(lambda x: x, feature, truth)[0] > 0.7
    assert latents.best_f1(lambda x: x, feature, truth, thresholds=1)[0] == pytest.approx(2 * 20 / 1020)


def test_both_signs_finds_a_negative_feature():
    truth = labels(torch.arange(1000) % 50 == 0, torch.arange(1000) % 50 == 1)
    features = normal(1000, 3) * 0.01
    features[:, 1] -= truth[0].float() * 9
    features[:, 2] += truth[1].float() * 9
    one_sign, _ = latents.best_f1(lambda x: x, features, truth)
    assert one_sign[0] < 0.2
    best, which = latents.best_f1(lambda x: x, features, truth, both_signs=True)
    assert best.min() > 0.7 and which.tolist() == [3 + 1, 2]


def test_best_f1_equals_sklearn():
    truth = torch.rand(4, 500, generator=torch.Generator().manual_seed(3)) < 0.2
    features = normal(500, 30).relu()
    best, which = latents.best_f1(lambda x: x, features, truth, thresholds=1)
    for row, (found, index) in enumerate(zip(best, which, strict=True)):
        scores = [f1_score(truth[row], features[:, j].half() > 0) for j in range(30)]
        assert found.item() == pytest.approx(max(scores), rel=1e-5) and scores[index] == pytest.approx(max(scores))


def test_the_encoder_gets_chunks(monkeypatch):
    monkeypatch.setattr("helpers.sae.chunks.CHUNK", 64)
    truth, sizes = labels(torch.arange(200) % 10 == 0), []

    def encode(rows):
        sizes.append(len(rows))
        return rows @ torch.eye(4)

    values = torch.cat([normal(200, 3) * 0.01, truth.T.float()], 1)
    assert latents.best_f1(encode, values, truth)[1].item() == 3 and sizes == [64, 64, 64, 8]
