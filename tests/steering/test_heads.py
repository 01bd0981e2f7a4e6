"""The single-head baseline: one head adds a vector of the given norm at the last position."""

from __future__ import annotations

import pytest
import torch

from helpers import load_model
from helpers.steering import heads
from tests import families, tiny

TEXT = "on monday we went to the hotel . the food was"


@pytest.fixture(params=["tiny_model", "llama"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory):
    """A norm follows attention."""
    return load_model(families.random_model(tmp_path_factory.mktemp("gemma3"), "gemma3"), device="cpu")


@pytest.fixture(params=["tiny_model", "llama", "gemma3"])
def any_model(request):
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


@torch.no_grad()
def stream_after(model, layer: int, fwd_hooks=()) -> torch.Tensor:
    """Return the residual stream between attention and MLP of ``layer``."""
    name = f"blocks.{layer}.hook_resid_mid"
    captured = {}
    keep = (name, lambda value, hook: captured.update(x=value.clone()))
    model.run_with_hooks(model.to_tokens(TEXT), fwd_hooks=[*fwd_hooks, keep])
    return captured["x"][0]


@pytest.mark.parametrize("norm", [50.0, -2.5])
@pytest.mark.parametrize("head", [(0, 1), (1, 3)])
def test_the_given_norm_arrives_at_the_last_position_only(any_model, head, norm):
    vectors = heads.head_differences(any_model, tiny.POSITIVE, tiny.NEGATIVE)
    plain = stream_after(any_model, head[0])
    change = stream_after(any_model, head[0], heads.head_hooks(any_model, vectors, head, norm)) - plain
    assert change[-1].norm().item() == pytest.approx(abs(norm), rel=1e-3)
    assert change[:-1].abs().max() == 0


@pytest.mark.parametrize("norm", [2.5, -2.5])
@pytest.mark.parametrize("head", [(0, 1), (1, 3)])
def test_hooks_add_what_the_head_itself_would_add(model, vectors, head, norm):
    """Scaling the head's own output by hand gives the same attention output."""
    plain = attention_out(model, head[0])
    change = attention_out(model, head[0], heads.head_hooks(model, vectors, head, norm)) - plain
    length = (vectors[head] @ model.W_O[head[0], head[1]]).norm()

    def by_hand(z, hook):
        z[:, -1, head[1]] += vectors[head] * norm / length
        return z

    expected = attention_out(model, head[0], [(f"blocks.{head[0]}.attn.hook_z", by_hand)]) - plain
    assert torch.allclose(change, expected, atol=1e-3)


def test_a_norm_after_attention_counts_in_what_a_head_writes(gemma3):
    """The norms of gemma3 nearly divide by the RMS: what a head writes differs from its output matrix's product."""
    z = torch.randn(
        gemma3.cfg.n_layers, gemma3.cfg.n_heads, gemma3.cfg.d_head, generator=torch.Generator().manual_seed(0)
    )
    before = torch.einsum("lhd,lhdm->lhm", z, gemma3.W_O.float())
    # All heads together, at a typical token: the norm's gain is that of their sum.
    captured = {}
    names = [f"blocks.1.{name}" for name in ("attn.hook_out", "hook_attn_out")]
    keep = [(name, lambda value, hook, name=name: captured.update({name: value[0, 1:].float()})) for name in names]
    with torch.no_grad(), gemma3.hooks(fwd_hooks=keep):
        gemma3(gemma3.to_tokens(" ".join(tiny.POSITIVE)))
    typical = (captured[names[1]].norm(dim=-1) / captured[names[0]].norm(dim=-1)).median().item()
    ratio = (heads.written_norms(gemma3, z)[1] / before[1].norm(dim=-1)).median().item()
    assert ratio == pytest.approx(typical, rel=0.3) and not 0.8 < ratio < 1.25


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
