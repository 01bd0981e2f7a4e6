"""The notebooks' figures. Each function draws one figure and returns it.

Coloured text is drawn into figures because GitHub, PDF and READMEs drop styled HTML.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

GOOD, BAD, PLAIN, ACCENT = "#2a7f62", "#b5403a", "#8a8f98", "#3565a8"
SAD, HAPPY = "#f2b8b3", "#b4ddcb"
TONES = LinearSegmentedColormap.from_list("tones", [SAD, "#f7f7f5", HAPPY])
HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#ffb45e"])
MARKERS = ("s", GOOD), ("x", PLAIN), ("d", PLAIN)  # of what was measured on held-out prompts
VALUE_WIDTH = 6  # characters for the value at the end of a context's row


def _axes(width=7.0, height=3.4, columns=1, **kwargs):
    figure, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", **kwargs)
    for ax in np.atleast_1d(axes):
        ax.spines[["top", "right"]].set_visible(False)
    plt.close(figure)  # the notebook displays the returned figure; an open one would be shown twice
    return figure, axes


def coefficient_curve(curve, held_out: dict[str, Any] | None = None, title: str = "sentiment of completions") -> Figure:
    """Draw the shares of positive and negative completions (left) and the perplexity ratio (right) by coefficient.

    The band is the 95% bootstrap interval of the positive share, over prompts.

    Args:
        held_out: curves (−c, 0, +c) of other prompts by name, drawn as points with their 95% intervals.
    """
    figure, (left, right) = _axes(10, 4.4, columns=2)
    coefficients = [point.coefficient for point in curve.points]
    left.plot(coefficients, [p.positive for p in curve.points], "o-", color=GOOD, label="positive (VADER)")
    low, high = zip(*(p.positive_interval for p in curve.points), strict=True)
    left.fill_between(coefficients, low, high, color=GOOD, alpha=0.15, lw=0, label="95% interval over prompts")
    left.plot(coefficients, [p.negative for p in curve.points], "o-", color=BAD, label="negative (VADER)")
    if all(p.judge_positive is not None for p in curve.points):
        left.plot(coefficients, [p.judge_positive for p in curve.points], "--", color=ACCENT, label="positive (judge)")
    for (name, other), (marker, color) in zip((held_out or {}).items(), cycle(MARKERS), strict=False):
        places, shares = zip(*((p.coefficient, p.positive) for p in other.points), strict=True)
        errors = [
            [s - low, high - s]
            for s, (low, high) in zip(shares, (p.positive_interval for p in other.points), strict=True)
        ]
        style: dict[str, Any] = {"fmt": marker, "color": color, "ms": 6, "lw": 1, "capsize": 3}
        left.errorbar(places, shares, np.abs(np.transpose(errors)), label=f"held out: {name}", **style)
        ratios = [p.perplexity / other.at(0).perplexity for p in other.points]
        right.plot(places, ratios, marker, color=color, ms=6)
    left.set(xlabel="coefficient", ylabel="share of completions", ylim=(-0.03, 1.03), title=title)
    left.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    plain = curve.at(0).perplexity
    right.plot(coefficients, [p.perplexity / plain for p in curve.points], "o-", color=ACCENT)
    right.axhline(1, color=PLAIN, lw=0.8)
    right.set(xlabel="coefficient", ylabel="perplexity ratio (steered / unsteered)", title="fluency")
    return figure


def layer_maps(maps: dict[str, Any]) -> Figure:
    """Draw the shift by first layer and size of the push, one heat map per :class:`~helpers.steering.LayerMap`.

    The size of the push is ‖c·v‖ / median residual norm, summed over the layers. The second number in each cell,
    after ×, is the perplexity ratio.
    """
    figure, axes = _axes(10, 1.1 + 0.45 * max(len(m.sizes) for m in maps.values()), columns=len(maps))
    for ax, (title, layer_map) in zip(np.atleast_1d(axes), maps.items(), strict=True):
        shift, fluency = layer_map.shift.T, layer_map.perplexity_ratio.T
        image = ax.imshow(shift, cmap="RdYlGn", vmin=-1, vmax=1, aspect="auto", origin="lower")
        for y, x in np.ndindex(*shift.shape):
            ink = "white" if abs(shift[y, x]) > 0.75 else "black"
            ax.text(x, y, f"{shift[y, x]:+.2f}\n×{fluency[y, x]:.2f}", ha="center", va="center", size=7, color=ink)
        ax.set_xticks(range(len(layer_map.layer_sets)), [str(layers[0]) for layers in layer_map.layer_sets])
        ax.set_yticks(range(len(layer_map.sizes)), [f"{size:g}" for size in layer_map.sizes])
        ax.set(xlabel="first layer", ylabel="size of the push\n(median norms)", title=title)
    figure.colorbar(image, ax=axes, label="shift of the\npositive share", shrink=0.9)
    return figure


def completions(
    rows: dict[str, Sequence], scores: dict[str, Sequence[float]], count: int = 5, width: int = 44
) -> Figure:
    """Draw completions side by side, one column per setting, coloured by sentiment (green positive, red negative).

    Args:
        rows: per column title a list of :class:`~helpers.hooks.Completion`, for the same prompts in each column.
        scores: per column title each completion's sentiment, −1 to 1.
        count: maximum number of completions per column.
        width: characters per line of text.
    """
    titles = list(rows)
    figure, ax = plt.subplots(figsize=(3.1 * len(titles), 1.05 * count + 0.4), layout="constrained")
    plt.close(figure)
    for x, title in enumerate(titles):
        ax.text(x + 0.02, 0.3, _plain(title), weight="bold", size=9, va="center")
        for y, (completion, tone) in enumerate(zip(rows[title][:count], scores[title][:count], strict=True)):
            ax.add_patch(plt.Rectangle((x, y + 0.5), 0.98, 0.95, color=TONES((float(tone) + 1) / 2)))
            prompt = textwrap.wrap(_plain(completion.prompt) + " …", width)
            text = textwrap.wrap("… " + _plain(completion.text).lstrip(), width)[:4]
            lines = prompt + text
            for i, line in enumerate(lines[:5]):
                style: dict[str, Any] = {"color": PLAIN, "style": "italic"} if i < len(prompt) else {"color": "black"}
                ax.text(x + 0.02, y + 0.62 + 0.175 * i, line, size=7.5, va="center", **style)
    ax.set(xlim=(0, len(titles)), ylim=(count + 0.5, 0))
    ax.axis("off")
    return figure


def scatter(
    predictors: dict[str, Sequence[float]], values: Sequence[float], names: Sequence[str], ylabel: str
) -> Figure:
    """Draw ``values`` over each predictor, one panel per predictor, with the points' names beside them."""
    figure, axes = _axes(4.6 * len(predictors), 3.6, columns=len(predictors), sharey=True)
    for ax, (predictor, places) in zip(np.atleast_1d(axes), predictors.items(), strict=True):
        ax.plot(places, values, "o", color=ACCENT)
        for name, x, y in zip(names, places, values, strict=True):
            ax.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
        ax.axhline(0, color=PLAIN, lw=0.8)
        ax.margins(x=0.2)
        ax.set(xlabel=predictor)
    np.atleast_1d(axes)[0].set(ylabel=ylabel)
    return figure


