"""Each student has one entry with the right id, in the exports of every platform."""

from __future__ import annotations

import os
import zipfile

import pytest

from grading.submissions.collect import CollectError, collect
from tests.submissions.books import FIRST, NAMES, SECOND

A, B = f"{FIRST}.ipynb", f"{SECOND}.ipynb"


@pytest.fixture
def found(tmp_path):
    """Return ``found(*names, name="class")``, which collects a folder with these files; texts come after a colon."""

    def run(*files: str, name="class", zipped=False):
        root = tmp_path / name
        for file in files:
            place, _, content = file.partition(": ")
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content or "{}", encoding="utf-8")
        source = root
        if zipped:
            source = tmp_path / f"{name}.zip"
            with zipfile.ZipFile(source, "w") as archive:
                for path in sorted(root.rglob("*")):
                    archive.write(path, path.relative_to(root))
        workspace = tmp_path / f"unpacked-{name}-{zipped}"
        return {each.student: each for each in collect(source, NAMES, workspace)}

    return run


def files(handed) -> list[str]:
    return [path.name for path in handed.files]


@pytest.mark.parametrize("zipped", [False, True])
def test_moodles_two_folders_are_one_student(found, zipped):
    students = found(
        f"Ivan Petrov_77_assignsubmission_file/{A}", f"Ivan Petrov_77_assignsubmission_file/{B}",
        "Ivan Petrov_77_assignsubmission_onlinetext/onlinetext.html", "Eva_78_assignsubmission_onlinetext/o.html",
        zipped=zipped,
    )  # fmt: skip
    assert [(each.student_id, each.full_name) for each in students.values()] == [("78", "Eva"), ("77", "Ivan Petrov")]
    assert files(students["Ivan Petrov_77"]) == [A, B] and students["Ivan Petrov_77"].notes == []


def test_students_of_equal_names_stay_two(found):
    students = found(f"Li Wei_7_assignsubmission_file_/{A}", f"Li Wei_8_assignsubmission_file_/{A}")
    assert {each.student_id for each in students.values()} == {"7", "8"}


def test_copies_and_dates_make_no_second_student(found):
    students = found(
        f"anna_{A}", f"anna_{FIRST}-Copy1.ipynb", f"anna_{SECOND} copy.ipynb", f"anna_{SECOND} - Copy.ipynb",
        f"anna_2024-11-05_{A}", "anna copy.zip", f"bob_2024_11_05_{A}", f"bob_{SECOND}_2024_11_06.ipynb",
    )  # fmt: skip
    assert {name: each.student_id for name, each in students.items()} == {"anna": "", "bob": ""}
    assert files(students["anna"])[0] == f"anna_{A}" and files(students["anna"])[-1] == f"anna_2024-11-05_{A}"


def test_a_number_in_brackets_is_a_copy_only_beside_the_original(found):
    assert set(found("Anna (1).ipynb", "Anna (2).ipynb", "Bob.ipynb", "Bob (1).ipynb", "Bob (2).zip")) == {
        "Anna (1)", "Anna (2)", "Bob",
    }  # fmt: skip


def test_a_folder_and_the_archive_that_it_came_from_are_one_student(found):
    assert set(found(f"anna/{A}", "anna.zip", f"anna_{B}")) == {"anna"}


def test_names_from_macos_and_windows_are_one_student(found):
    assert len(found(f"Zoe\u0308/{A}", f"Zo\u00eb/{B}")) == 1


@pytest.mark.parametrize("zipped", [False, True])
def test_a_github_classroom_clone_has_users_and_only_their_work(found, zipped):
    work = (
        ".git/config", f".git/{A}", ".github/workflows/a.yml", f"grading/given/{A}", f"notebooks/{A}",
        f"notebooks/.ipynb_checkpoints/{A}", f".venv/lib/{A}", f"env/lib/site-packages/{A}", "README.md",
    )  # fmt: skip
    names = [f"hw-submissions/hw-{user}/{file}" for user in ("anna", "anton", "b-c") for file in work]
    students = found(*names, zipped=zipped)
    assert {name: each.student_id for name, each in students.items()} == {
        "anna": "anna",
        "anton": "anton",
        "b-c": "b-c",
    }
    assert all(files(each) == [A] for each in students.values())


