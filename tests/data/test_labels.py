"""Every token label on example sentences with the exact expected pieces, and on misleading ones."""

import re
import time

import numpy as np
import pytest

from helpers.data.labels import LABELS, label_texts, label_tokens
from helpers.data.wordlists import WORDS, plural


def cut(text: str) -> list[str]:
    """Split like GPT-2's tokeniser: words keep the space before them; clitics and punctuation are separate."""
    return re.findall(r"'(?:s|t|m|re|ve|ll|d)\b| ?[^\W\d_]+| ?\d+| ?[^\w\s]|_|\s", text)


def labelled(label: str, pieces: list[str] | str) -> list[str]:
    """Return the pieces that have `label`, without spaces."""
    pieces = cut(pieces) if isinstance(pieces, str) else pieces
    row = label_tokens(pieces)[LABELS.index(label)]
    return [piece.strip() for piece, marked in zip(pieces, row, strict=True) if marked]


EXAMPLES = [
    ("digit", "Route 66 has 2 lanes, not two.", "66 2"),
    ("year", "In 1066 and 1999, not 999, 2100 or 12345.", "1066 1999"),
    ("year", "The 1990s, 1939–45 and the 2010 election.", "1990 1939 2010"),
    ("number word", "Twenty-one of the three thousand men", "Twenty one three thousand"),
    ("ordinal", "The second man came 3rd, the twelfth last.", "second 3 rd twelfth"),
    ("month", "On 5 June we met; by Sept. 9 it was over.", "June Sept"),
    ("weekday", "Sundays are free, monday is not.", "Sundays monday"),
    ("capitalised word inside a sentence", "Yesterday I met Anna's dog in Paris. Then NASA called.", "Anna Paris NASA"),
    ("first word of a sentence", 'We left. "Why?" she asked. Nobody knew!', "We Why Nobody"),
    ("end of a sentence", "He left. Did she? Yes!", ". ? !"),
    ("quote", 'He said "no" and “yes”.', '" " “ ”'),
    ("bracket", "The lobster (blue) is [sic] here {x}", "( ) [ ] { }"),
    ("comma", "Red, white, blue", ", ,"),
    ("hyphen or dash", "A well-known fact – or not — really", "- – —"),
    ("heading mark", "## Early life", "# #"),
    ("heading text", "## Early life", "Early life"),
    ("heading mark", "**Early life**", "* * * *"),
    ("heading text", "**Early life**", "Early life"),
    ("continuation of a word", ["H", "om", "arus", " g", "amm", "arus", ",", " 1", "9", "th"], "om arus amm arus"),
    ("possessive 's", "Anna's dog saw the king's men", "'s 's"),
    ("-ed word", "He walked to the red shed and agreed indeed.", "walked agreed"),
    ("-ing word", "The king was singing in the evening.", "singing"),
    ("first person pronoun", "I'm sure we lost our way", "I we our"),
    ("second person pronoun", "You're late, are you yourself?", "You you yourself"),
    ("third person pronoun", "She told him that it's theirs", "She him it theirs"),
    ("negation", "She did not see nobody, never", "not nobody never"),
    ("modal verb", "We can go, she should, and they'll stay", "can should 'll"),
    ("past of to be", "It was late and we weren't home", "was weren"),
    ("present of to be", "I'm here, he's there, they are gone", "'m 's are"),
    ("article", "The dog, a cat and an owl", "The a an"),
    ("conjunction", "You and she, but not because of me", "and but because"),
    ("question word", "Who knows why it fell when?", "Who why when"),
    ("preposition", "Over the hill and into town without me", "Over into without"),
    ("comparative", "A bigger, happier and finer place, but worse", "bigger happier finer worse"),
    ("superlative", "The biggest and driest of the best", "biggest driest best"),
    ("unit of measure", "Ten miles, 5 kg, six feet and 60 km in all", "miles kg feet km"),
    ("family word", "My mother and her cousins have children", "mother cousins children"),
    ("food word", "Bread with cherries and tomatoes", "Bread cherries tomatoes"),
    ("body word", "His head, teeth and left foot", "head teeth foot"),
    ("colour", "A red and greenish Black Sea", "red greenish Black"),
    ("place word", "The old city has two churches", "city churches"),
    ("place name", "From London to Ohio", "London Ohio"),
    ("positive opinion", "A wonderful film that I loved", "wonderful loved"),
    ("negative opinion", "A boring film that I hated", "boring hated"),
    ("music word", "The singer's new albums", "singer albums"),
    ("war word", "Soldiers of the army march on", "Soldiers army march"),
    ("sport word", "The team won the championship", "team championship"),
    ("film or book word", "The actress read a novel", "actress novel"),
    ("animal word", "Two wolves and a tiger", "wolves tiger"),
    ("vehicle word", "Buses and a train", "Buses train"),
    ("politics word", "The parliament elected a president", "parliament elected president"),
    ("religion word", "A holy temple for monks", "holy temple monks"),
    ("time word", "Yesterday, a week later", "Yesterday week later"),
]


