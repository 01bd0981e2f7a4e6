"""Grade a class in parallel, on one machine or a Dask cluster, and resume after an interruption.

Each graded submission is a file ``results/<key>.json`` in the report's folder. The key is a hash of the submission and
everything else that its marks depend on, so a second run grades only what is new.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from tqdm.auto import tqdm

from grading.course import Course, read_course
from grading.judging import submission as grading
from grading.judging.reference import Facts, facts
from grading.marks import Marks
from grading.paths import ROOT
from grading.sandbox.isolation import Limits, Place, SandboxError
from grading.sandbox.session import Broken, Session
from grading.submissions.collect import Handed
from helpers.files import write_text


@dataclass(frozen=True)
class Job:
    """The settings that all submissions of a run share."""

    masters: str
    folder: str  # holds the facts
    place: Place
    limits: Limits

    def key(self, handed: Handed) -> str:
        """Return the name of one submission's result file."""
        digest = hashlib.sha256(
            repr((self.place.model, self.place.text, self.place.budget, asdict(self.limits))).encode()
        )
        for path in [*sorted((ROOT / "grading").rglob("*.py")), *sorted(Path(self.masters).rglob("*.py"))]:
            digest.update(path.read_bytes())
        about = (handed.student, handed.student_id, handed.full_name, handed.notes, list(map(len, handed.earlier)))
        digest.update(Path(self.folder).name.encode() + repr(about).encode())
        for path in [*handed.files, *(path for attempt in handed.earlier for path in attempt)]:
            digest.update(path.name.encode("utf-8", "replace"))
            try:
                digest.update(hashlib.file_digest(path.open("rb"), "sha256").digest())
            except OSError:
                digest.update(b"unreadable")
        return digest.hexdigest()[:32]


def prepare(masters: Path, place: Place, limits: Limits, say=print) -> tuple[Job, Course, Facts]:
    """Return the job for the workers, the course and the facts. Runs the solutions if they aren't cached.

    Raises:
        ReleaseError: there are no masters.
        FactsError: the solutions don't run on this model and text.
        SandboxError: the sandbox doesn't start.
    """
    course = read_course(masters)
    try:  # an error here would be no student's
        Session(place, limits).close()
    except Broken as broken:
        why = f"it needs more than {limits.seconds:g} seconds. Raise --limit-seconds."
        raise SandboxError(f"The sandbox can't be started: {why}") from broken
    known = facts(masters, place, say)
    place = Place(**{**asdict(place), "files": tuple(known.bundle(name) for name in known.record["bundles"])})
    return Job(str(masters), str(known.folder), place, limits), course, known


def grade_all(job: Job, handed: Sequence[Handed], results: Path, jobs: int = 1, dask: str = "") -> list[Marks]:
    """Return the marks of all submissions in order. Each result is saved in ``results`` as soon as it is finished."""
    results.mkdir(parents=True, exist_ok=True)
    keys = [job.key(each) for each in handed]
    paths = [results / f"{key}.json" for key in keys]
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    with tqdm(total=len(handed), initial=len(handed) - len(missing), desc="grade", unit="submission") as bar:
        for i, record in _run(job, [(i, handed[i]) for i in missing], jobs, dask):
            write_text(paths[i], json.dumps(record))
            bar.set_postfix_str(f"{handed[i].student[:20]}: {record['status']}")
            bar.update()
    return [Marks.from_json(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _run(job: Job, numbered: list[tuple[int, Handed]], jobs: int, dask: str) -> Iterator[tuple[int, dict]]:
    """Yield (number, marks as JSON) as the submissions are finished."""
    if not numbered:
        return
    if dask:
        yield from _on_dask(job, numbered, dask)
    elif jobs == 1 or len(numbered) == 1:
        yield from (one(job, *each) for each in numbered)
    else:
        from joblib import Parallel, delayed

        yield from Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
            delayed(one)(job, *each) for each in numbered
        )


def _on_dask(job: Job, numbered: list[tuple[int, Handed]], address: str) -> Iterator[tuple[int, dict]]:
    from distributed import Client, as_completed

    with Client(address) as client:
        # Dask gives a dead worker's submissions to another one. If a submission kills several workers, it fails.
        futures = [client.submit(one, job, *each, pure=False) for each in numbered]
        where = dict(zip((future.key for future in futures), numbered, strict=True))
        for future in as_completed(futures):
            number, handed = where[future.key]
            yield (
                future.result()
                if future.status == "finished"
                else (number, _failed(handed, f"the workers died ({future.status})"))
            )


def one(job: Job, number: int, handed: Handed) -> tuple[int, dict]:
    """Grade one submission. An error in the grader itself becomes the status "failed"."""
    try:
        known, course = _known(job)
        return number, grading.grade(handed, course, known, job.limits).as_json()
    except Exception:
        return number, _failed(handed, traceback.format_exc(limit=-3))


def _failed(handed: Handed, why: str) -> dict:
    notes = (*handed.notes, f"The grader failed: {why}")
    return Marks(
        handed.student, "failed", (), notes=notes, student_id=handed.student_id, full_name=handed.full_name
    ).as_json()


@lru_cache(maxsize=1)
def _known(job: Job) -> tuple[Facts, Course]:
    """Return the facts and the course, read once per process."""
    import torch

    torch.set_num_threads(job.place.threads)
    return Facts(Path(job.folder), Path(job.masters), job.place), read_course(Path(job.masters))


def circumstances(job: Job, known: Facts) -> dict:
    """Return what the marks depend on, for the report."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "transformer_lens", "numpy")},
        "model": job.place.model,
        "text": job.place.text,
        "budget": job.place.budget,
        "dtype": known.record["dtype"],
        "threads": job.place.threads,
        "seed": 0,
        "sandbox": "bubblewrap" if job.place.sandboxed else "NONE",
        "facts": Path(job.folder).name,
        **{f"limit: {name.replace('_', ' ')}": value for name, value in asdict(job.limits).items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python at {Path(sys.prefix).name}",
    }


def _commit() -> str:
    """Return the course's commit, with a + if tracked files have changed since."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        return "not in git"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
    ).stdout
    return head.stdout.strip() + ("+" if changed.strip() else "")
