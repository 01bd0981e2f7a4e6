"""Lines of text from the repository, the hub or a file."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from functools import lru_cache
from pathlib import Path

WRITTEN = Path(__file__).parent / "written.jsonl.gz"
MARK = "\ufeff"  # byte-order mark; inside a file where two files were joined
# UTF-32's little-endian mark begins with UTF-16's.
ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


class TextError(ValueError):
    """A text that is unavailable or invalid; the message says what to do."""


def lines(source: str | Path = "written", n: int | None = None, split: str = "train") -> list[str]:
    """Return the non-blank lines of a text, in their original order, without byte-order marks.

    Args:
        source: ``"written"`` (documents written by smollm2, with wrong facts; in the repository),
            ``"wikitext"`` (WikiText-2 raw, from the Hugging Face hub), or the path of a text file in UTF-8, or in
            UTF-16 or UTF-32 with a byte-order mark.
        n: maximum number of lines; ``None`` for all.
        split: the split of WikiText: ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        TextError: an unknown source, a file without text or in another encoding, or an unreachable hub.
    """
    if n is not None and n < 1:
        raise TextError(f"n={n}: ask for at least one line.")
    if str(source) == "written":
        result = [line for document in documents() for line in document["text"].split("\n")]
    elif str(source) == "wikitext":
        result = _wikitext(split)
    else:
        result = _file(Path(source).expanduser())
    result = [line.lstrip(MARK) for line in result if not is_blank(line)]
    if not result:
        raise TextError(f"{str(source)!r} has no line with text: choose another source.")
    return result[:n]


def is_blank(line: str) -> bool:
    """Return whether a line shows nothing: it has only white space, control characters or byte-order marks."""
    return not any(character.isprintable() or "\ud800" <= character <= "\udfff" for character in line.replace(" ", ""))


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
        raise TextError(
            f"There is no text file {str(path)!r}: choose 'written', 'wikitext' or a file's path (HOMEWORK_TEXT)."
        )
    data = path.read_bytes()
    encoding = next((name for mark, name in ENCODINGS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError(
            f"{str(path)!r} isn't {encoding.upper()} (byte {error.start} is {data[error.start]:#04x}). If it is a text "
            f"from Windows, convert it with: iconv -f cp1252 -t utf-8 {path.name} > new.txt"
        ) from error
    if "\0" in text:
        raise TextError(
            f"{str(path)!r} holds NUL characters, so it isn't a text in UTF-8. If it is a text in UTF-16, convert it "
            f"with: iconv -f utf-16le -t utf-8 {path.name} > new.txt"
        )
    return re.split(r"\r\n|\r|\n", text)
