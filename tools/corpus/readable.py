"""Which documents to keep: whole sentences, no loops, English, no mention of being an assistant."""

from __future__ import annotations

import re
from collections import Counter

COMMON = frozenset(
    "the a an and or but of to in on at for with from by as is was are were be been it he she they we i you that this "
    "his her their my our not had have has will would can could one all when which who there so if out up".split()
)
ASSISTANT = re.compile(
    r"\b(as an ai|language model|smollm|hugging ?face|ai assistant|i('m| am) sorry, but|i can(no|')t assist|"
    r"chatbot|here('s| is) (a|an|the) (review|article|letter|story|recipe|report|essay)|word count)\b",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(
    r"\[[^\]]{0,40}\b(name|address|date|city|number|insert|link|email)\b[^\]]{0,40}\]|<[a-z/]+>|https?:|\bwww\.", re.I
)
SENTENCE_END = re.compile(r"[.!?][\"”')]?(?=\s|$)")
MIN_WORDS = 40


def whole_sentences(text: str) -> str:
    """Return the text up to its last sentence end, without blank lines and extra spaces; '' without a sentence."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    if not ends:
        return ""
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in text[: ends[-1]].split("\n"))
    return "\n".join(line for line in lines if line)


def why_unreadable(text: str) -> str | None:
    """Return ``short``, ``assistant``, ``placeholder``, ``loop`` or ``language``; None if the text is readable."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    if len(words) < MIN_WORDS:
        return "short"
    if ASSISTANT.search(text):
        return "assistant"
    if PLACEHOLDER.search(text):
        return "placeholder"
    if repeated(words) > 0.12 or Counter(words).most_common(1)[0][1] > 0.15 * len(words):
        return "loop"
    odd = sum(not (c.isascii() or c in "’‘“”–—…éèàçñöüäíóáú°£€") for c in text)
    if odd > 0.01 * len(text) or sum(word in COMMON for word in words) < 0.25 * len(words):
        return "language"
    return None


def repeated(words: list[str], n: int = 4) -> float:
    """Return the share of n-grams that occur earlier in the text."""
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return 1 - len(set(grams)) / max(1, len(grams))
