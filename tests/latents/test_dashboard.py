"""Pages of latents, the HTML dashboard and the notebook's browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import harvest
from helpers.latents.browser import Browser, page_html
from helpers.latents.contexts import Context, LatentError
from helpers.latents.dashboard import write_dashboard
from helpers.latents.encoding import encode_sparse
from helpers.latents.latent_pages import find, pages
from helpers.latents.logit_lens import promoted_tokens
from helpers.latents.token_labels import TokenLabels

HOOK = "blocks.1.hook_resid_pre"


class Chosen(nn.Module):
    """Module with known latents: row i of the activations gets row i of ``table``."""

    def __init__(self, activations, table):
        super().__init__()
        self.W_dec = nn.Parameter(
            torch.randn(table.shape[1], activations.values.shape[1], generator=torch.Generator().manual_seed(0))
        )
        self.known = {tuple(row.tolist()): latents for row, latents in zip(activations.values, table, strict=True)}

    def encode(self, x):
        return torch.stack([self.known[tuple(row.tolist())] for row in x])


@pytest.fixture(scope="module")
def activations(tiny_model):
    lines = [
        "the food was great .",
        "the food was awful .",
        "my room is lovely . the staff was good .",
        "on monday we went to the city .",
    ]
    return harvest(tiny_model, lines, HOOK, progress=False)


def token_rows(tiny_model, activations, word):
    return [i for i, t in enumerate(activations.token_ids.tolist()) if tiny_model.tokenizer.decode([t]).strip() == word]


@pytest.fixture(scope="module")
def table(tiny_model, activations):
    """Latent 0 fires on full stops, 1 on 'great', 2 never, and 3 weakly on everything."""
    found = torch.zeros(len(activations), 4)
    for strength, row in enumerate(token_rows(tiny_model, activations, "."), start=1):
        found[row, 0] = strength
    found[token_rows(tiny_model, activations, "great"), 1] = 2.5
    found[:, 3] = 0.1
    return found


@pytest.fixture(scope="module")
def made(tiny_model, activations, table):
    labels = TokenLabels(("stop", "great"), torch.stack([table[:, 0] > 0, table[:, 1] > 0]))
    return pages(tiny_model, Chosen(activations, table), activations, labels=labels, progress=None)


def test_the_sparse_table_has_all_latents_and_empty_rows_for_sinks(activations, table, monkeypatch):
    monkeypatch.setattr("helpers.sae.chunks.CHUNK", 5)
    sinks = torch.zeros(len(activations), dtype=torch.bool)
    sinks[3] = True
    marked = replace(activations, is_sink=sinks)
    expected = table.clone()
    expected[3] = 0
    assert np.array_equal(encode_sparse(Chosen(activations, table), marked).toarray(), expected.numpy())


def test_top_contexts_are_the_strongest_one_per_line(made, activations):
    stops = made[0].top
    assert all(each.tokens[each.peak].strip() == "." for each in stops)
    peaks = [each.activations[each.peak] for each in stops]
    assert peaks == sorted(peaks, reverse=True) and len({each.text_id for each in stops}) == len(stops) == 4
    assert peaks == [5, 4, 2, 1]  # the third line has two full stops; only the stronger one is shown
    assert "great" in made[1].top[0].tokens[made[1].top[0].peak] and len(made[1].top) == 1


def test_contexts_stay_within_their_line(made, tiny_model, activations):
    for page in made:
        for each in page.top:
            line = activations.token_ids[activations.text_ids == each.text_id].tolist()
            text = [tiny_model.tokenizer.decode([i]) for i in line]
            assert "|".join(each.tokens) in "|".join(text)


def test_a_dead_latent_has_no_contexts(made):
    assert made[2].is_dead and made[2].top == made[2].intervals == made[2].histogram == () and made[2].label is None
    assert "is dead" in page_html(made[2]) and [page.is_dead for page in made] == [False, False, True, False]


def test_density_histogram_intervals_and_label_are_those_of_the_table(made, activations):
    assert made[0].density == pytest.approx(5 / len(activations)) and made[0].largest == 5
    assert sum(made[0].histogram) == 5 and len(made[0].histogram) == 10 and made[0].histogram[-1] == 1
    assert [(v.low, v.high, v.count) for v in made[0].intervals] == [
        (4, 5, 1),
        (3, 4, 1),
        (2, 3, 1),
        (1, 2, 1),
        (0, 1, 1),
    ]
    for interval in made[0].intervals:
        assert all(interval.low < each.activations[each.peak] <= interval.high for each in interval.contexts)
    assert made[0].label == ("stop", 1.0) and made[1].label == ("great", 1.0)
    assert made[3].label[0] == "stop" and made[3].label[1] == pytest.approx(2 * 5 / (len(activations) + 5))


def test_promoted_tokens_equal_those_of_a_single_direction(made, tiny_model, activations, table):
    rows = Chosen(activations, table).W_dec.detach()
    for page in made:
        raised, lowered = promoted_tokens(tiny_model, rows[page.latent], k=6)
        assert page.promoted == tuple(token for token, _ in raised) and page.suppressed == tuple(
            token for token, _ in lowered
        )


def test_nearest_latents_have_the_largest_cosines(made, activations, table):
    rows = nn.functional.normalize(Chosen(activations, table).W_dec.detach(), dim=-1)
    cosines = rows @ rows.T - 2 * torch.eye(4)
    for page in made:
        assert page.nearest[0] == (
            int(cosines[page.latent].argmax()),
            pytest.approx(cosines[page.latent].max().item(), abs=1e-5),
        )
        assert page.latent not in [latent for latent, _ in page.nearest]


def test_special_tokens_have_no_contexts(tiny_model, activations, table):
    ids = activations.token_ids.clone()
    great = int(table[:, 1].argmax())
    ids[great] = tiny_model.tokenizer.eos_token_id
    page = pages(tiny_model, Chosen(activations, table), replace(activations, token_ids=ids), [1], progress=None)[0]
    assert page.top == () and not any(v.contexts for v in page.intervals)


def test_pages_of_chosen_latents_and_bad_choices(tiny_model, activations, table):
    found = pages(tiny_model, Chosen(activations, table), activations, [3, 0], progress=None)
    assert [page.latent for page in found] == [3, 0] and found[0].label is None
    for wrong in ([4], [-1]):
        with pytest.raises(LatentError, match="latents 0 to 3"):
            pages(tiny_model, Chosen(activations, table), activations, wrong, progress=None)
    short = TokenLabels(("x",), torch.zeros(1, 3, dtype=torch.bool))
    with pytest.raises(LatentError, match="3 tokens"):
        pages(tiny_model, Chosen(activations, table), activations, labels=short, progress=None)


def test_find_searches_and_sorts_with_dead_latents_last(made):
    assert [page.latent for page in find(made)] == [3, 0, 1, 2]  # by density, the dead one last
    assert [page.latent for page in find(made, sort="F1 of the best label")] == [0, 1, 3, 2]
    assert [page.latent for page in find(made, sort="largest activation")] == [0, 1, 3, 2]
    assert [page.latent for page in find(made, sort="number")] == [0, 1, 3, 2]
    assert [page.latent for page in find(made, "2")] == [2] and find(made, "17") == []
    assert 1 in [page.latent for page in find(made, " GREAT ")] and find(made, "no such words") == []
    with pytest.raises(LatentError, match="choose one of density"):
        find(made, sort="beauty")


def data_of(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_the_file_is_complete_and_fetches_nothing(made, activations, tmp_path):
    path = write_dashboard(tmp_path / "latents.html", made, len(activations))
    text, data = path.read_text(encoding="utf-8"), data_of(path)
    assert not re.search(r"https?://|src=|@import|url\(", text)  # nothing is fetched
    assert data["n"] == len(activations) and [page["latent"] for page in data["pages"]] == [0, 1, 2, 3]
    first = data["pages"][0]["top"][0]
    assert tuple(data["tokens"][t] for t in first["t"]) == made[0].top[0].tokens and first["p"] == made[0].top[0].peak


HOSTILE = "</script><script>alert(1)</script><b>&\"'\n\ud800"


def test_text_cannot_become_markup(made, tmp_path):
    context = Context((HOSTILE, "x"), (1.0, 0.0), 0, 0)
    page = replace(made[0], top=(context,), promoted=(HOSTILE,), label=(HOSTILE, 0.5))
    path = write_dashboard(tmp_path / "x.html", [page], 3)
    assert (
        path.read_text(encoding="utf-8").count("<script") == 2
        and data_of(path)["pages"][0]["promoted"][0][:9] == "</script>"
    )
    shown = page_html(page)
    assert "<script" not in shown and "<b>" not in shown and "&lt;script&gt;" in shown


def test_the_browser_searches_sorts_and_moves(made):
    browser = Browser(made)
    assert browser.page.latent == 3 and browser.found.value == "4 latents" and browser.place.max == 3
    browser.place.value = 1
    assert browser.page.latent == 0 and "Latent 0" in browser.view.value
    browser.search.value = "great"
    assert browser.place.value == 0 and "great" in browser.view.value
    browser.search.value = "no such words"
    assert browser.page is None and "No latent" in browser.view.value
    browser.search.value, browser.sort.value = "", "number"
    assert browser.page.latent == 0
    assert 'title="5.00"' in browser.view.value  # hovering over a token shows its activation


def test_an_empty_list_of_pages_is_refused(tmp_path):
    with pytest.raises(LatentError, match="at least one page"):
        write_dashboard(tmp_path / "x.html", [], 0)
    with pytest.raises(LatentError, match="at least one page"):
        Browser([])
