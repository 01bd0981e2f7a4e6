"""A browser for latents in the notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import display

from helpers.latents.contexts import Context, LatentError
from helpers.latents.latent_pages import SORTS, Page, find


class Browser:
    """Widget that shows one latent at a time: search, sort, and a slider that arrow keys move."""

    def __init__(self, all_pages: Sequence[Page]):
        if not all_pages:
            raise LatentError("There are no latents to show: give at least one page.")
        self.all_pages = list(all_pages)
        self.search = widgets.Text(description="search", placeholder="number, label or token", continuous_update=False)
        self.sort = widgets.Dropdown(options=list(SORTS), description="sort by")
        self.place = widgets.IntSlider(description="latent", min=0, max=0, readout=False, layout={"width": "520px"})
        self.found = widgets.Label()
        self.view = widgets.HTML()
        self.box = widgets.VBox([widgets.HBox([self.search, self.sort, self.found]), self.place, self.view])
        self.search.observe(lambda _: self._look(), names="value")
        self.sort.observe(lambda _: self._look(), names="value")
        self.place.observe(lambda _: self._draw(), names="value")
        self._look()

    def show(self) -> None:
        """Display the widget."""
        display(self.box)

    @property
    def page(self) -> Page | None:
        """The page that is shown; None if nothing matches."""
        return self.pages[self.place.value] if self.pages else None

    def _look(self) -> None:
        self.pages = find(self.all_pages, self.search.value, self.sort.value)
        self.found.value = f"{len(self.pages)} latents"
        self.place.value = 0
        self.place.max = max(0, len(self.pages) - 1)
        self._draw()

    def _draw(self) -> None:
        self.view.value = "<p>No latent matches.</p>" if self.page is None else page_html(self.page)


def page_html(page: Page) -> str:
    """Return one latent as HTML without scripts; all text is escaped."""
    parts = [f"<h3>Latent {page.latent}{' is dead' if page.is_dead else ''}</h3>"]
    if page.is_dead:
        parts.append("<p>It doesn't fire on any of these tokens, so it has no contexts.</p>")
    else:
        label = f"; best label: {html.escape(page.label[0])}, F1 {page.label[1]:.2f}" if page.label else ""
        parts.append(f"<p>fires on {page.density:.2%} of tokens; largest activation {page.largest:.2f}{label}</p>")
        parts += [context_html(each, page.largest) for each in page.top]
        for each in page.intervals:
            parts.append(f"<p>{each.low:.2f} to {each.high:.2f}: {each.count} tokens</p>")
            parts += [context_html(context, page.largest) for context in each.contexts]
    for title, words in (("promotes", page.promoted), ("suppresses", page.suppressed)):
        parts.append(f"<p>{title}: {html.escape(' · '.join(map(repr, words)))}</p>")
    parts.append("<p>nearest: " + ", ".join(f"{latent} ({cosine:.2f})" for latent, cosine in page.nearest) + "</p>")
    return "\n".join(parts)


def context_html(context: Context, largest: float) -> str:
    """Return tokens coloured by activation as HTML; hovering over a token shows the value."""
    spans = []
    for i, (token, value) in enumerate(zip(context.tokens, context.activations, strict=True)):
        colour = f"background:rgba(255,150,40,{min(1.0, 0.15 + 0.85 * value / largest):.2f});" if value > 0 else ""
        weight = "font-weight:700;text-decoration:underline;" if i == context.peak else ""
        spans.append(
            f'<span style="{colour}{weight}" title="{value:.2f}">{html.escape(token).replace(chr(10), "↵")}</span>'
        )
    return f'<div style="font-family:monospace;white-space:pre-wrap">{"".join(spans)}</div>'
