"""All latents of an SAE in one HTML file that works offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from helpers.latents.contexts import Context, LatentError
from helpers.latents.latent_pages import Page


def write_dashboard(path: str | Path, all_pages: Sequence[Page], n_tokens: int) -> Path:
    """Write one self-contained HTML file with search, sorting, keyboard control and coloured tokens.

    Args:
        all_pages: the result of :func:`helpers.latents.pages`.
        n_tokens: number of tokens the pages were made from, as shown in the text.

    Raises:
        LatentError: there are no pages.
    """
    if not all_pages:
        raise LatentError("There are no latents to show: give at least one page.")
    vocabulary: dict[str, int] = {}
    data = {"n": n_tokens, "pages": [_packed(page, vocabulary) for page in all_pages]}
    data["tokens"] = list(vocabulary)
    # Escape "<", so that no text can end the script element. JSON reads the escape as the same character.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    template = files("helpers.latents").joinpath("dashboard.html").read_text(encoding="utf-8")
    path = Path(path)
    path.write_text(template.replace("__DATA__", text), encoding="utf-8", errors="replace")
    return path


def _packed(page: Page, vocabulary: dict[str, int]) -> dict:
    """Return a page with numbered tokens and rounded floats, so that thousands of latents fit a few megabytes."""

    def context(each: Context) -> dict:
        numbers = [vocabulary.setdefault(token, len(vocabulary)) for token in each.tokens]
        return {"t": numbers, "a": [round(value, 2) for value in each.activations], "p": each.peak}

    return {
        "latent": page.latent,
        "density": round(page.density, 6),
        "largest": round(page.largest, 3),
        "top": [context(each) for each in page.top],
        "intervals": [
            {
                "low": round(v.low, 2),
                "high": round(v.high, 2),
                "count": v.count,
                "contexts": [context(each) for each in v.contexts],
            }
            for v in page.intervals
        ],
        "histogram": page.histogram,
        "promoted": page.promoted,
        "suppressed": page.suppressed,
        "nearest": [[latent, round(cosine, 2)] for latent, cosine in page.nearest],
        "label": page.label and [page.label[0], round(page.label[1], 3)],
    }
