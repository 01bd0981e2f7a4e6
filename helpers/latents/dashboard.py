"""All latents of an SAE in one HTML file that opens without a network, and a browser for them in the notebook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from helpers.latents.contexts import Context, LatentError
from helpers.latents.latent_pages import Page


def write_dashboard(path: str | Path, all_pages: Sequence[Page], n_tokens: int) -> Path:
    """Write one self-contained HTML file: search, sort, keyboard, tokens coloured by activation.

    Args:
        all_pages: what :func:`helpers.latents.pages` gave.
        n_tokens: how many tokens were looked at, for the text.

    Raises:
        LatentError: no pages.
    """
    if not all_pages:
        raise LatentError("There are no latents to show: give at least one page.")
    vocabulary: dict[str, int] = {}
    data = {"n": n_tokens, "pages": [_packed(page, vocabulary) for page in all_pages]}
    data["tokens"] = list(vocabulary)
    # "<" can't end the script element when it is written as an escape, which JSON reads back as the same character.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    template = files("helpers.latents").joinpath("dashboard.html").read_text(encoding="utf-8")
    path = Path(path)
    path.write_text(template.replace("__DATA__", text), encoding="utf-8", errors="replace")
    return path


def _packed(page: Page, vocabulary: dict[str, int]) -> dict:
    """Tokens as numbers and short floats: thousands of latents stay a few megabytes."""

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
