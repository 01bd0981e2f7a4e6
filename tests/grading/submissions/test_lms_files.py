"""Receipts, lists of submitters and repositories name the students that file names don't."""

from __future__ import annotations

from grading.submissions.lms_files import Person, github_users, gradescope, receipt

SUBMITTERS = """\
submission_5:
  :submitters:
  - :name: "Zo\\xEB N\\u00fa\\xF1ez"
    :sid: '0012'
    :email: zoe@example.org
  - :name: Al
    :sid:
    :email: al@example.org
  :created_at: 2025-01-01 10:00:00 Z
  :results:
    tests:
    - :name: not a student
  :history:
  - :id: 1
    :submitters:
    - :name: not a student either
submission_6:
  :submitters:
  - :name: O''Brien
    :sid: "77"
"""


def test_a_receipt_names_the_student():
    assert receipt("Name: Ivan Petrov (i_petrov)\nAssignment: HW (1)\n") == Person("Ivan Petrov", "i_petrov")
    assert receipt("\ufeffNombre: Ana (Anita) Díaz (ana1)\r\nTarea: 1\r\n") == Person("Ana (Anita) Díaz", "ana1")
    assert receipt("Dear instructor,\nName: Ivan Petrov (i_petrov)\n") is None


def test_gradescope_lists_every_member_of_a_group():
    found = gradescope(SUBMITTERS)
    assert found["submission_5"] == [Person("Zoë Núñez", "0012"), Person("Al", "al@example.org")]
    assert [person.student_id for person in found["submission_6"]] == ["77"]


def test_a_repository_is_named_after_assignment_and_user():
    names = ["hw-1-anna", "hw-1-anton", "hw-1-b-c"]
    users = {"hw-1-anna": "anna", "hw-1-anton": "anton", "hw-1-b-c": "b-c"}
    assert github_users(names, "hw-1-submissions") == users
    assert github_users(names, "downloads") == users  # what all names begin with
    assert github_users(["hw-1-anna"], "hw-1-submissions") == {"hw-1-anna": "anna"}
    assert github_users(["hw-1-anna"], "downloads") == {"hw-1-anna": "hw-1-anna"}
