"""Other recipes for steering vectors, compared with direct computation; and the controls."""

from __future__ import annotations

import pytest
import torch

from helpers import steering
from helpers.steering import vectors
from helpers.steering.curves import SteeringError
from tests import tiny

POSITIVE, NEGATIVE = list(tiny.POSITIVE), list(tiny.NEGATIVE)
# The last sentence is longer than its positive counterpart.
UNEVEN = [*NEGATIVE[:3], "on monday we went to the city . the food was awful and bad ."]


@torch.no_grad()
def residuals(model, sentence: str) -> torch.Tensor:
    """Return the residuals [n_layers T d_model], BOS first."""
    _, cache = model.run_with_cache(model.to_tokens(sentence))
    return torch.stack([cache[f"blocks.{layer}.hook_resid_pre"][0] for layer in range(model.cfg.n_layers)])


def average(model, sentences) -> torch.Tensor:
    return torch.stack([residuals(model, sentence)[:, 1:].mean(1) for sentence in sentences]).mean(0)


def difference(model, reduce, positive=POSITIVE, negative=NEGATIVE) -> torch.Tensor:
    means = [torch.stack([reduce(residuals(model, s)) for s in side]).mean(0) for side in (positive, negative)]
    return means[0] - means[1]


def test_with_bos_equals_the_mean_over_all_positions(tiny_model):
    found = vectors.with_bos(average, tiny_model, POSITIVE, UNEVEN)
    expected = difference(tiny_model, lambda resid: resid.mean(1), POSITIVE, UNEVEN)
    assert torch.allclose(found, expected, atol=1e-5)
    without = average(tiny_model, POSITIVE) - average(tiny_model, UNEVEN)
    assert (found - without).norm() > 0.05 * without.norm()  # so that the test fails if BOS is excluded


def test_last_token_reads_the_last_position(tiny_model):
    found = vectors.last_token(tiny_model, POSITIVE, NEGATIVE)
    assert torch.allclose(found, difference(tiny_model, lambda resid: resid[:, -1]), atol=1e-5)
    assert not torch.allclose(found, difference(tiny_model, lambda resid: resid[:, -2]), atol=1e-2)


def test_principal_maximises_the_mean_square_projection(tiny_model):
    """Its sign and norm are those of the mean difference."""
    found = vectors.principal(average, tiny_model, POSITIVE, NEGATIVE)
    pairs = torch.stack(
        [average(tiny_model, [a]) - average(tiny_model, [b]) for a, b in zip(POSITIVE, NEGATIVE, strict=True)], 1
    )
    mean = pairs.mean(1)
    assert torch.allclose(found.norm(dim=-1), mean.norm(dim=-1), rtol=1e-4) and ((found * mean).sum(-1) > 0).all()
    for layer in range(len(found)):
        squares = pairs[layer].T @ pairs[layer]
        largest = torch.linalg.eigvalsh(squares)[-1]
        unit = found[layer] / found[layer].norm()
        assert unit @ squares @ unit == pytest.approx(largest.item(), rel=1e-3)
        assert torch.cosine_similarity(found[layer], mean[layer], dim=0) < 0.9999  # it differs from the mean


def test_principal_needs_pairs(tiny_model):
    with pytest.raises(SteeringError, match="4 positive and 3 negative sentences make no pairs"):
        vectors.principal(average, tiny_model, POSITIVE, NEGATIVE[:3])


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_mix_half_of_each_side(tiny_model, seed):
    asked = []

    def watching(model, sentences):
        asked.append(list(sentences))
        return average(model, sentences)

    found = vectors.shuffled_labels(watching, tiny_model, POSITIVE, NEGATIVE, seed)
    true = average(tiny_model, POSITIVE) - average(tiny_model, NEGATIVE)
    first, second = asked[-2:]
    assert sorted(first + second) == sorted(POSITIVE + NEGATIVE) and len(first) == len(second) == 4
    assert len(set(first) & set(POSITIVE)) == 2  # half of each side
    assert torch.allclose(found.norm(dim=-1), true.norm(dim=-1), rtol=1e-4)
    assert torch.cosine_similarity(found, true, dim=-1).max() < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_drop_one_of_an_odd_number_so_that_sentiment_cancels(tiny_model, seed):
    asked = []
    vectors.shuffled_labels(
        lambda model, sentences: asked.append(sentences) or average(model, sentences),
        tiny_model,
        POSITIVE[:3],
        NEGATIVE[:3],
        seed,
    )
    assert all(len(set(group) & set(side)) == 1 for group in asked[-2:] for side in (POSITIVE, NEGATIVE))


def test_shuffled_labels_need_two_sentences_per_side(tiny_model):
    with pytest.raises(SteeringError, match="two sentences or more"):
        vectors.shuffled_labels(average, tiny_model, POSITIVE[:1], NEGATIVE)


def test_random_like_keeps_norms_and_is_seeded():
    vectors = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 6)[:, None]
    control = steering.random_like(vectors, seed=1)
    assert torch.allclose(control.norm(dim=-1), vectors.norm(dim=-1), rtol=1e-5)
    assert torch.cosine_similarity(control, vectors, dim=-1).abs().max() < 0.5
    assert (
        torch.cosine_similarity(control[:-1], control[1:], dim=-1).abs().max() < 0.5
    )  # a different direction at each layer
    assert torch.equal(control, steering.random_like(vectors, seed=1))
    assert not torch.allclose(control, steering.random_like(vectors, seed=2))


def test_rescaled_keeps_zero_vectors():
    found = vectors.rescaled(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0], [3.0, 4.0]]))
    assert found.tolist() == [[0.0, 0.0], [0.0, 5.0]]
