"""Names in exports of learning platforms say whose a file is; names that students chose don't."""

from __future__ import annotations

import pytest

from grading.submissions.lms_names import copy_order, parse_name, plain_owner
from tests.submissions.books import FIRST, NAMES, SECOND


@pytest.mark.parametrize(
    ("name", "lms", "student", "student_id", "order", "file"),
    [
        ("petrovivan_123_456_hw.ipynb", "canvas", "petrovivan", "123", 456, "hw.ipynb"),
        ("ada_LATE_9_8_hw-2.ipynb", "canvas", "ada", "9", 8, "hw-2.ipynb"),
        ("émile_55_901_2024_11_05_hw.zip", "canvas", "émile", "55", 901, "2024_11_05_hw.zip"),
        ("ada_9_text.html", "canvas", "ada", "9", 0, "text.html"),
        ("anon_aB3dE_456_hw.ipynb", "canvas", "anon", "aB3dE", 456, "hw.ipynb"),
        ("LATE_anon_aB3dE_456_hw.ipynb", "canvas", "anon", "aB3dE", 456, "hw.ipynb"),
        ("Ivan Petrov_77_assignsubmission_file", "moodle", "Ivan Petrov", "77", 0, ""),
        ("Ivan Petrov_77_assignsubmission_file_", "moodle", "Ivan Petrov", "77", 0, ""),
        ("Ivan Petrov_77_assignsubmission_onlinetext", "moodle", "Ivan Petrov", "77", 0, ""),
        ("Участник_77_assignsubmission_file_hw_1_2.ipynb", "moodle", "Участник", "77", 0, "hw_1_2.ipynb"),
        ("HW 1_ip12_attempt_2024-11-05-13-45-10_h.ipynb", "blackboard", "", "ip12", 20241105134510, "h.ipynb"),
        ("HW 1_ip12_attempt_2024-11-05-13-45-10.txt", "blackboard", "", "ip12", 20241105134510, ".txt"),
        ("104840-170649 - Pal Patel - Nov 26, 2025 933 PM", "brightspace", "Pal Patel", "104840", 202511262133, ""),
        ("104840-170649 - Ann-Kay O'Neil- Nov 26, 2025 1233 AM", "brightspace", "Ann-Kay O'Neil", "104840",
         202511260033, ""),
        ("345-46 - Juan Acuña - 14 de agosto de 2026 2334", "brightspace", "Juan Acuña", "345", 202608142334, ""),
        ("345-46 - . Li - 27 novembre, 2025 933 - a.ipynb", "brightspace", "Li", "345", 202511270933, "a.ipynb"),
        ("Petrov, Ivan(ipetrov)", "sakai", "Petrov, Ivan", "ipetrov", 0, ""),
        ("Petrov, Ivan(ipetrov)_Submission attachment(s)_a.pdf", "sakai", "Petrov, Ivan", "ipetrov", 0, "a.pdf"),
    ],
)  # fmt: skip
def test_names_of_platforms_are_understood(name, lms, student, student_id, order, file):
    said = parse_name(name)
    assert (said.lms, said.student, said.student_id, said.order, said.file) == (lms, student, student_id, order, file)


@pytest.mark.parametrize(
    "name",
    [
        "anna_2024_11_05_hw.ipynb", "anna_5_11_2024_hw.ipynb", "anna_20241105_143000_hw.ipynb",
        f"anna_2024_{FIRST}.ipynb", f"group_3_{SECOND}.ipynb", "Anna_12_34_hw.ipynb", "anna maria_12_34_hw.ipynb",
        "Smith, Anna (2)", "Anna (2)", "anna", "12-13 - notes", "group_3",
    ],
)  # fmt: skip
def test_dates_and_numbers_that_students_chose_are_no_ids(name):
    assert parse_name(name) is None


@pytest.mark.parametrize(
    "stem",
    [
        f"anna_{FIRST}", f"anna_{FIRST}-Copy1", f"anna_{FIRST} copy", f"anna_{FIRST} copy 2", f"anna_{FIRST} - Copy",
        f"anna_{FIRST} - Copy (2)", f"anna_{FIRST} - Kopie", f"anna_{FIRST} (1)", f"anna_{FIRST}-1",
        f"Copy of anna_{FIRST}", f"anna_Copy of {FIRST}", f"anna_2024-11-05_{FIRST}", f"anna_{FIRST}_05.11.2024",
        f"anna_20241105_1430_{SECOND}", f"{SECOND.upper()}_anna", "anna", "anna copy", "anna-Copy1", "anna 2024-11-05",
    ],
)  # fmt: skip
def test_copies_and_dates_dont_change_whose_a_file_is(stem):
    assert plain_owner(stem, NAMES) == "anna"


def test_numbers_that_may_be_a_name_stay():
    assert plain_owner("group-2", NAMES) == "group-2"
    assert plain_owner(f"20190212_{FIRST}", NAMES) == "20190212"  # eight digits may be a student's number
    assert plain_owner(f"{FIRST} (1)", NAMES) == ""


def test_copies_come_after_their_original_and_dates_in_order_of_time():
    stems = ["a 05.11.2024", "a 2024-11-04", "a - Copy (2)", "a-Copy1", "a"]
    assert sorted(stems, key=copy_order) == stems[::-1]
