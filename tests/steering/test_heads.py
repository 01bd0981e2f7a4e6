"""The single-head baseline: one head adds a vector of the given norm at the last position."""

from __future__ import annotations

import pytest
import torch

from helpers.steering import heads
from tests import tiny

TEXT = "on monday we went to the hotel . the food was"


@pytest.fixture(params=["tiny_model", "llama"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def vectors(model):
    return heads.head_differences(model, tiny.POSITIVE, tiny.NEGATIVE)


@torch.no_grad()
def attention_out(model, layer: int, fwd_hooks=()) -> torch.Tensor:
    """Return the attention output of ``layer``."""
    captured = {}

    def keep(value, hook):
        captured["x"] = value.clone()
        return value

    model.run_with_hooks(model.to_tokens(TEXT), fwd_hooks=[*fwd_hooks, (f"blocks.{layer}.hook_attn_out", keep)])
    return captured["x"][0]


def test_head_differences_equal_direct_means(model, vectors):
    name = "blocks.1.attn.hook_z"
    sums = []
    for sentences in (tiny.POSITIVE, tiny.NEGATIVE):
        means = [model.run_with_cache(model.to_tokens(s), names_filter=name)[1][name][0, 1:].mean(0) for s in sentences]
        sums.append(sum(means) / len(means))
    assert vectors.shape == (model.cfg.n_layers, model.cfg.n_heads, model.cfg.d_head)
    assert torch.allclose(vectors[1], sums[0] - sums[1], atol=1e-5)


@pytest.mark.parametrize("norm", [2.5, -2.5])
@pytest.mark.parametrize("head", [(0, 1), (1, 3)])
def test_hooks_add_the_given_norm_at_the_last_position_only(model, vectors, head, norm):
    plain = attention_out(model, head[0])
    change = attention_out(model, head[0], heads.head_hooks(model, vectors, head, norm)) - plain
    assert change[-1].norm().item() == pytest.approx(2.5, rel=1e-3)
    assert change[:-1].abs().max() == 0
    direction = vectors[head] @ model.W_O[head[0], head[1]]
    assert torch.cosine_similarity(change[-1], direction, dim=0).item() == pytest.approx(
        1 if norm > 0 else -1, abs=1e-3
    )


def test_written_norms_and_largest_heads(model, vectors):
    norms = heads.written_norms(model, vectors)
    expected = torch.stack(
        [torch.stack([(vectors[i, j] @ model.W_O[i, j]).norm() for j in range(4)]) for i in range(len(norms))]
    )
    assert torch.allclose(norms, expected, rtol=1e-4)
    largest = heads.largest_heads(model, vectors, 3)
    assert [norms[head].item() for head in largest] == sorted(norms.flatten().tolist(), reverse=True)[:3]
    assert len(heads.largest_heads(model, vectors, 99)) == norms.numel()


def test_try_heads_steers_one_head_at_a_time(tiny_model):
    vectors = heads.head_differences(tiny_model, tiny.POSITIVE, tiny.NEGATIVE)
    norms = {(1, 0): 20.0, (0, 2): 10.0, (1, 3): 20.0}
    found = heads.try_heads(tiny_model, vectors, norms, tiny.PROMPTS, max_new_tokens=6)
    assert list(found) == list(norms)
    assert all([point.coefficient for point in found[head].points] == [-norm, 0, norm] for head, norm in norms.items())
    for head, norm in norms.items():  # the same in one batch or alone
        alone = heads.try_heads(tiny_model, vectors, {head: norm}, tiny.PROMPTS, max_new_tokens=6)[head]
        assert [c.token_ids for p in alone.points for c in p.completions] == [
            c.token_ids for p in found[head].points for c in p.completions
        ]
    flipped = heads.try_heads(tiny_model, -vectors, norms, tiny.PROMPTS, max_new_tokens=6)
    shifts = {head: found[head].shift(norm) for head, norm in norms.items()}
    assert any(shifts.values()) and all(flipped[head].shift(norms[head]) == -shift for head, shift in shifts.items())
