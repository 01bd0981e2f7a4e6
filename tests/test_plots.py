"""Every figure is drawn without warnings, whatever text it contains."""

from __future__ import annotations

import io
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from helpers import plots
from helpers.hooks import Completion
from helpers.latents.contexts import Context
from helpers.sae import History, Metrics
from helpers.steering.curves import Curve, Point

NASTY = 'costs $5 or $\\frac{$, "100%" & <b>é à ü</b>\nsecond\tline \\alpha {brace} _under_'


def drawn(figure) -> bytes:
    """Return the figure as PNG; any warning is an error, such as one about a glyph missing from the font."""
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(buffer, format="png", dpi=60)
    assert not plt.get_fignums(), "an open figure would be shown twice"
    return buffer.getvalue()


def texts(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def point(coefficient, judge=None):
    completion = Completion(NASTY, " " + NASTY, (1,), (-1.0,))
    return Point(coefficient, 0.5 + coefficient, 0.4 - coefficient, 0.1, judge, judge, 5.0, (completion,) * 6)


@pytest.mark.parametrize("judge", [None, 0.4])
def test_coefficient_curve(judge):
    curve = Curve(tuple(point(c, judge) for c in (-0.2, 0.0, 0.2)))
    figure = plots.coefficient_curve(curve, {"random": curve}, title="smollm2")
    assert drawn(figure)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert ("positive (judge)" in labels) == (judge is not None) and "held out: random" in labels
    assert [line.get_ydata().tolist() for line in figure.axes[1].lines if len(line.get_ydata()) == 3] == [[1, 1, 1]] * 2
    assert drawn(plots.coefficient_curve(curve))


@pytest.mark.parametrize("text", [NASTY, "", " ", "word " * 200, "$", "pay $\\frac{$ now", "a\n\n\nb", "x" * 500])
def test_completions(text):
    rows = {title: [Completion(text or "p", text, (), ())] * 6 for title in ("c = −0.2", "c = 0", "$c$")}
    figure = plots.completions(
        rows, {title: [-1.0, 1, 0, 0.5, torch.tensor(0.2), np.float32(0.1)] for title in rows}, count=5
    )
    assert drawn(figure)


def test_completions_may_be_fewer_than_count():
    figure = plots.completions({"a": [Completion("My day was", " fine", (), ())] * 2}, {"a": [0.5, -0.5]}, count=5)
    assert drawn(figure) and any("fine" in text for text in texts(figure))


def test_bars():
    figure = plots.bars({"residual, all layers": 0.8, "best head\n(L5, H3)": -0.1}, "shift", "title", baseline=0)
    assert drawn(figure) and "0.80" in texts(figure)
    assert drawn(plots.bars({"one": 0.0}, "y"))
    with_intervals = plots.bars({"one": 0.2}, "y", intervals={"one": (0.1, 0.4)})
    assert drawn(with_intervals) and "0.20" in texts(with_intervals)
    low, high = with_intervals.axes[0].collections[0].get_segments()[0][:, 1]
    assert (round(low, 6), round(high, 6)) == (0.1, 0.4)


def test_scatter_names_each_point():
    figure = plots.scatter({"agreement": [0.1, 0.4], "separation": [2, 3]}, [1, 2], ["tense", "topic"], "nats")
    assert drawn(figure) and texts(figure) == ["tense", "topic"] * 2
    assert [ax.get_xlabel() for ax in figure.axes] == ["agreement", "separation"]


def test_layer_norms():
    assert drawn(plots.layer_norms(torch.rand(30), torch.rand(30), "c = 0.2"))


@pytest.mark.parametrize("some", [True, False])
def test_sinks(some):
    norms = torch.rand(500) + 1
    is_sink = torch.zeros(500, dtype=torch.bool)
    if some:
        norms[::100], is_sink[::100] = 1e4, True
    figure = plots.sinks(norms, is_sink, "layer 15")
    assert drawn(figure)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["tokens", f"{5 * some} attention sinks"]


def test_training():
    history = History()
    for step in (0, 10, 20):
        history.log(step=step, loss=1.0, fvu=1 / (step + 1), l0=32.0, dead_fraction=0.0)
    assert drawn(plots.training({"TopK": history, "ReLU, sum": history}))


def test_density():
    values = torch.rand(1000)
    values[:250] = 0
    figure = plots.density({"mine": values, "all alive": torch.rand(50) + 0.01})
    assert drawn(figure)
    assert "mine (25% dead)" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert all(
        patch.get_xy()[:, 1].max() <= 100 for patch in figure.axes[0].patches
    )  # shares, not counts: dictionaries differ in size


def test_density_of_dead_latents_alone():
    assert drawn(plots.density({"dead": torch.zeros(100)}))


@pytest.mark.parametrize("n", [1, 27])
def test_label_scores(n):
    assert drawn(plots.label_scores([f"label_{i}" for i in range(n)], torch.rand(n), torch.rand(n), "layer 15"))


@pytest.mark.parametrize(
    "token", [" Crow", "$", " $5", "\n", "\t", "", "é", "_x^2", "{", "\\", "%", "$\\frac{$", "long " * 40]
)
def test_contexts(token):
    found = Context((" Jim", token, " said", "\n"), (0.0, 3.5, 1.0, 0.0), 1, 4)
    figure = plots.contexts({f"latent 17: {token.strip()}": [found, found], "latent 3": []})
    assert drawn(figure)
    assert texts(figure).count("latent 3") == 1


def test_contexts_bracket_the_peak():
    figure = plots.contexts({"latent 17": [Context((" Jim", " Crow"), (0.0, 3.5), 1, 4)]})
    assert texts(figure) == ["latent 17", " Jim", "[ Crow]", "3.5"]
    assert drawn(plots.contexts({"never fires": [Context(("a", "b"), (0.0, 0.0), 0, 0)]}))


def test_contexts_are_clipped_to_the_width():
    long = Context(tuple(f" word{i}" for i in range(60)), (1.0,) * 60, 30, 0)
    found = texts(plots.contexts({"latent": [long]}, width=92))
    assert "[ word30]" in found and " word0" not in found and " word59" not in found


@pytest.mark.parametrize("text", ["日本語", "рѣка", "🙂", "עברית"])
def test_glyphs_missing_from_the_font_raise_no_error(text):
    """Models can write any character; a missing glyph is drawn as a box."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plots.completions({text: [Completion(text, text, (), ())]}, {text: [0.0]}).savefig(io.BytesIO(), dpi=40)
        plots.contexts({text: [Context((text, text), (1.0, 0.0), 0, 0)]}).savefig(io.BytesIO(), dpi=40)


def test_frontier():
    marks = [
        Metrics(fvu, l0, 0.0, 0.0, 1.0, torch.ones(3), 10, 0) for fvu, l0 in ((0.4, 8.0), (0.2, 32.0), (0.1, 900.0))
    ]
    figure = plots.frontier({"TopK": marks[:2]}, {"mine": marks[2]})
    drawn(figure)
    (ax,) = figure.axes
    assert [tuple(map(float, line.get_xdata())) for line in ax.lines] == [
        (8.0, 32.0),
        (900.0,),
    ] and ax.get_xscale() == "log"
    assert list(ax.lines[0].get_ydata()) == [0.4, 0.2] and ax.lines[1].get_label() == "mine"
