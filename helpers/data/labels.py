"""Rule-based token labels for English text: the ground truth for what an SAE latent means.

A latent has a clear meaning if it fires on the tokens of one label. Labels need no model and no annotator: each
is a word list or a regular expression over the joined text. Every token that overlaps a match gets the label.
All tokens of a split word share its labels, except "continuation of a word". The rules handle ordinary text with
markdown headings as well as WikiText's tokenised markup (" = = Life = = ", "red @-@ tipped", "20 @,@ 000", "don 't").

The two parts of a contraction are separate words ("she's": pronoun and present of "to be"). But the whole of
"isn't" is a negation, because tokenisers split inside its "n't".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from helpers.data.wordlists import NAMES_WITH_CAPITAL, NEEDS_CAPITAL, NOT_ED, NOT_ING, WORDS

Span = tuple[str, int, int]  # label, first character, one past the last character

_MONTHS = "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
_NUMBERS = "|".join(sorted(WORDS["number word"]))

# One pattern per label. If a pattern has a group, only matches that fill it count, and the group is the span.
_PATTERNS = {
    "digit": r"[0-9]+",
    # Not an amount of money or part of "1,999", "3.1415" or "1 @,@ 999"; the digits of "1990s" count.
    "year": r"(?<![^\W_])(?<![$£€#])(?<!\d[.,])(?<!\d @[.,]@ )(?:1\d|20)\d\d(?=s?\b)(?!(?:[.,]| @[.,]@ )\d)",
    "ordinal": r"\b\d+(?:st|nd|rd|th)\b",
    "month": rf"\bAugust\b|\b(?:{_MONTHS})\b(?=\.?\s?\d)|(?<=\d )(?:{_MONTHS})\b",
    "bracket": r"[()\[\]{}]",
    "comma": r"(?<![\d@]),|,(?![\d@])",
    # A hyphen at the start of a line is a bullet or a rule; the first alternative consumes it.
    "hyphen or dash": r"^[ \t]*-+(?=\s)|(@[-–—]@|[-‐-―−])",
    # `in` counts only before a bracket, stop or comma: "24 in )" is a length, "1999 in Paris" is not.
    "unit of measure": (
        r"\d\s?(km/h|km²|km|cm|mm|m|kg|mg|g|lbs?|ft|in(?=\s?[).,])|mi|ha|oz|m[lL]|[lL]|mph|kW|MW|[kMG]?Hz|°\s?[CF]|%)"
        r"(?!\w)"
    ),
}
# These two words are units only in some contexts.
_FOOT = rf"(?i:(?:\d|\b(?:{_NUMBERS}))(?:[ -]| @-@ )(feet|foot)\b)"
_SECOND = (
    r"(?i:(?:\b(?:per|half a|one|1)\s|\bsplit[ -])(second)\b(?![- ]*[@-])|"
    r"\ba\s(second)\b(?=\s(?:later|ago|before|after|or)\b|\s?[.,;!?]))"
)
# Not looked up in the lists: "10 am", "No. 5", "World War I", "May 5" at the start of a sentence, "U.S.", "a.m."
_NUMERAL_BEFORE = "|".join(f"(?<={w} )" for w in "War Part Act Book Chapter Volume Type Class Phase Elizabeth".split())
_NUMERAL_BEFORE += "|" + "|".join(f"(?<={k} )" for k in "Charles James George Richard Henry Edward William".split())
_NO_LIST = rf"(?<=\d)\s?am\b|\bNo\.?(?=\s\d)|(?:{_NUMERAL_BEFORE})I\b|\bMay(?=\s\d|\s?,)|\b(?:[A-Za-z]\.){{2,}}"

_STOP = re.compile(r"(?<![.!?…])[.!?…]++(?=[\"'”’»)\]*_]*+(?:\s|$))")
_GAP = re.compile(r"[^\w\n]{0,40}")
_NO_LETTER = r"(?:[^\w\n<]|<(?!unk>)|_){0,40}"
_FIRST_WORD = re.compile(
    rf"{_NO_LETTER}(?:\d{{1,2}}[.)]\s+)?{_NO_LETTER}(<unk>|[^\W_]+(?:['’](?!(?:s|m|re|ve|ll|d)\b)[^\W_]+)*)"
)
_LIST_MARK = re.compile(r"(?:^\s*|(?<!No)[.!?:]\s+)\d{1,2}$", re.M)
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Gen|Col|Lt|Sgt|Capt|Cmdr|Adm|Rev|Hon|Sen|Rep|Gov|Mt|Ft|vs|cf|ca|No|Vol|Fig|[A-HJ-Z]|"
    rf"[A-Za-z]\.[A-Za-z]|{_MONTHS})$"
)
_HEADINGS = (
    re.compile(r"^[ \t]*(=(?: ?=)*+)[ \t]+(\S[^\n]*?)[ \t]+(=(?: ?=)*+)[ \t]*$", re.M),
    re.compile(r"^[ \t]*(#{1,6})[ \t]+(\S[^\n]*?)[ \t]*(#*)[ \t]*$", re.M),
    re.compile(r"^[ \t]*(\*\*|__)([^*\n]+)(\*\*|__):?[ \t]*$", re.M),
)
_DOUBLE_QUOTE = re.compile(r"[\"“”„«»]|``|''")
# A pair of single quotes. The quoted text may contain apostrophes; 's, 'em and '90s don't open a pair.
_SINGLE_QUOTES = re.compile(
    r"(?<!\w)(['‘])(?!(?:s|t|m|re|ve|ll|d|em|n|tis|twas|cause|til)\b|\d\ds)(?=\S)"
    r"(?:[^'’\n]|(?<=\w)['’](?=\w)){1,200}(['’])(?!\w)"
)
_MAY_OR_MARCH = re.compile(r"\b(?:May|March)\b")
_DATE_FOLLOWS = re.compile(r"\s\d|\s?,")

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*(?: ['’](?:s|t|m|re|ve|ll|d)\b)?")
_CONTRACTION = re.compile(r"(.+?)(n ?'t| ?'(?:s|m|re|ve|ll|d))")
_CUT_VERBS = {"ca": "can", "wo": "will", "sha": "shall"}  # the stems of can't, won't and shan't
_S_IS_A_VERB = frozenset("it he she that this there here what who where how when why everything nothing".split())

LABELS: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *_PATTERNS,
            *WORDS,
            "capitalised word inside a sentence",
            "first word of a sentence",
            "end of a sentence",
            "quote",
            "heading mark",
            "heading text",
            "continuation of a word",
            "possessive 's",
            "-ed word",
            "-ing word",
        ]
    )
)
_ROW = {label: row for row, label in enumerate(LABELS)}
_COMPILED = [(label, re.compile(pattern, re.M)) for label, pattern in _PATTERNS.items()]
_UNIT_WORDS = [re.compile(_FOOT), re.compile(_SECOND)]
_NO_LIST_RE = re.compile(_NO_LIST)
_LISTS_OF: dict[str, list[str]] = {}
for _label, _list in WORDS.items():
    for _word in _list:
        _LISTS_OF.setdefault(_word, []).append(_label)


def label_tokens(pieces: Sequence[str]) -> Bool[np.ndarray, "n_labels n_tokens"]:
    """Return which of `LABELS` each token of one line has.

    Args:
        pieces: the string of each token with its spaces, such as " Royal" and "ing"; "".join(pieces) is the line.
            A character that the tokeniser split into bytes decodes to "�" and matches no rule.

    Returns:
        Rows in the order of `LABELS`, columns in the order of `pieces`; [n_labels, 0] for an empty list.

    Raises:
        TypeError: `pieces` is a single string, or contains something that isn't a string.
    """
    _refuse_non_strings(pieces)
    text = "".join(pieces)
    lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
    ends = np.cumsum(lengths)
    marks = _tokens_under(list(_spans(text)), ends - lengths, ends)
    marks[_ROW["continuation of a word"]] = _continues(text, ends - lengths)
    return marks & (lengths > 0)


def label_texts(pieces_per_line: Sequence[Sequence[str]]) -> Bool[np.ndarray, "n_labels total_tokens"]:
    """Return `label_tokens` of all lines, concatenated; no rule looks across lines. Raises as `label_tokens`."""
    return np.concatenate([np.zeros((len(LABELS), 0), dtype=bool), *map(label_tokens, pieces_per_line)], axis=1)


def _refuse_non_strings(pieces: Sequence[str]) -> None:
    if isinstance(pieces, str):
        raise TypeError(f"pieces is the string {pieces[:40]!r}; give a list with the string of each token.")
    for place, piece in enumerate(pieces):
        if not isinstance(piece, str):
            kind = type(piece).__name__
            raise TypeError(f"Piece {place} is {piece!r} of type {kind}, not a string; decode token ids to text first.")


def _tokens_under(spans: list[Span], starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Mark all tokens that overlap a span, by a running sum: +1 at its first token, -1 after its last."""
    steps = np.zeros((len(LABELS), len(starts) + 1), dtype=np.int32)
    if spans and len(starts):
        rows = np.array([_ROW[label] for label, _, _ in spans])
        np.add.at(steps, (rows, np.searchsorted(ends, [s for _, s, _ in spans], side="right")), 1)
        np.add.at(steps, (rows, np.searchsorted(starts, [e for _, _, e in spans], side="left")), -1)
    return steps[:, :-1].cumsum(axis=1) > 0


