"""Harvesting: values match single lines, BOS is excluded, padding has no effect, sinks are marked."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from helpers import caching, data, harvest
from helpers.caching import Activations, HarvestError, harvesting
from helpers.hooks import HookError
from tests import tiny
from tests.conftest import hooks_left

NAME = "blocks.1.hook_resid_pre"
LINES = [*tiny.documents(12, seed=5), "my", "the food was great .", "on monday we saw a film ."]


@pytest.fixture(params=["tiny_model", "llama", "gpt2"])
def model(request):
    return request.getfixturevalue(request.param)


def cut(lines, model):
    return [model.tokenizer.decode(model.to_tokens(line)[0, 1:45]).strip() for line in lines]


@pytest.mark.parametrize("batch_tokens", [60, 2048])
def test_batches_equal_one_line_at_a_time(model, monkeypatch, batch_tokens):
    monkeypatch.setattr("helpers.caching.harvesting.BATCH_TOKENS", batch_tokens)
    lines = cut(LINES, model)
    found = harvest(model, lines, NAME, progress=False)
    values, text_ids, positions, token_ids = [], [], [], []
    for i, line in enumerate(lines):
        tokens = model.to_tokens(line)
        with torch.no_grad():
            _, cache = model.run_with_cache(tokens, names_filter=NAME)
        values.append(cache[NAME][0, 1:])
        text_ids += [i] * (tokens.shape[1] - 1)
        positions += range(1, tokens.shape[1])
        token_ids += tokens[0, 1:].tolist()
    assert torch.allclose(found.values, torch.cat(values), atol=1e-4)
    assert found.text_ids.tolist() == text_ids
    assert found.positions.tolist() == positions
    assert found.token_ids.tolist() == token_ids
    assert found.hook_name == NAME and len(found) == len(text_ids)
    assert found.values.dtype == torch.float32 and not found.values.requires_grad


@pytest.mark.parametrize("batch_tokens", [200, 2048])
def test_batches_equal_one_line_at_a_time_on_smollm2(smollm2_fp32, monkeypatch, batch_tokens):
    monkeypatch.setattr("helpers.caching.harvesting.BATCH_TOKENS", batch_tokens)
    lines, name = [*data.TRIAL_PROMPTS[:6], data.lines("written", n=40)[-1][:600]], "blocks.15.hook_resid_pre"
    found = harvest(smollm2_fp32, lines, name, progress=False)
    for i, line in enumerate(lines):
        with torch.no_grad():
            _, cache = smollm2_fp32.run_with_cache(smollm2_fp32.to_tokens(line), names_filter=name)
        expected = cache[name][0, 1:]
        assert (found.values[found.text_ids == i] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_bos_is_excluded(tiny_model):
    found = harvest(tiny_model, ["the food", "my"], NAME, progress=False)
    assert len(found) == 3 and tiny_model.tokenizer.bos_token_id not in found.token_ids.tolist()
    assert found.positions.tolist() == [1, 2, 1]


def test_other_lines_in_the_batch_make_no_difference(model):
    short, long = "the food was great .", cut([tiny.documents(1, seed=9)[0]], model)[0]
    alone = harvest(model, [short], NAME, progress=False)
    padded = harvest(model, [long, short], NAME, progress=False)
    assert torch.allclose(padded.values[padded.text_ids == 1], alone.values, atol=1e-4)


def test_several_hook_points_need_one_forward_pass(tiny_model, monkeypatch):
    names = ["blocks.1.hook_resid_post", "blocks.0.hook_resid_pre", NAME]
    lines = cut(LINES[:4], tiny_model)
    apart = {name: harvest(tiny_model, lines, name, progress=False) for name in names}
    runs = []
    original = harvesting.read_batch
    monkeypatch.setattr("helpers.caching.harvesting.read_batch", lambda *args: runs.append(1) or original(*args))
    together = harvest(tiny_model, lines, names, progress=False)
    assert list(together) == names and len(runs) == 1
    for name in names:
        assert torch.allclose(together[name].values, apart[name].values, atol=1e-6)
        assert together[name].hook_name == name
    assert not torch.allclose(together[names[0]].values, together[names[1]].values)


def test_the_model_stops_after_the_last_hook_point(llama):
    seen = []
    handle = llama.original_model.model.layers[2].register_forward_pre_hook(lambda *_: seen.append(1))
    try:
        harvest(llama, ["the food"], NAME, progress=False)
        assert not seen
        harvest(llama, ["the food"], "blocks.2.hook_resid_post", progress=False)
        assert seen
    finally:
        handle.remove()


def test_all_hooks_are_removed(tiny_model):
    before = hooks_left(tiny_model)
    harvest(tiny_model, ["the food"], NAME, progress=False)
    with pytest.raises(HookError):
        harvest(tiny_model, ["the food"], "blocks.0.attn.hook_z", progress=False)
    assert hooks_left(tiny_model) == before


def test_max_tokens_stops_after_the_line_that_reaches_it(tiny_model):
    lines = ["the food was", "my room is good", "i love it", "the soup"]
    whole = harvest(tiny_model, lines, NAME, progress=False)
    for asked, kept in ((1, 1), (3, 1), (4, 2), (7, 2), (8, 3), (100, 4)):
        found = harvest(tiny_model, lines, NAME, max_tokens=asked, progress=False)
        assert int(found.text_ids.max()) + 1 == kept, asked
        assert torch.equal(found.token_ids, whole.token_ids[: len(found)])


def test_long_lines_are_refused_or_cut(tiny_model):
    lines = ["the food", "the food was great . my room is good ."]
    with pytest.raises(HarvestError, match=r"Line 1 has 11 tokens, more than the context of 6.*'cut'"):
        harvest(tiny_model, lines, NAME, context=6, progress=False)
    found = harvest(tiny_model, lines, NAME, context=6, too_long="cut", progress=False)
    whole = harvest(tiny_model, lines, NAME, progress=False)
    assert torch.allclose(found.values, whole.values[:7], atol=1e-5)
    with pytest.raises(HarvestError, match="Line 0 has 101 tokens, more than the context of 96"):
        harvest(tiny_model, [" ".join(["food"] * 100)], NAME, progress=False)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "at least one line"),
        ("the food", "give a list"),
        (["the food", "  "], "Line 1 is '  '"),
        (["the food", None], "Line 1 is None"),
        ([3], "Line 0 is 3"),
    ],
)
def test_bad_lines_are_refused(tiny_model, texts, words):
    with pytest.raises(HarvestError, match=words):
        harvest(tiny_model, texts, NAME, progress=False)


def test_bad_settings_and_hook_points_are_refused(tiny_model):
    with pytest.raises(HarvestError, match=r"'drop'.*'error' or 'cut'"):
        harvest(tiny_model, ["the food"], NAME, too_long="drop", progress=False)
    with pytest.raises(HookError, match=r"blocks\.2\.hook_resid_pre.*0 to 1"):
        harvest(tiny_model, ["the food"], ["blocks.2.hook_resid_pre"], progress=False)
    with pytest.raises(HookError, match="choose a residual stream"):
        harvest(tiny_model, ["the food"], "blocks.0.attn.hook_z", progress=False)


def table(norms, text_ids=None) -> Activations:
    norms = torch.as_tensor(norms, dtype=torch.float32)
    values = torch.zeros(len(norms), 4)
    values[:, 1] = norms
    ids = torch.arange(len(norms)) if text_ids is None else torch.as_tensor(text_ids)
    return Activations(values, ids, ids + 1, ids + 10, caching.mark_sinks(values), "x")


def test_sinks_are_above_five_medians():
    """The limit is strict, and uses the median: a single sink would raise the mean."""
    assert table([1, 1, 1, 5, 5.1, 2, 1]).is_sink.tolist() == [False] * 4 + [True] + [False] * 2
    assert table([2, 2, 2, 2, 10_000, 11]).is_sink.tolist() == [False] * 4 + [True] * 2
    assert not table([0, 0, 0]).is_sink.any()


def test_a_harvested_sink_is_marked(tiny_model):
    with tiny_model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", _scale_up_the_third_token)]):
        found = harvest(tiny_model, LINES[:3], "blocks.1.hook_resid_pre", progress=False)
    assert (found.positions[found.is_sink] == 3).all() and int(found.is_sink.sum()) == 3


def _scale_up_the_third_token(resid, hook):
    resid[:, 3] *= 1000
    return resid


def test_selecting_rows_selects_every_column():
    acts = table([1, 2, 3, 40, 1])
    kept = acts.without_sinks()
    assert kept.values[:, 1].tolist() == [1, 2, 3, 1] and kept.token_ids.tolist() == [10, 11, 12, 14]
    assert not kept.is_sink.any() and kept.hook_name == "x"
    for rows in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False, False])):
        part = acts[rows]
        for field in dataclasses.fields(Activations)[:-1]:
            assert torch.equal(getattr(part, field.name), getattr(acts, field.name)[1:3])


@pytest.mark.parametrize("held_out", [0.1, 0.25, 0.5])
def test_split_holds_out_whole_lines(held_out):
    ids = torch.arange(40).repeat_interleave(torch.arange(40) % 4 + 1)
    acts = table(torch.rand(len(ids)) + 1, ids)
    train, test = acts.split(held_out)
    train_ids, test_ids = set(train.text_ids.tolist()), set(test.text_ids.tolist())
    assert not train_ids & test_ids and train_ids | test_ids == set(range(40))
    assert len(test_ids) == pytest.approx(40 * held_out, abs=1)
    assert len(train) + len(test) == len(acts)


def test_split_puts_no_line_into_both_parts_even_if_it_occurs_twice(tiny_model):
    texts = ["the food was great ." if i % 4 == 1 else f"{tiny.WORDS[i]} was {tiny.WORDS[-i]} ." for i in range(40)]
    texts[29] = texts[3]  # a held-out line that repeats a training line
    texts[9] = "my room is lovely . " * 3  # held out, and so are its repetition and all of its parts
    texts[12] = texts[9]
    rows = harvest(tiny_model, texts, "blocks.1.hook_resid_pre", context=8, too_long="split", progress=False)
    train, test = rows.split(0.1)
    held_out = set(test.text_ids.tolist())
    assert held_out == {9, 12, 19, 39}
    assert not {texts[i] for i in held_out} & {texts[i] for i in train.text_ids.tolist()}


def test_split_needs_enough_lines_and_a_share_of_at_most_half():
    with pytest.raises(HarvestError, match=r"1 lines can.t be split with held_out=0.1.*more lines"):
        table([1, 2, 3], [0, 0, 0]).split()
    for held_out in (0, 1, 0.9, -0.1):
        with pytest.raises(HarvestError, match=r"at most 0\.5"):
            table(torch.ones(40)).split(held_out)
