"""Answers from a student's process are read as numbers and words, or rejected; comparisons reveal no values."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from safetensors.numpy import save

from grading.judging.hidden_tests import (
    BadAnswer,
    difference,
    integers,
    number,
    numbers,
    read_answer,
    same_numbers,
    same_words,
)
from tests.submissions.books import CODE_TASKS


def test_words_and_numbers_are_read():
    found = read_answer({"answer": {"n": 3}}, save({"a": np.ones(2, np.float32)}))
    assert found["n"] == 3 and numbers(found, "a").tolist() == [1.0, 1.0]


@pytest.mark.parametrize("reply", [{}, {"answer": None}, {"answer": [1]}, {"answer": "x"}])
def test_a_reply_without_an_answer_is_rejected(reply):
    with pytest.raises(BadAnswer):
        read_answer(reply, b"")


@pytest.mark.parametrize("blob", [b"x", b"\xff" * 100, pickle.dumps([1]), save({"a": np.ones(9)})[:-5], b"\x00" * 8])
def test_a_blob_that_isnt_safetensors_is_rejected(blob):
    with pytest.raises(BadAnswer):
        read_answer({"answer": {}}, blob)


@pytest.mark.parametrize("value", [True, None, "3", math.nan, math.inf, 10**400, [], {}])
def test_a_value_that_isnt_a_finite_number_is_rejected(value):
    with pytest.raises(BadAnswer):
        number({"x": value}, "x")


@pytest.mark.parametrize("value", [None, 3, "12", [1.5], [True], [[1]], {"0": 1}])
def test_a_value_that_isnt_a_list_of_integers_is_rejected(value):
    with pytest.raises(BadAnswer):
        integers({"x": value}, "x")


def test_a_difference_says_how_much_differs_but_no_value():
    expected = np.arange(1, 11) * 1.2345
    assert difference(expected.copy(), expected, "a") == ""
    assert difference(expected + 1e-6, expected, "a") == ""
    wrong = expected.copy()
    wrong[:3] += 1
    assert difference(wrong, expected, "a") == "a: 30% of the numbers differ from the solution's"
    assert "all numbers" in difference(wrong + 5, expected, "a")
    assert "[3]" in difference(expected[:3], expected, "a") and "NaN" in difference(expected * np.nan, expected, "a")
    assert not [text for text in ("1.2345", "12.345") if text in difference(wrong, expected, "a")]


def test_the_tolerance_is_larger_only_for_values_in_half_precision():
    expected = {"a": np.linspace(1, 2, 20)}
    judge = same_numbers("a")
    near, far = expected["a"] * 1.01, expected["a"] * 1.1
    assert judge({"a": near, "half": []}, expected, None) and not judge({"a": near, "half": ["a"]}, expected, None)
    assert judge({"a": far, "half": ["a"]}, expected, None)
    with pytest.raises(BadAnswer):
        judge({"half": ["a"]}, expected, None)


def test_texts_are_compared_one_by_one():
    judge = same_words("texts")
    assert judge({"texts": ["a", "b"]}, {"texts": ["a", "b"]}, None) == ""
    assert judge({"texts": ["a", "c"]}, {"texts": ["a", "b"]}, None) == "1 of 2 texts differ from the solution's"
    with pytest.raises(BadAnswer):
        judge({"texts": ["a"]}, {"texts": ["a", "b"]}, None)


@pytest.mark.submissions
def test_every_task_has_hidden_tests_whose_shares_add_up_to_one(facts):
    tests = facts.hidden_tests.HIDDEN_TESTS
    assert {test.task for test in tests} == set(CODE_TASKS) == set(facts.hidden_tests.WANTED)
    assert len({test.key for test in tests}) == len(tests)
    for task in CODE_TASKS:
        assert sum(test.share for test in tests if test.task == task) == pytest.approx(1)


@pytest.mark.submissions
def test_the_solution_passes_every_hidden_test_and_its_texts_differ(facts):
    for test in facts.hidden_tests.HIDDEN_TESTS:
        facts.task = test.task
        assert test.compare(facts.expected[test.key], facts.expected[test.key], facts) == "", test.key
    texts = [
        text
        for test in facts.hidden_tests.HIDDEN_TESTS
        if test.task == "1.2"
        for text in facts.expected[test.key].get("texts", [])
    ]
    assert len(texts) == 9 and len(set(texts)) == 9 and not any("<" in text for text in texts)
