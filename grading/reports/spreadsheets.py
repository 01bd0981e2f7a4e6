"""Read tables that a spreadsheet program has saved: any of its encodings, delimiters and first lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

# What Excel and LibreOffice save "CSV" as in western Europe and America, on Windows and on a Mac.
WESTERN = ("cp1252", "mac_roman")
# What they save elsewhere. Chosen only if it restores words that the report is known to hold.
OTHER = (
    "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp850", "cp852", "mac_cyrillic",
    "mac_latin2", "mac_greek", "mac_turkish", "gb18030", "cp932", "cp949", "cp950",
)  # fmt: skip
_FOREIGN = re.compile(r"\w*[^\W\x00-\x7f]\w*")
_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]+")
_TYPOGRAPHY = "’‘“”„–—…€£°·×÷±≤≥≠≈«»§µ²³½¼¿¡©®™•→"
_RARE = "šžŠŽŸƒıﬁﬂ"


class MergeError(ValueError):
    """Raised when a report or a table can't be read; the message names every problem."""


def read_table(path: Path, known: Iterable[str] = ()) -> list[list[str]]:
    """Return the rows of cells of a CSV file.

    Args:
        known: texts that the table should hold, such as students' names. They decide between encodings.

    Raises:
        MergeError: its encoding can't be told.
    """
    try:
        text = decode(path.read_bytes(), known)
    except MergeError as error:
        raise MergeError(f"{path.name}: {error}") from None
    lines = text.split("\n", 1)
    if lines[0].strip().strip('"').lower().startswith("sep="):  # Excel's hint
        text = lines[1] if len(lines) > 1 else ""
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = max(",;\t", key=first.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def decode(raw: bytes, known: Iterable[str] = ()) -> str:
    """Return the text of a CSV file in the encoding that it was saved in.

    Raises:
        MergeError: two encodings are equally likely, and give different texts.
    """
    words = {word for text in known for word in _FOREIGN.findall(text)}
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if b"\x00" in raw[:200]:
        return raw.decode("utf-16-le" if raw[1:2] == b"\x00" else "utf-16-be", errors="replace")
    try:
        return _repaired(raw.decode("utf-8-sig"), words)
    except UnicodeDecodeError:
        pass
    texts = {encoding: text for encoding in (*WESTERN, *OTHER) if (text := _decoded(raw, encoding)) is not None}
    if known_most := max(_hits(text, words) for text in texts.values()):
        texts = {encoding: text for encoding, text in texts.items() if _hits(text, words) == known_most}
    western = {encoding: text for encoding, text in texts.items() if encoding in WESTERN}
    texts = western or texts
    if b"\r" in raw and b"\n" not in raw and "mac_roman" in texts:  # only old Mac programs end lines so
        return texts["mac_roman"]
    least = min(_oddness(text) for text in texts.values())
    likely = {text for text in texts.values() if _oddness(text) == least}
    if len(likely) > 1:
        shown = " or ".join(repr(_difference(text, likely)) for text in sorted(likely)[:3])
        raise MergeError(f"its encoding can't be told: is it {shown}? Save it again as CSV in UTF-8.")
    return likely.pop()


def _decoded(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _hits(text: str, words: set[str]) -> int:
    return sum(word in words for word in _FOREIGN.findall(text))


def _repaired(text: str, words: set[str]) -> str:
    """Return the text as it was before a program read UTF-8 as Windows-1252 or Mac Roman and saved it as UTF-8.

    The instructor typed comments after that, so each run of characters is repaired alone.
    """
    candidates = [
        _FOREIGN_RUN.sub(lambda match: _as_utf8(match[0], "cp1252"), text),
        _FOREIGN_RUN.sub(lambda match: _as_utf8(match[0], "mac_roman"), text),
    ]
    best = max(candidates, key=lambda candidate: _hits(candidate, words))
    return best if _hits(best, words) > _hits(text, words) else text


def _as_utf8(shown: str, encoding: str) -> str:
    """Return the characters whose UTF-8 bytes look like this in the encoding, or the text if there are none."""
    try:
        return b"".join(_byte(char, encoding) for char in shown).decode("utf-8")
    except UnicodeError:
        return shown


def _byte(char: str, encoding: str) -> bytes:
    """Return the byte that the encoding shows as this character. Windows leaves five bytes as they are."""
    return char.encode("latin-1") if "\x80" <= char < "\xa0" else char.encode(encoding)


def _oddness(text: str) -> float:
    """Return how many characters are unlikely where they stand. It tells Windows-1252 from Mac Roman."""
    odd = 0.0
    for match in re.finditer(r"[^\x00-\x7f]", text):
        char, before, after = match[0], text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        inside = before.isalpha() and after.isalpha()
        odd += char.isupper() and before.islower()
        odd += 0 if char.isalpha() else 1 if char not in _TYPOGRAPHY or (inside and char != "’") else 0
        odd += 0.5 * (char in _RARE)
        # Windows' quotation marks and dashes are these letters in Mac Roman.
        odd += char in "ìë" and not before.isalpha()
        odd += char == "î" and not after.isalpha()
        odd += char in "ñïÖ" and not before.isalpha() and not after.isalpha()
        odd += char == "í" and bool(re.match(r"(?:s|t|d|m|re|ll|ve)\b", text[match.end() : match.end() + 3]))
    return odd


def _difference(text: str, likely: Iterable[str]) -> str:
    """Return the first word in which the texts differ."""
    at = next((i for i, chars in enumerate(zip(*likely, strict=False)) if len(set(chars)) > 1), 0)
    start = max(text.rfind(char, 0, at) for char in ' ,;\t\n"') + 1
    return re.split(r"[ ,;\t\r\n\"]", text[start : start + 40])[0]


def write_rows(rows: Sequence[Sequence]) -> str:
    """Return the rows as CSV."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