@pytest.mark.parametrize(("label", "pieces", "expected"), EXAMPLES)
def test_each_label_on_its_example(label, pieces, expected):
    assert labelled(label, pieces) == expected.split()


def test_every_label_has_an_example():
    assert {label for label, _, _ in EXAMPLES} == set(LABELS)
    assert len(LABELS) == len(set(LABELS)) >= 30


MISLEADING = [
    ("month", "You may go in May.", "May"),
    ("modal verb", "You may go in May.", "may"),
    ("modal verb", "May I come? In May?", "May"),
    ("month", "May I come? May 5 is free.", "May"),
    ("modal verb", "May 5 is free.", ""),
    ("month", "They march in March.", "March"),
    ("war word", "They march in March.", "march"),
    ("month", "An august man in August", "August"),
    ("modal verb", "Today Will will come", "will"),
    ("ordinal", "A second later the second man fell.", "second"),
    ("unit of measure", "A second later the second man fell.", "second"),
    ("body word", "Both feet were six feet long", "feet"),
    ("unit of measure", "It is 24 in. long (60 cm); in 1999 in Paris", "in cm"),
    ("negation", "You can't, he isn't, she won’t; No. 5", "can 't isn 't won ’ t"),
    ("modal verb", "You can't and she won't", "can won"),
    ("present of to be", "He isn't here at 10 am, let's go", "isn"),
    ("possessive 's", "It's what's left; let's see Anna's", "'s"),
    ("year", "It cost 1,234 or $1500 or 3.1415 or 12,1999", ""),
    ("comma", "In 1999, it cost 1,234", ","),
    ("quote", "The dogs' bones don't rock 'n' roll in the '90s", ""),
    ("quote", "She said 'I don't know' and left", "' '"),
    ("end of a sentence", "The U.S. Army met Dr. Smith and H. G. Wells at No. 5.", "."),
    ("first word of a sentence", "The U.S. Army met Dr. Smith. It left.", "The It"),
    ("end of a sentence", "1. Wash it. 2. Cook it.", ". ."),
    ("first word of a sentence", "It's late. Isn't it? O'Brien's here.", "It Isn 't O ' Brien"),
    ("first word of a sentence", "1. Wash it. 2. Cook it.", "Wash Cook"),
    ("end of a sentence", "It is 3.5. It was No. 5. Then 2.", ". . ."),
    ("end of a sentence", "Pi is 3.14... or so", ""),
    ("first person pronoun", "Did the US win World War I? I know", "I"),
    ("article", "At 5 a.m. take a Vitamin A pill", "a"),
    ("place name", "A turkey from Turkey", "Turkey"),
    ("-ed word", "Then Alfred met the United team", ""),
    ("heading text", "**Bold** words are no heading", ""),
    ("hyphen or dash", "- milk\n- sugar-free gum", "-"),
    ("first word of a sentence", "# Soup\n\nEat it hot\n- Salt", "Soup Eat Salt"),
]


@pytest.mark.parametrize(("label", "text", "expected"), MISLEADING)
def test_misleading_text_is_labelled_correctly(label, text, expected):
    assert labelled(label, text) == expected.split()


WIKITEXT = [
    ("heading mark", " = = Early life = = ", "= = = ="),
    ("heading text", " = = Early life = = ", "Early life"),
    ("first word of a sentence", " = = Early life = = ", "Early"),
    ("heading mark", " Let x = 5 and y = 6 . ", ""),
    ("hyphen or dash", " a hard @-@ shelled male ", "@ - @"),
    ("comma", " some 20 @,@ 000 , in all ", ","),
    ("year", " 1 @.@ 1999 or 20 @,@ 1999 but 1999 , 2000 ", "1999 2000"),
    ("negation", " He couldn 't see ", "couldn ' t"),
    ("modal verb", " He couldn 't see ", "couldn"),
    ("possessive 's", " the team 's goal , it 's good ", "' s"),
    ("present of to be", " the team 's goal , it 's good ", "' s"),
    ("quote", ' only " lobster red " on cooking ', '" "'),
    ("end of a sentence", " found by H. gammarus in the U.S. Army . <unk> left . ", ". ."),
    ("first word of a sentence", " They left . <unk> stayed . ", "They < unk >"),
    ("unit of measure", " 60 cm ( 24 in ) and 2 @.@ 5 kg ", "cm in kg"),
    ("bracket", " 60 cm ( 24 in ) <unk> ", "( )"),
]


