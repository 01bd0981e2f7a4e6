"""Label scores: probes choose features and thresholds on training tokens and are scored on test tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array
from sklearn.metrics import f1_score, roc_auc_score

from helpers import latents
from helpers.latents.label_scores import best_label
from helpers.sae import SAEError


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(x):
    return x


@pytest.fixture
def halves():
    """Training and test data. Label 0 is feature 3, label 1 needs features 5 and 6, and label 2 is noise."""
    parts = []
    for seed in (0, 1):
        x = normal(1500, 12, seed=seed)
        labels = torch.stack([x[:, 3] > 1.2, x[:, 5] + x[:, 6] > 1.5, normal(1500, seed=9 + seed) > 1])
        parts.append((x, labels))
    return parts


def test_one_feature_finds_the_label_that_it_decides(halves):
    scores = latents.sparse_probe(same, *halves, k=1)
    assert scores.chosen[0] == (3,) and scores.chosen[1][0] in (5, 6)
    assert scores.f1[0] > 0.97 and scores.auroc[0] > 0.99
    assert 0.3 < scores.f1[1] < 0.85 and scores.auroc[2] < 0.6


def test_two_features_find_a_label_that_needs_two(halves):
    one, two, dense = (latents.sparse_probe(same, *halves, k=k) for k in (1, 2, None))
    assert set(two.chosen[1]) == {5, 6} and two.f1[1] > 0.95 > one.f1[1]
    assert len(dense.chosen[0]) == 12 and dense.f1[1] > 0.9


def test_features_are_chosen_on_training_tokens(halves):
    """A feature that is the label in the test part but noise in training isn't chosen."""
    train, (x, labels) = halves
    leaky = x.clone()
    leaky[:, 0] = labels[0] * 100.0
    scores = latents.sparse_probe(same, train, (leaky, labels), k=1)
    assert scores.chosen[0] == (3,)


def test_thresholds_come_from_training_tokens(halves):
    """A feature shifted in the test part keeps its order and AUROC, but the threshold no longer fits."""
    train, (x, labels) = halves
    moved = x.clone()
    moved[:, 3] += 5
    scores = latents.sparse_probe(same, train, (moved, labels), k=1)
    assert scores.auroc[0] > 0.99 and scores.f1[0] < 0.4


def test_a_constant_feature_does_no_harm(halves):
    train, test = ((torch.cat([x, torch.ones(len(x), 1)], 1), labels) for x, labels in halves)
    assert latents.sparse_probe(same, train, test, k=None).f1[0] > 0.9


def test_probe_auroc_equals_sklearn(halves):
    scores = latents.sparse_probe(lambda x: x[:, 3:4], *halves, k=1)
    x, labels = halves[1]
    assert scores.auroc[0].item() == pytest.approx(roc_auc_score(labels[0], x[:, 3].half()))


def test_bad_labels_and_k_are_refused(halves):
    train, (x, labels) = halves
    for wrong in (torch.zeros_like(labels), torch.ones_like(labels)):
        with pytest.raises(SAEError, match="none or all of the test tokens"):
            latents.sparse_probe(same, train, (x, wrong))
    with pytest.raises(SAEError, match="no labels"):
        latents.sparse_probe(same, train, (x, labels[:0]))
    for k in (0, 13):
        with pytest.raises(SAEError, match=f"k={k}: choose from 1 to 12"):
            latents.sparse_probe(same, *halves, k=k)


def test_auroc_equals_sklearn(monkeypatch):
    monkeypatch.setattr("helpers.sae.chunks.CHUNK", 100)
    x = normal(900, 5)
    labels = torch.stack([x[:, 2] + 0.5 * normal(900, seed=4) > 1, x[:, 0] > 0])
    found = latents.auroc(torch.relu, x, labels, torch.tensor([2, 0]))
    assert found[0].item() == pytest.approx(roc_auc_score(labels[0], x[:, 2].relu())) and found[1] == 1


def test_best_label_equals_sklearn():
    table = (normal(400, 7).relu() * (normal(400, 7, seed=1) > 0.5)).numpy()
    labels = (normal(3, 400, seed=2) > 1).numpy()
    labels[1] = table[:, 4] > 0
    which, f1 = best_label(csc_array(table), labels)
    assert which[4] == 1 and f1[4] == pytest.approx(1)
    for latent in range(7):
        scores = [f1_score(row, table[:, latent] > 0) for row in labels]
        assert f1[latent] == pytest.approx(max(scores)) and which[latent] == int(np.argmax(scores))
