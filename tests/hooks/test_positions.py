"""Hooks that edit absolute positions are refused; hooks that edit the last or every position work."""

from __future__ import annotations

import pytest
import torch

from helpers import hooks
from helpers.hooks import HookError
from helpers.hooks.positions import changed_positions, on_rows
from tests.conftest import hooks_left
from tests.hooks.test_generation import PROMPTS

POINT = "blocks.1.hook_resid_pre"


def editing(index, in_place: bool = True):
    """Return a hook that adds to ``value[:, index]``."""

    def edit(value, hook):
        value = value if in_place else value.clone()
        value[:, index] += 1.0
        return None if in_place else value

    return [(POINT, edit)]


LAST = [-1, slice(-1, None)]
ABSOLUTE = [0, 1, 2, slice(0, 1), slice(0, 2), slice(2), [0, 2], -2, slice(-2, None)]
EVERY = [slice(None), slice(1, None)]  # the second excludes BOS


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("past", hooks.PASTS)
@pytest.mark.parametrize("index", ABSOLUTE, ids=str)
def test_absolute_positions_are_refused(model, index, past, in_place):
    before = hooks_left(model)
    with pytest.raises(HookError, match=f"{POINT}.*absolute positions"):
        hooks.generate(model, PROMPTS[0], editing(index, in_place), 3, past)
    assert hooks_left(model) == before


@pytest.mark.parametrize("past", hooks.PASTS)
def test_one_bad_hook_among_several_sets_is_refused(model, past):
    with pytest.raises(HookError, match="absolute positions"):
        hooks.generate_many(model, PROMPTS, [[], editing(-1), editing(1)], 3, past)


def test_a_position_beyond_the_text_is_refused(model):
    with pytest.raises(HookError, match="a position that doesn't exist"):
        hooks.generate(model, PROMPTS[0], editing(20), 3)


@pytest.mark.parametrize("past", hooks.PASTS)
@pytest.mark.parametrize("index", LAST, ids=str)
def test_editing_the_last_position_works(model, index, past):
    text = hooks.generate(model, PROMPTS[0], editing(index), 4, past)
    assert text == hooks.generate(model, PROMPTS[0], editing(-1, in_place=False), 4, past)


@torch.no_grad()
def rerun_everywhere(model, prompt: str, fwd_hooks, new: int) -> list[int]:
    """Rerun the whole text for each token, with hooks that edit many positions; a steered past must equal it."""
    tokens, start = model.to_tokens(prompt), model.to_tokens(prompt).shape[1]
    for _ in range(new):
        chosen = model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, chosen], 1)
    row, end = tokens[0, start:].tolist(), model.tokenizer.eos_token_id
    return row[: row.index(end)] if end in row else row


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("index", EVERY, ids=str)
def test_every_position_needs_a_steered_past(model, index, in_place):
    with pytest.raises(HookError, match=r"every position.*past='steered'"):
        hooks.generate(model, PROMPTS[0], editing(index, in_place), 3)
    row = hooks.generate_many(model, PROMPTS, [editing(index, in_place)], 8, "steered")[0]
    assert [list(c.token_ids) for c in row] == [rerun_everywhere(model, p, editing(index), 8) for p in PROMPTS]


@pytest.mark.parametrize("in_place", [True, False])
def test_everywhere_edits_all_but_bos(model, in_place):
    everywhere = hooks.everywhere(editing(-1, in_place))
    row = hooks.generate_many(model, PROMPTS, [everywhere], 8, "steered")[0]
    assert [list(c.token_ids) for c in row] == [rerun_everywhere(model, p, editing(slice(1, None)), 8) for p in PROMPTS]


@pytest.mark.parametrize("past", hooks.PASTS)
def test_a_hook_that_edits_by_content_or_not_at_all_works(model, past):
    """A hook may switch latents off wherever they fire, or only read."""

    def by_content(value, hook):
        newest = value[:, -1]
        newest[newest[:, 0] > 0] *= 0.5

    for function in (by_content, lambda value, hook: None, lambda value, hook: value + 0.0):
        hooks.generate_many(model, PROMPTS, [[(POINT, function)]], 3, past)


def test_editing_every_position_by_content_works_with_a_steered_past(model):
    def by_content(value, hook):
        return torch.where(value[..., :1] > 0, value * 0.5, value)

    hooks.generate_many(model, PROMPTS, [[(POINT, by_content)]], 3, "steered")


def test_a_value_of_another_shape_is_refused(model):
    with pytest.raises(HookError, match=r"returned .*: return the whole value"):
        hooks.generate(model, PROMPTS[0], [(POINT, lambda value, hook: value[:, -1:])], 2)


def test_each_function_is_called_once_per_step(model):
    """A function that counts its calls must see one call per step."""
    calls = []
    hooks.generate(model, PROMPTS[0], [(POINT, lambda value, hook: calls.append(value.shape[1]))], 3)
    assert len(calls) == 3 and calls[1:] == [1, 1]


def test_hooks_on_attention_patterns_are_not_checked(model):
    seen = []
    hooks.generate(model, PROMPTS[0], [("blocks.1.attn.hook_pattern", lambda value, hook: seen.append(value.shape))], 2)
    length = model.to_tokens(PROMPTS[0]).shape[1]
    assert [shape[2:] for shape in seen] == [(1, length), (1, length + 1)]


def test_changed_positions_treats_nan_as_equal():
    before = torch.zeros(2, 3, 4)
    before[0, 2, 1] = torch.nan
    after = before.clone()
    after[1, 0, 3] = 1
    assert changed_positions(before, after).tolist() == [[False, False, False], [True, False, False]]


def test_a_hook_that_writes_in_place_changes_a_copy():
    """The tensor that others may still hold stays the same."""

    def write(value, hook):
        value += 1

    held = torch.zeros(3, 2, 4)
    edited = on_rows([(slice(1, 2), write)])(held, None)
    assert not held.any() and edited[1].eq(1).all() and not edited[[0, 2]].any()
