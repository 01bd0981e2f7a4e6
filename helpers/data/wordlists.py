"""Word lists for the token labels, read from ``word_lists.toml``.

Nouns are listed in the singular, and `plural` adds the regular plurals; irregular plurals are listed too. A
word may be in several lists. A word with two common meanings is listed only if one of them is by far more
frequent in encyclopaedias and reviews, so `record`, `kind` and `like` are in no list.
"""

from __future__ import annotations

from helpers.data.tables import read_table


def plural(noun: str) -> str:
    """Return the regular English plural of a lower-case noun."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _degree(adjective: str) -> tuple[str, str]:
    """Return comparative and superlative of a short adjective; a final `!` doubles the last letter."""
    if adjective.endswith("!"):
        stem = adjective[:-1] + adjective[-2]
    elif adjective.endswith("y"):
        stem = adjective[:-1] + "i"
    else:
        stem = adjective.removesuffix("e")
    return stem + "er", stem + "est"


def _label(lists: dict[str, str]) -> frozenset[str]:
    """Return a label's words: nouns with their plurals, words, and one degree of every adjective."""
    nouns = lists.get("nouns", "").split()
    found = {*nouns, *map(plural, nouns), *lists.get("words", "").split()}
    if "degree" in lists:
        which = ("comparative", "superlative").index(lists["degree"])
        found |= {_degree(adjective)[which] for adjective in _LISTS["adjectives"].split()}
    return frozenset(found)


_LISTS = read_table("word_lists")
WORDS = {name: _label(lists) for name, lists in _LISTS["labels"].items()}
_OTHERS = ("names_with_capital", "needs_capital", "not_ed", "not_ing")
NAMES_WITH_CAPITAL, NEEDS_CAPITAL, NOT_ED, NOT_ING = (frozenset(_LISTS[name].split()) for name in _OTHERS)
