"""Rows are given to the student whom they mean, or to nobody."""

from __future__ import annotations

import pytest

from grading.reports.matching import Students, find_task, match_rows

KNOWN = ["0012345", "0777", "Иван Петров_7", "Иван Сидоров_8", "李 🎓_9", "Zo\u00eb", "'=1+1", "anna", "Anna (2)"]


def find(name: str, *others: str, known=KNOWN):
    return Students(known, [name, *others]).find(name)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("12345", "0012345"), ("0012345", "0012345"), ("12345.0", "0012345"), ("12345,00", "0012345"),
        ("'0012345", "0012345"), ("777", "0777"), ("???? ??????_7", "Иван Петров_7"), ("? ??_9", "李 🎓_9"),
        ("? ?_9", "李 🎓_9"), ("Zoe\u0308", "Zo\u00eb"), ("Zo?", "Zo\u00eb"), (" anna ", "anna"), ("=1+1", "'=1+1"),
    ],
)  # fmt: skip
def test_changed_names_are_found(given, meant):
    assert find(given) == (meant, "")


@pytest.mark.parametrize(
    ("given", "known", "words"),
    [
        ("12345", ["0012345", "012345"], "0012345 or 012345"), ("12345", ["12345", "0012345"], "with its zeros"),
        ("????", ["Иван", "Анна"], "Иван or Анна"), ("1,23457E+15", ["1234567890123456"], "rounded"),
        ("1.23E+15", [], "rounded"), ("1234", KNOWN, "no such student"), ("Anna", KNOWN, "no such student"),
    ],
)  # fmt: skip
def test_what_may_mean_several_students_is_rejected(given, known, words):
    student, problem = find(given, known=known)
    assert student == given and words in problem


def test_an_exact_id_is_believed_only_if_the_table_kept_the_others_zeros():
    assert find("12345", "0012345", known=["12345", "0012345"]) == ("12345", "")


@pytest.mark.parametrize("text", ["1.4", "1,4", "01. Apr", "1. Apr.", "Apr 01", "4-Jan", "01.04.2026", "'1.4", " 1.4 "])
def test_a_task_that_became_a_date_is_found(text):
    assert find_task(text, ["1.4", "2.5"]) == "1.4"


def test_an_ambiguous_or_unknown_task_stays():
    assert find_task("04.01.", ["1.4", "4.1"]) == "04.01." and find_task("2.7", ["1.4", "2.5"]) == "2.7"


def test_two_rows_that_lost_their_zeros_are_both_rejected():
    rows = [{"student": "12345", "task": "1.4"}, {"student": "12345", "task": "1.4"}]
    assert all(row["problem"] for row in match_rows(rows, ["12345", "0012345"], ["1.4"]))
