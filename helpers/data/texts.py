"""Lines of text from the repository, the hub or a file."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path

WRITTEN = Path(__file__).parent / "written.jsonl.gz"


class TextError(ValueError):
    """A text that is unavailable or invalid; the message says what to do."""


def lines(source: str | Path = "written", n: int | None = None, split: str = "train") -> list[str]:
    """Return the non-blank lines of a text, in their original order.

    Args:
        source: ``"written"`` (documents written by smollm2, with wrong facts; in the repository),
            ``"wikitext"`` (WikiText-2 raw, from the Hugging Face hub), or the path of a UTF-8 text file.
        n: maximum number of lines; ``None`` for all.
        split: the split of WikiText: ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        TextError: an unknown source, a file without text or not in UTF-8, or an unreachable hub.
    """
    if n is not None and n < 1:
        raise TextError(f"n={n}: ask for at least one line.")
    if str(source) == "written":
        result = [line for document in documents() for line in document["text"].split("\n")]
    elif str(source) == "wikitext":
        result = _wikitext(split)
    else:
        result = _file(Path(source).expanduser())
    result = [line for line in result if line.strip()]
    if not result:
        raise TextError(f"{str(source)!r} has no line with text: choose another source.")
    return result[:n]


@lru_cache
def documents() -> tuple[dict, ...]:
    """Return the ``written`` corpus: dicts of ``genre``, ``topic``, ``tone`` (None except for reviews) and ``text``."""
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
        raise TextError(f"WikiText-2 is unavailable. {error}") from error
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors derive from these
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
