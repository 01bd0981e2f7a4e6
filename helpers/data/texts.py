"""Lines of text from the repo, from the hub or from a file."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path

WRITTEN = Path(__file__).parent / "written.jsonl.gz"


class TextError(ValueError):
    """Text that was asked for and can't be had; the message says what to do."""


def lines(source: str | Path = "written", n: int | None = None, split: str = "train") -> list[str]:
    """Non-blank lines of text, in the order of the source.

    Args:
        source: ``"written"`` (documents that smollm2 wrote, in the repo; facts in them are wrong),
            ``"wikitext"`` (WikiText-2 raw, from the Hugging Face hub), or a text file in UTF-8.
        n: at most so many lines; ``None`` for all.
        split: which part of WikiText: ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        TextError: a source that is none of these, a file that isn't UTF-8 or has no text, a hub out of reach.
    """
    if n is not None and n < 1:
        raise TextError(f"n={n}: ask for at least one line.")
    if str(source) == "written":
        found = [line for document in documents() for line in document["text"].split("\n")]
    elif str(source) == "wikitext":
        found = _wikitext(split)
    else:
        found = _file(Path(source).expanduser())
    found = [line for line in found if line.strip()]
    if not found:
        raise TextError(f"{str(source)!r} has no line with text in it.")
    return found[:n]


@lru_cache
def documents() -> tuple[dict, ...]:
    """What smollm2 wrote: dicts with ``genre``, ``topic``, ``tone`` (of reviews, else None) and ``text``."""
    with gzip.open(WRITTEN, "rt", encoding="utf-8") as file:
        return tuple(json.loads(line) for line in file)


def _wikitext(split: str) -> list[str]:
    import pyarrow.parquet

    from helpers import hub

    names = [name for name, _ in hub.WIKITEXT.files if f"/{split}-" in name]
    if not names:
        raise TextError(f"WikiText has no split {split!r}: choose 'train', 'validation' or 'test'.")
    try:
        files = hub.fetch(hub.WIKITEXT, names)
        return pyarrow.parquet.read_table(files[names[0]], columns=["text"])["text"].to_pylist()
    except hub.HubError as error:
        raise TextError(f"WikiText-2 can't be had. {error}") from error
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are of these kinds
        raise TextError(
            f"WikiText-2 can't be read ({str(error)[:120]}): delete {files[names[0]]} and run again."
        ) from error


def _file(path: Path) -> list[str]:
    if not path.is_file():
        raise TextError(f"There is no text {str(path)!r}: choose 'written', 'wikitext' or a text file (HOMEWORK_TEXT).")
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{str(path)!r} isn't UTF-8 (byte {error.start} is {error.object[error.start]:#04x}): "
            f"save it as UTF-8, for example with: iconv -f latin1 -t utf-8"
        ) from error
