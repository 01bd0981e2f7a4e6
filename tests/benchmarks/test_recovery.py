"""Recovery of a known dictionary."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from benchmarks.recovery import matched_correlation, recovery
from helpers.sae import SAEError


def axes(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float)


TRUTH = axes([1, 0, 0], [0, 1, 0], [0, 0, 1])


def test_a_perfect_dictionary_scores_1_at_any_scale_and_order():
    found = recovery(axes([0, 0, 2], [5, 0, 0], [0, 0.1, 0], [1, 1, 1]), TRUTH)
    assert (found.mean_max_cosine, found.found, found.matched, found.uniqueness) == (1, 1, 1, 1)


def test_a_flipped_sign_is_not_found():
    assert recovery(axes([-1, 0, 0], [0, 1, 0], [0, 0, 1]), TRUTH).found == pytest.approx(2 / 3)


def test_a_latent_shared_by_two_directions_lowers_matching_and_uniqueness():
    """The mean max cosine counts the shared latent twice."""
    between = normalize(axes([1, 1, 0]), dim=-1)[0].tolist()
    found = recovery(axes(between, [0, 0, 1], [0, 0, -1]), TRUTH)
    assert found.mean_max_cosine == pytest.approx((2 * 0.5**0.5 + 1) / 3)
    assert found.uniqueness == pytest.approx(2 / 3) and found.matched == pytest.approx((0.5**0.5 + 1) / 3)


def test_scores_are_averages_over_directions_not_latents():
    """Unmatched latents don't lower the scores; directions without a latent do."""
    found = recovery(axes([1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]), TRUTH)
    assert found.mean_max_cosine == pytest.approx(1 / 3) and found.found == pytest.approx(1 / 3)


def test_matched_correlation_finds_the_latent_of_each_feature():
    strengths = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.rand(200, 4, generator=torch.Generator().manual_seed(1))
    latents = torch.cat([7 * strengths[:, [2, 0]] + 3, noise, strengths[:, [1]]], 1)
    value, which = matched_correlation(latents, strengths)
    assert value == pytest.approx(1) and which.tolist() == [1, 6, 0]
    value, _ = matched_correlation(torch.zeros(200, 5), strengths)
    assert value == 0


def test_mismatched_shapes_are_rejected():
    for arguments, words in (((TRUTH[:2], TRUTH), "one to one"), ((TRUTH[:, :2], TRUTH), "differ in width")):
        with pytest.raises(SAEError, match=words):
            recovery(*arguments)
    with pytest.raises(SAEError, match="same number of rows"):
        matched_correlation(torch.zeros(3, 5), torch.zeros(4, 2))
