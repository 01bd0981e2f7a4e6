"""A class of 40 in the styles of five platforms, in which every seventh has a defect, ends in 40 right rows."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from itertools import cycle

import pytest

from grading.__main__ import main
from grading.marks import Marks, TaskMark
from grading.reports import moodle, store, tables
from grading.sandbox.isolation import available
from grading.submissions import unpacking
from grading.submissions.collect import collect
from tests.submissions.books import FIRST, MASTERS, NAMES, SECOND, book, solutions

A, B = f"{FIRST}.ipynb", f"{SECOND}.ipynb"
DEFECTS = ("pdf", "rar", "renamed", "too large", "long name", "file and folder")


def handed_in(defect: str) -> dict[str, bytes]:
    """Return what a student with this defect handed in, by file name."""
    return {
        "": {A: b"{}", B: b"{}"},
        "pdf": {"report.pdf": b"%PDF"},
        "rar": {"work.rar": b"Rar!"},
        "renamed": {f"{A}.txt": b"{}"},
        "too large": {A: b"0" * 2000, B: b"{}"},
        "long name": {f"{'😀' * 70}.ipynb": b"{}", f"{'x' * 90}1.ipynb": b"{}", f"{'x' * 90}2.ipynb": b"{}"},
        "file and folder": {A: b"{}", f"{A}/{B}": b"{}"},
    }[defect]


def student(number: int, platform: str, defect: str) -> tuple[str, str, dict[str, bytes]]:
    """Return the student's id and name, and the entries of the class's zip file."""
    user, name = f"{1000 + number}", f"Zoë Ø{chr(65 + number // 26)}{chr(65 + number % 26)}"
    files = handed_in(defect)
    if platform == "canvas":
        late = "_LATE" * (number % 2)
        plain = {place.replace("/", "_"): content for place, content in files.items()}
        entries = {f"zoë{late}_{user}_{9000 + i}_{place}": plain[place] for i, place in enumerate(plain)}
        return user, "zoë", entries
    if platform == "moodle":
        entries = {f"{name}_{user}_assignsubmission_file/{place}": content for place, content in files.items()}
        return user, name, {**entries, f"{name}_{user}_assignsubmission_onlinetext/onlinetext.html": b"<p>"}
    if platform == "brightspace":
        late = {f"{user}-7 - {name} - Nov 27, 2025 933 AM/{place}": content for place, content in files.items()}
        early = {} if defect else {f"{user}-7 - {name} - Nov 26, 2025 933 PM/{A}": b"[]"}
        return user, name, {**early, **late}
    if platform == "sakai":
        folder = f"{name.split()[1]}, Zoë({user})"
        entries = {f"{folder}/Submission attachment(s)/{place}": content for place, content in files.items()}
        return user, f"{name.split()[1]}, Zoë", {**entries, f"{folder}/timestamp.txt": b"20251126"}
    head = f"HW_{user}_attempt_2025-11-26-10-00-00"
    entries = {f"{head}_{place}": content for place, content in files.items()}
    return user, name, {**entries, f"{head}.txt": f"Name: {name} ({user})\n".encode()}


@pytest.fixture
def the_class(tmp_path):
    """Return the class's zip file, and defect and name by id."""
    path, expected, defects = tmp_path / "class.zip", {}, cycle(DEFECTS)
    platforms = cycle(("canvas", "moodle", "brightspace", "sakai", "blackboard"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            defect = next(defects) if number % 7 == 0 else ""
            user, name, entries = student(number, next(platforms), defect)
            expected[user] = (defect, name)
            for place, content in entries.items():
                archive.writestr(place, content)
    return path, expected


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_forty_students_are_forty_rows_with_the_right_ids(the_class, course, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    path, expected = the_class
    handed = collect(path, NAMES, tmp_path / "unpacked")
    assert {each.student_id: each.full_name for each in handed} == {user: name for user, (_, name) in expected.items()}
    assert len(handed) == len({each.student.casefold() for each in handed}) == 40
    for each in handed:
        defect = expected[each.student_id][0]
        files = {"": 2, "too large": 1, "long name": 3, "file and folder": 2}.get(defect, 0)
        assert len(each.files) == files, (each, defect)
        assert bool(each.notes) == (defect in ("pdf", "rar", "renamed", "too large")), (each, defect)

    marks = [
        Marks(each.student, "graded", (TaskMark("1.1", "right", int(each.student_id) / 2000, 1.0),),
              notes=tuple(each.notes), student_id=each.student_id, full_name=each.full_name)
        for each in handed
    ]  # fmt: skip
    points = {user: f"{int(user) / 2000:g}" for user in expected}
    _, *canvas = rows(tables.canvas(marks, course, {}, "HW"))
    assert {row["ID"]: row["HW"] for row in canvas} == points and len(canvas) == 40
    sheet = rows(moodle.moodle(marks, course, {}))
    assert {row["Identifier"]: row["Grade"] for row in sheet} == {f"Participant {u}": p for u, p in points.items()}
    assert len(rows(tables.grades(marks, course, {}))) == 40


def test_merge_reads_excels_table_and_fills_in_moodles_worksheet(tmp_path, course, capsys):
    """Ids of digits and names of other alphabets come back from Excel with points and comments in the right place."""
    task = next(iter(course.written))
    open_task = (TaskMark(task, "to be marked", 0.0, 0.5),)
    marks = [
        Marks("0012345", "graded", open_task, {task: "naïve"}, student_id="0012345", full_name="0012345"),
        Marks("Иван Петров_77", "graded", open_task, {task: "да"}, student_id="77", full_name="Иван Петров"),
        Marks("José_78", "graded", open_task, {task: "sí"}, student_id="78", full_name="José"),
    ]
    store.remember(tmp_path, marks, {}, MASTERS)
    text = tables.written_table(marks, course, []).replace("0012345", "12345").replace(f"{task},,", f'{task},"0,5",')
    lines = [line.replace(",0.5,,", ',0.5,"très bien",') for line in text.splitlines()]
    saved = "\r\n".join(";".join(cells) for cells in csv.reader(lines))
    (tmp_path / "written.csv").write_bytes(saved.encode("cp1252", "replace"))
    worksheet = tmp_path / "Bewertungen.csv"
    worksheet.write_text(
        "ID,Name,Bewertung,Bestwertung,Zuletzt\nTeilnehmer/in77,Иван,,7,-\nTeilnehmer/in78,José,,7,-\n"
    )
    assert main(["grade", "--merge", "--report", str(tmp_path), "--worksheet", str(worksheet)]) == 0
    assert [row["total"] for row in rows((tmp_path / "grades.csv").read_text(encoding="utf-8"))] == ["0.5"] * 3
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "feedback").iterdir()]
    assert len(pages) == 3 and all("très bien" in page for page in pages)
    for _ in range(2):  # the second time, without the option
        sheet = rows((tmp_path / "moodle.csv").read_text(encoding="utf-8"))
        assert [(row["ID"], row["Bewertung"], row["Zuletzt"]) for row in sheet] == [
            ("Teilnehmer/in77", "0.5", "-"), ("Teilnehmer/in78", "0.5", "-"),
        ]  # fmt: skip
        assert "0012345 isn't in" in capsys.readouterr().out
        assert main(["grade", "--merge", "--report", str(tmp_path)]) == 0


@pytest.mark.parametrize(("content", "words"), [("a,b\n1,2\n", "isn't a grading worksheet"), (None, "can't be read")])
def test_a_wrong_worksheet_is_rejected_before_the_work(tmp_path, capsys, content, words):
    store.remember(tmp_path, [], {}, MASTERS)
    worksheet = tmp_path / "wrong.csv"
    if content is not None:
        worksheet.write_text(content)
    assert main(["grade", "--merge", "--report", str(tmp_path), "--worksheet", str(worksheet)]) == 1
    assert words in capsys.readouterr().err and {path.name for path in tmp_path.iterdir()} <= {
        "marks.json",
        "wrong.csv",
    }


def test_a_report_of_an_earlier_release_is_rejected(tmp_path, capsys):
    store.remember(tmp_path, [Marks("anna_12", "graded", ())], {}, MASTERS)
    path = tmp_path / "marks.json"
    path.write_text(path.read_text().replace('"student_id"', '"before"'))
    assert main(["grade", "--merge", "--report", str(tmp_path)]) == 1
    assert "from an earlier release. Run grade again" in capsys.readouterr().err


@pytest.mark.submissions
@pytest.mark.skipif(not available(), reason="bubblewrap isn't installed or may not create namespaces")
def test_a_small_class_is_graded_with_the_latest_complete_attempt(place, facts, tmp_path, monkeypatch):
    """Six students in a sandbox: right answers to 2.2 count, wherever the platform put them."""
    monkeypatch.setattr("grading.judging.reference.default_cache", lambda: facts.folder.parent)
    right = {
        A: json.dumps(book(FIRST, solved=False)),
        B: json.dumps(book(SECOND, {"2.2": solutions()["2.2"]}, solved=False)),
    }
    path, report = tmp_path / "class.zip", tmp_path / "report"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, platform in enumerate(("canvas", "moodle", "brightspace", "sakai", "blackboard", "canvas")):
            _, _, entries = student(number, platform, "pdf" if number == 5 else "")
            for place_in_zip, content in entries.items():
                name = next((name for name in right if place_in_zip.endswith(name)), None)
                archive.writestr(place_in_zip, right[name] if name and content == b"{}" else content)
    common = ["--report", str(report), "--model", place.model, "--text", place.text, "--budget", "quick"]
    assert main(["grade", str(path), *common]) == 0
    graded = rows((report / "grades.csv").read_text(encoding="utf-8"))
    assert len(graded) == 6 and sorted(row["2.2"] for row in graded) == ["0"] + ["0.5"] * 5
    totals = {f"{1000 + number}": "0.5" for number in range(5)} | {"1005": "0"}
    canvas = rows((report / "canvas.csv").read_text(encoding="utf-8"))[1:]
    assert {row["ID"]: row["Mechanistic interpretability"] for row in canvas} == totals
    sheet = rows((report / "moodle.csv").read_text(encoding="utf-8"))
    assert {row["Identifier"].removeprefix("Participant "): row["Grade"] for row in sheet} == totals