@pytest.mark.parametrize("work", [(".git/HEAD", f"notebooks/{A}"), ("helpers/a.py", f"notebooks/{A}")])
@pytest.mark.parametrize("zipped", [False, True])
def test_one_students_clone_or_handout_is_one_student(found, work, zipped):
    students = found(*work, f"notebooks/{B}", name="anna", zipped=zipped)
    assert list(students) == ["anna"] and files(students["anna"]) == [A, B]


def test_one_students_notebooks_are_one_student(found):
    assert list(found(A, B, name="anna")) == ["anna"]


@pytest.mark.parametrize("top", ["", "Homework 1/"])
def test_sakais_feedback_wasnt_handed_in(found, top):
    student = f"{top}Petrov, Ivan(ipetrov)"
    students = found(
        f"{top}grades.csv", f"{student}/timestamp.txt", f"{student}/comments.txt",
        f"{student}/Submission attachment(s)/{A}", f"{student}/Feedback Attachment(s)/{B}",
        f"{top}Li, Eva(eli)/timestamp.txt",
    )  # fmt: skip
    assert files(students["Petrov, Ivan_ipetrov"]) == [A]
    assert students["Li, Eva_eli"].notes[0] == "No notebook was handed in."


def test_lists_and_notes_beside_the_students_are_no_students(found):
    names = ("grades.csv", "index.html", "roster.xlsx", "README.md", "Grades-HW.csv")
    students = found(*names, f"anna/{A}", "ada_9_8_data.csv", "bob.txt")
    assert set(students) == {"ada_9", "anna", "bob"}


def test_gradescopes_groups_have_a_row_for_each_member(found):
    listing = (
        "submission_5:\n  :submitters:\n  - :name: Eva\n    :sid: '0012'\n  - :name: Al\n    :sid: '13'\n"
        "submission_6:\n  :submitters:\n  - :name: Bo\n    :sid:\n    :email: bo@x.org\n"
    )
    students = found(f"submission_metadata.yml: {listing}", f"submission_5/{A}", "submission_6/main.py")
    assert {each.student_id: files(each) for each in students.values()} == {"0012": [A], "13": [A], "bo@x.org": []}


def test_blackboards_receipts_give_names_and_ids_with_underscores(found):
    head = "HW 1_{}_attempt_2024-11-05-10-00-00"
    students = found(
        f"{head.format('a_li')}.txt: Name: Ann Li (a_li)", f"{head.format('a_li')}_{A}",
        f"{head.format('b_li')}.txt: Name: Bo Li (b_li)", f"{head.format('b_li')}_{A}",
        f"{head.format('text')}.txt: Name: Tex T (text)",
    )  # fmt: skip
    assert {name: each.student_id for name, each in students.items()} == {
        "Ann Li_a_li": "a_li", "Bo Li_b_li": "b_li", "Tex T_text": "text",
    }  # fmt: skip
    assert files(students["Tex T_text"]) == []


def test_blackboards_ids_with_underscores_dont_collide_without_receipts(found):
    assert len(found(*(f"HW_{user}_attempt_2024-11-05-10-00-00_{A}" for user in ("a_li", "b_li")))) == 2


def test_a_folder_named_by_number_keeps_its_leading_zeros(found):
    assert found(f"0012345/{A}", f"group_3/{A}")["0012345"].student_id == "0012345"
    assert found(f"0012345/{A}", f"group_3/{A}")["group_3"].student_id == ""


def test_a_pipe_or_device_costs_only_its_student(found, tmp_path):
    (tmp_path / "class" / "eve").mkdir(parents=True)
    os.mkfifo(tmp_path / "class" / "eve" / A)
    os.mkfifo(tmp_path / "class" / "mallory.zip")
    students = found(f"anna/{A}")
    assert set(students) == {"anna", "eve", "mallory"} and "regular file" in students["eve"].notes[0]


def test_a_file_that_is_no_class_is_rejected(tmp_path):
    (tmp_path / "class.rar").write_bytes(b"Rar!")
    with pytest.raises(CollectError, match=r"class.rar is neither a .zip nor an .ipynb file"):
        collect(tmp_path / "class.rar", NAMES, tmp_path / "unpacked")
