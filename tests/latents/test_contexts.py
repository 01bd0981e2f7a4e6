"""Contexts, statistics and labels of latents, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers import harvest, latents
from helpers.caching.activations import Activations, mark_sinks
from helpers.data.labels import LABELS, label_texts
from helpers.sae import chunks

LINES = ["the food was great . i love it .", "my room", "on monday we went to the city ."]


@pytest.fixture(scope="module")
def acts(tiny_model):
    return harvest(tiny_model, LINES, "blocks.1.hook_resid_pre", progress=False)


class Positive(nn.Module):
    """Module whose latents are the positive parts of the activations."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def encode(self, x):
        return x.relu()


def table(values, text_ids):
    ids = torch.as_tensor(text_ids)
    return Activations(values, ids, torch.arange(len(ids)), ids, mark_sinks(values))


def test_context_stays_within_its_line(tiny_model, acts):
    latent = torch.arange(len(acts)).float()
    row = (acts.text_ids == 1).nonzero()[0].item()
    found = latents.context(tiny_model, acts, latent, row)
    assert found.tokens == (" my", " room") and found.peak == 0 and found.text_id == 1
    assert found.activations == (row, row + 1)
    assert str(found) == "[ my] room"


def test_context_has_the_requested_number_of_neighbours(tiny_model, acts):
    latent = torch.zeros(len(acts))
    latent[3] = 2.5
    found = latents.context(tiny_model, acts, latent, 3, left=2, right=1)
    assert found.tokens == (" food", " was", " great", " .") and found.activations == (0, 0, 2.5, 0)
    assert str(found) == " food was[ great] ."
    assert latents.context(tiny_model, acts, latent, 0, left=9).peak == 0
    assert latents.context(tiny_model, acts, latent, len(acts) - 1).tokens[-1] == " ."


def test_a_context_is_printed_on_one_line():
    assert str(latents.Context(("a", "\n", "b"), (0.0, 1.0, 0.0), 1, 0)) == "a[↵]b"


@pytest.mark.parametrize("chunk", [3, 4096])
def test_latent_values_have_a_row_per_token(acts, chunk, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    found = latents.latent_values(Positive(), acts, [5, 2, 5])
    assert torch.equal(found, acts.values.relu()[:, [5, 2, 5]])


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 4096])
def test_statistics_exclude_sinks_and_count_each_line_once(chunk, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    values = torch.tensor(
        [
            [1.0, -1, 0, 9],
            [2, -1, 0, 9],
            [-1, -1, 3, 9],
            [5, -1, 0, 9],
            [1, -1, 4, 9],
            [1, -1, 0, 9],
            [500, 500, 500, 9],
        ]
    )
    acts = table(values, [0, 0, 0, 1, 1, 4, 4])
    assert acts.is_sink.tolist() == [False] * 6 + [True]
    found = latents.latent_stats(Positive(), acts)
    assert found.density.tolist() == pytest.approx([5 / 6, 0, 2 / 6, 1])
    assert found.largest.tolist() == [5, 0, 4, 9]
    assert found.lines.tolist() == [3, 0, 2, 3]


def test_promoted_tokens_are_ranked_by_their_logits(tiny_model):
    ids = tiny_model.tokenizer.convert_tokens_to_ids(["Ġgreat", "Ġawful"])
    direction = tiny_model.W_U[:, ids[0]] - tiny_model.W_U[:, ids[1]]
    up, down = latents.promoted_tokens(tiny_model, direction, k=5)
    logits = direction @ tiny_model.W_U
    for named, ranked in ((up, logits.argsort(descending=True)), (down, logits.argsort())):
        assert [word for word, _ in named] == [tiny_model.tokenizer.decode([i]) for i in ranked[:5].tolist()]
        expected = (logits - logits.mean())[ranked[:5]].tolist()
        assert [value for _, value in named] == pytest.approx(expected, rel=1e-4)
    assert " great" in [word for word, _ in up] and " awful" in [word for word, _ in down]


def test_every_token_has_its_labels(tiny_model, acts):
    found = latents.token_labels(tiny_model, acts)
    pieces = [[" " + word for word in line.split()] for line in LINES]
    assert found.names == tuple(LABELS) and found.values.shape == (len(LABELS), len(acts))
    assert torch.equal(found.values, torch.from_numpy(label_texts(pieces)))


def test_each_line_is_labelled_on_its_own(tiny_model):
    """Every line starts a new sentence, even after an unfinished line."""
    lines = ["the food", "the food"]
    acts = harvest(tiny_model, lines, "blocks.0.hook_resid_pre", progress=False)
    values = latents.token_labels(tiny_model, acts).values
    assert torch.equal(values[:, :2], values[:, 2:])


def test_frequent_keeps_labels_of_at_least_so_many_tokens():
    values = torch.zeros(3, 10, dtype=torch.bool)
    values[0, :4], values[1, :2], values[2, :5] = True, True, True
    names, kept = latents.TokenLabels(("a", "b", "c"), values).frequent(4)
    assert names == ["a", "c"] and torch.equal(kept, values[[0, 2]])