@pytest.mark.parametrize(("label", "text", "expected"), WIKITEXT)
def test_wikitext_markup_is_labelled_correctly(label, text, expected):
    assert labelled(label, text) == expected.split()


def test_all_pieces_of_a_split_word_are_labelled():
    assert labelled("family word", ["My", " gr", "and", "mo", "ther", " left"]) == ["gr", "and", "mo", "ther"]
    assert labelled("conjunction", ["My", " gr", "and", "mo", "ther", " left"]) == []
    assert labelled("year", [" in", " ", "1", "9", "9", "9", "."]) == ["1", "9", "9", "9"]
    assert labelled("month", ["by", " Sept", "em", "ber"]) == ["Sept", "em", "ber"]
    assert labelled("negation", ["is", "n", "'t", " it"]) == ["is", "n", "'t"]


def test_a_piece_across_two_spans_has_both_labels_and_an_empty_piece_has_none():
    assert labelled("comma", ["red", ',"', " he"]) == labelled("quote", ["red", ',"', " he"]) == [',"']
    row = label_tokens(["mo", "", "ther"])[LABELS.index("family word")]
    assert row.tolist() == [True, False, True]


def test_tokenisation_does_not_change_which_letters_are_labelled():
    text = " In May 1999 , Anna 's mother couldn 't find 20 @,@ 000 \" red @-@ tipped \" lobsters . It was bad ."
    whole, letters = cut(text), list(text)
    by_letter = label_tokens(letters)
    ends = np.cumsum([len(piece) for piece in whole])
    touched = [by_letter[:, end - len(piece) : end].any(axis=1) for piece, end in zip(whole, ends, strict=True)]
    rows = [row for row, label in enumerate(LABELS) if label != "continuation of a word"]
    assert (label_tokens(whole)[rows] == np.stack(touched, axis=1)[rows]).all()


def test_label_texts_concatenates_the_lines():
    lines = [cut("I met Anna."), [], cut("may be in May"), cut(" = Life = ")]
    marks = label_texts(lines)
    assert marks.dtype == bool and marks.shape == (len(LABELS), sum(map(len, lines)))
    assert (marks == np.concatenate([label_tokens(line) for line in lines], axis=1)).all()


def test_empty_input_gives_empty_labels():
    assert label_tokens([]).shape == label_texts([]).shape == label_texts([[], []]).shape == (len(LABELS), 0)
    assert not label_tokens(["", ""]).any()


@pytest.mark.parametrize("odd", ["İstanbul", "�", "naïve café", "日本語", "'''", "= = =", "...", "\n\n", "U.", "_"])
def test_odd_text_raises_no_error(odd):
    assert label_tokens([odd]).shape == (len(LABELS), 1)


def test_pieces_must_be_a_list_of_strings():
    with pytest.raises(TypeError, match="Piece 1 is 345 of type int, not a string; decode"):
        label_tokens(["a", 345])
    with pytest.raises(TypeError, match="give a list"):
        label_tokens("a line of text")


def test_word_lists_are_long_lower_case_and_plural():
    topics = [label for label in WORDS if label.endswith((" word", "opinion")) and label != "question word"]
    assert all(len(WORDS[label]) >= 30 for label in topics)
    assert all(word == word.lower() and word.isalpha() for words in WORDS.values() for word in words)
    assert [plural(noun) for noun in ("dog", "church", "family", "day", "box")] == [
        "dogs", "churches", "families", "days", "boxes",
    ]  # fmt: skip


def test_labelling_is_not_quadratic():
    """100,000 tokens take about a second; a limit of ten allows for a loaded machine and still fails if quadratic."""
    line = cut("In May 1999, Anna's mother wasn't in London; she had 1,234 red books (all bad). Why? Nobody knows. ")
    start = time.process_time()
    label_texts([line * 4] * (100_000 // (4 * len(line))))
    label_tokens(list("." * 5_000 + "a" + "= " * 5_000 + "'a " * 2_000))
    assert time.process_time() - start < 10