def bars(
    groups: dict[str, float],
    ylabel: str,
    title: str = "",
    baseline: float | None = None,
    intervals: dict[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw named values as bars, with a horizontal line at ``baseline`` and error bars for ``intervals``."""
    figure, ax = _axes(max(4.0, 1.2 * len(groups)), 3)
    errors = None
    if intervals:
        errors = np.abs([[groups[name] - intervals[name][side] for name in groups] for side in (0, 1)])
    style = {"color": ACCENT, "width": 0.6, "ecolor": PLAIN, "capsize": 3}
    drawn = ax.bar(range(len(groups)), list(groups.values()), yerr=errors, **style)
    if intervals:  # above the interval, where no line crosses the number
        for x, (name, value) in enumerate(groups.items()):
            place = (x, max(intervals[name][1], value))
            ax.annotate(f"{value:.2f}", place, xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    else:
        ax.bar_label(drawn, fmt="%.2f", fontsize=8)
    ax.set_xticks(range(len(groups)), [textwrap.fill(name, 14) for name in groups], fontsize=8)
    ax.set(ylabel=ylabel, title=title)
    ax.margins(y=0.12)
    if baseline is not None:
        ax.axhline(baseline, color=PLAIN, lw=0.8)
    return figure


def layer_norms(relative, vectors_norm, title: str = "") -> Figure:
    """Draw per layer the steering vector's norm (left), and its size relative to the residual stream (right)."""
    figure, (left, right) = _axes(10, 3, columns=2)
    left.plot(vectors_norm, "o-", color=ACCENT, ms=3)
    left.set(xlabel="layer", ylabel="‖v‖", title="norm of the steering vector")
    right.plot(relative, "o-", color=ACCENT, ms=3)
    right.set(xlabel="layer", ylabel="‖c·v‖ / median ‖resid‖", title=title, ylim=(0, None))
    return figure


def sinks(norms, is_sink, title: str = "") -> Figure:
    """Draw the sorted residual norms of all tokens, with the attention sinks in another colour."""
    figure, ax = _axes(6, 3.2)
    norms, is_sink = np.asarray(norms), np.asarray(is_sink)
    order = np.argsort(-norms)
    ranks = np.arange(1, len(norms) + 1)
    marked = is_sink[order]
    ax.loglog(ranks[~marked], norms[order][~marked], ".", ms=3, color=ACCENT, label="tokens")
    ax.loglog(ranks[marked], norms[order][marked], ".", ms=6, color=BAD, label=f"{marked.sum()} attention sinks")
    ax.set(xlabel="rank of the token by norm", ylabel="norm of the residual stream", title=title)
    ax.legend(frameon=False)
    return figure


def training(histories: dict[str, Any]) -> Figure:
    """Draw the batches' FVU and L0 during training, one line per run."""
    figure, (left, right) = _axes(10, 3.2, columns=2)
    line_styles = cycle(("-", "-", "--"))  # runs of equal k have the same L0 and would hide each other
    for (name, history), style in zip(histories.items(), line_styles, strict=False):
        left.plot(history.step, history.fvu, label=name)
        right.plot(history.step, history.l0, label=name, ls=style)
    left.set(xlabel="step", ylabel="FVU of the batch", yscale="log", title="unexplained variance")
    right.set(xlabel="step", ylabel="L0 (latents per token)", yscale="log", title="active latents per token")
    right.legend(frameon=False, fontsize=8)
    return figure


def density(densities: dict[str, Any]) -> Figure:
    """Draw histograms of how often latents fire; the legend states the share of dead latents."""
    figure, ax = _axes(7, 3.4)
    found = {name: np.asarray(values) for name, values in densities.items()}
    lowest = min((values[values > 0].min() for values in found.values() if (values > 0).any()), default=0.1)
    bins = np.arange(np.floor(10 * np.log10(lowest)), 1) / 10
    for name, values in found.items():
        alive = np.log10(values[values > 0])
        share = np.full(len(alive), 100 / len(values))
        ax.hist(alive, bins, weights=share, histtype="step", lw=1.5, label=f"{name} ({(values == 0).mean():.0%} dead)")
    ax.set(xlabel="log10 of the share of tokens on which a latent fires", ylabel="share of latents (%)")
    figure.legend(*ax.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper center", ncols=3)
    return figure


def frontier(curves: dict[str, Sequence], alone: dict[str, Any]) -> Figure:
    """Draw FVU against L0; lower left is better.

    Args:
        curves: per architecture its :class:`~helpers.sae.Metrics` at several sparsities, drawn as a line.
        alone: the metrics of single SAEs, drawn as markers.
    """
    figure, ax = _axes(7, 3.6)
    for name, marks in curves.items():
        ax.plot([m.l0 for m in marks], [m.fvu for m in marks], "o-", ms=4, label=name)
    for (name, mark), symbol in zip(alone.items(), cycle("*DsP"), strict=False):
        ax.plot(mark.l0, mark.fvu, symbol, ms=9, label=name)
    ax.set_xscale("log")
    ax.set(xlabel="L0 (active latents per token, log scale)", ylabel="FVU on held-out lines")
    ax.legend(frameon=False, fontsize=8)
    return figure


def label_scores(names: Sequence[str], latents, neurons, title: str = "") -> Figure:
    """Draw per label the F1 of the best latent and of the best raw neuron."""
    figure, ax = _axes(7, 0.19 * len(names) + 0.9)
    latents, neurons = np.asarray(latents), np.asarray(neurons)
    order = np.argsort(latents)
    y = np.arange(len(names))
    ax.hlines(y, neurons[order], latents[order], color="#d5d8dd", lw=2, zorder=0)
    ax.plot(neurons[order], y, "o", color=PLAIN, ms=4, label="best raw neuron")
    ax.plot(latents[order], y, "o", color=ACCENT, ms=4, label="best latent")
    ax.set_yticks(y, [names[i] for i in order], fontsize=7)
    ax.set(xlabel="F1", xlim=(0, 1.02), title=title)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def contexts(groups: dict[str, Sequence], width: int = 92) -> Figure:
    """Draw top contexts as tokens, shaded by activation relative to the group's maximum.

    The peak token is in brackets; its activation stands at the end of the row.
    """
    rows = [(title, context) for title, found in groups.items() for context in [None, *found]]
    strongest = {title: max([1e-9, *(max(each.activations) for each in found)]) for title, found in groups.items()}
    figure, ax = plt.subplots(figsize=(width * 0.08, 0.235 * len(rows) + 0.1))
    plt.close(figure)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.995)
    ax.set(xlim=(0, width), ylim=(len(rows), 0))
    ax.axis("off")
    for y, (title, context) in enumerate(rows):
        if context is None:
            ax.text(0, y + 0.6, _plain(title), weight="bold", size=8.5, va="center")
        else:
            _draw_context(ax, y, context, width - VALUE_WIDTH, strongest[title])
            value = f"{context.activations[context.peak]:.1f}"
            ax.text(width, y + 0.55, value, family="monospace", size=8, ha="right", va="center", color=PLAIN)
    return figure


def _draw_context(ax, y: int, context, width: int, strongest: float) -> None:
    """Draw one context token by token in monospace, one unit per character, with its peak in the middle."""
    tokens = [_plain(token) for token in context.tokens]
    x = width * 0.52 - sum(map(len, tokens[: context.peak]))
    for i, (token, value) in enumerate(zip(tokens, context.activations, strict=True)):
        text = f"[{token}]" if i == context.peak else token
        if x >= 0 and x + len(text) <= width:
            if value > 0:
                ax.add_patch(plt.Rectangle((x, y + 0.05), len(text), 0.9, color=HEAT(0.15 + 0.85 * value / strongest)))
            ax.text(x, y + 0.55, text, family="monospace", size=9.3, va="center")
        x += len(text)


def _plain(text: str) -> str:
    """Return ``text`` on one line, with $ escaped so that matplotlib doesn't read it as mathematics."""
    return text.replace("\n", "↵").replace("\t", " ").replace("$", "\\$")