def _continues(text: str, starts: np.ndarray) -> list[bool]:
    """Return for each token whether letters stand on both sides of its start."""
    return [0 < s < len(text) and text[s - 1].isalpha() and text[s].isalpha() for s in starts.tolist()]


def _spans(text: str) -> Iterator[Span]:
    """Yield the spans of all labels except "continuation of a word", which depends on the tokens."""
    for label, pattern in _COMPILED:
        for start, end in _matches(pattern, text):
            yield label, start, end
    firsts, stops = _sentences(text)
    for label, places in (("first word of a sentence", firsts), ("end of a sentence", stops)):
        for start, end in places:
            yield label, start, end
    opening = {start for start, _ in firsts}
    yield from _quotes(text)
    yield from _headings(text)
    yield from _capital_months(text, opening)
    yield from _words(text, opening)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        if pattern.groups == 0:
            yield match.span()
        elif match.lastindex:
            yield match.span(match.lastindex)


def _sentences(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the spans of the sentences' first words, and of the marks that end a sentence."""
    stops = [match.span() for match in _STOP.finditer(text) if _ends_sentence(text, *match.span())]
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    firsts = (_FIRST_WORD.match(text, place) for place in [*lines, *(end for _, end in stops)])
    return sorted({match.span(1) for match in firsts if match}), stops


def _ends_sentence(text: str, start: int, end: int) -> bool:
    gap = _GAP.match(text, end)
    follows = gap.end() if gap else end
    if follows == len(text) or text[follows] == "\n":
        return True
    if _LIST_MARK.search(text, max(0, start - 8), start):  # "2." in "Wash it. 2. Cook it."
        return False
    if text[start:end] != ".":
        return not text[follows].islower()
    if text[start - 1 : start] == " ":  # in tokenised text only a stop that ends a sentence has a space before it
        return True
    return not text[follows].islower() and not _ABBREVIATION.search(text, max(0, start - 8), start)


def _quotes(text: str) -> Iterator[Span]:
    for match in _DOUBLE_QUOTE.finditer(text):
        yield "quote", *match.span()
    for match in _SINGLE_QUOTES.finditer(text):
        yield "quote", *match.span(1)
        yield "quote", *match.span(2)


def _headings(text: str) -> Iterator[Span]:
    for pattern in _HEADINGS:
        for match in pattern.finditer(text):
            yield "heading mark", *match.span(1)
            yield "heading text", *match.span(2)
            if match.group(3):
                yield "heading mark", *match.span(3)


def _capital_months(text: str, opening: set[int]) -> Iterator[Span]:
    """Yield May and March; at the start of a sentence, where all words are capitalised, only before a date."""
    for match in _MAY_OR_MARCH.finditer(text):
        if match.start() not in opening or _DATE_FOLLOWS.match(text, match.end()):
            yield "month", *match.span()


def _words(text: str, opening: set[int]) -> Iterator[Span]:
    taken = {match.end() - len(match[0].lstrip()): match.end() for match in _NO_LIST_RE.finditer(text)}
    for pattern in _UNIT_WORDS:
        for start, end in _matches(pattern, text):
            taken[start] = end
            yield "unit of measure", start, end
    free_from = 0
    for match in _WORD.finditer(text):
        start = match.start()
        free_from = max(free_from, taken.get(start, 0))
        if start >= free_from:
            capital_inside = match[0][0].isupper() and start not in opening
            for label, first, last in _word_labels(match[0], capital_inside):
                yield label, start + first, start + last


@lru_cache(maxsize=100_000)
def _word_labels(word: str, capital_inside: bool) -> tuple[Span, ...]:
    """Return the label spans of one word or contraction, relative to its first letter."""
    lower = word.lower().replace("’", "'")
    if len(lower) != len(word):  # letters such as İ lengthen in lower case; no English word has one
        return ()
    split = _CONTRACTION.fullmatch(lower)
    base, ending = split.groups() if split else (lower, "")
    labels = [(label, 0, len(base)) for label in _labels_of_base(word[: len(base)], ending, capital_inside)]
    mark = len(word) - len(ending.lstrip())
    if ending.endswith("'t"):
        labels.append(("negation", 0, len(word)))
    elif ending in ("'m", "'re", " 'm", " 're") or (ending.endswith("'s") and base in _S_IS_A_VERB):
        labels.append(("present of to be", mark, len(word)))
    elif ending.endswith("'ll"):
        labels.append(("modal verb", mark, len(word)))
    elif ending.endswith("'s") and base != "let":
        labels.append(("possessive 's", mark, len(word)))
    return tuple(labels)


def _labels_of_base(base: str, ending: str, capital_inside: bool) -> list[str]:
    lower = base.lower()
    if ending.endswith("'t"):
        lower = _CUT_VERBS.get(lower, lower)
    labels = ["capitalised word inside a sentence"] if capital_inside and len(base) > 1 else []
    if len(base) == 2 and base.isupper():  # US, IT, OR: letters, not words
        return labels
    if lower in NEEDS_CAPITAL and not base[0].isupper():
        return labels
    if not (capital_inside and lower in NAMES_WITH_CAPITAL):
        labels += _LISTS_OF.get(lower, [])
    if not capital_inside and len(lower) > 3 and lower.endswith("ed") and lower not in NOT_ED:
        labels.append("-ed word")
    if not capital_inside and len(lower) > 4 and lower.endswith("ing") and lower not in NOT_ING:
        labels.append("-ing word")
    return labels
