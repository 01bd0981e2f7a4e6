"""Run the reference solution on the students' model, text and budget, once, and keep the results in a cache.

Each notebook's run leaves two things:

- a *bundle* of what the given cells compute (steering vectors, activations, the reference SAE), for students' code;
- the *expected* answers to all hidden tests, which students' code never sees.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import platformdirs
import torch
from filelock import FileLock
from safetensors.torch import load, save

from grading.paths import ROOT
from grading.release.masters import graded_masters, read_master
from grading.sandbox.isolation import Place
from grading.submissions.notebook import Cell
from grading.submissions.slicing import Submission, squeeze

HIDDEN_TOKENS = {"full": 6000, "quick": 1500}  # approximate
BEGINNING, HIDDEN_NEW = 6, 64  # tokens of a line that the model is given, and tokens that it writes
KEPT = 3  # cached reference runs
REMEMBERED = 64  # cached outcomes: many students hand in the same answer


class FactsError(RuntimeError):
    """Raised when the reference solution doesn't run on this model and text; the message ends with its error."""


def load_hidden_tests(masters: Path) -> ModuleType:
    """Import and return the package ``hidden_tests`` from the masters' folder; raise :class:`FactsError` without it."""
    folder = (masters / "hidden_tests").resolve()
    name = f"hidden_tests_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    init = folder / "__init__.py"
    if not init.is_file():
        raise FactsError(f"There are no hidden tests in {folder}. Pass a course's folder solutions with --masters.")
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the package's own modules look for it there
    spec.loader.exec_module(module)
    return module


@dataclass
class Facts:
    """The results of running the reference solution, read from the cache; students' answers are compared with them.

    Attributes:
        folder: the cached run: ``record.json``, ``expected.pickle`` and one bundle per notebook.
        task: the task being judged; the hidden tests' compare functions read it.
    """

    folder: Path
    masters: Path
    place: Place
    task: str = ""

    def __post_init__(self) -> None:
        self._remembered: dict[str, object] = {}
        self.hidden_tests = load_hidden_tests(self.masters)
        self.questions = (self.masters / "hidden_tests" / "questions.py").read_text(encoding="utf-8")
        self.record = json.loads((self.folder / "record.json").read_text(encoding="utf-8"))
        self.prompts: list[str] = self.record["prompts"]
        self.new_tokens: int = self.record["new_tokens"]
        self.middle_name: str = self.record["middle_name"]

    @cached_property
    def expected(self) -> dict[str, Any]:
        return pickle.loads((self.folder / "expected.pickle").read_bytes())  # safe: this module wrote it

    @cached_property
    def model(self):
        from helpers.models.loading import load_model

        return load_model(self.place.model, device="cpu", dtype=getattr(torch, self.record["dtype"]))

    @property
    def hidden(self) -> np.ndarray:
        return self.expected["hidden"]

    @property
    def reference(self) -> dict:
        return self.expected["reference"]

    def bundle(self, notebook: str) -> str:
        return str(self.folder / f"{notebook}.pt")

    def names(self, notebook: str) -> list[str]:
        return self.record["bundles"][notebook]

    def given(self, which: str) -> tuple[dict, bytes]:
        """Return a question's extra input: JSON and a safetensors blob."""
        return given(which, self.hidden)

    def remember(self, key: str, make: Callable[[], object]) -> object:
        if key not in self._remembered:
            while len(self._remembered) >= REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[key] = make()
        return self._remembered[key]


def given(which: str, hidden: np.ndarray | None) -> tuple[dict, bytes]:
    if hidden is None:
        return {}, b""
    n, d_in = hidden.shape
    sizes = {"d_in": d_in, "most": 64 * d_in}
    if which == "hidden":
        return {"most": 512 * n}, save({"activations": torch.tensor(hidden, dtype=torch.float32)})
    if which == "rows":
        return {}, save({"rows": torch.randn(6, d_in, generator=torch.Generator().manual_seed(4))})
    return (sizes, b"") if which == "sizes" else ({}, b"")


def facts(masters: Path, place: Place, say: Callable[[str], None] = print, cache: Path | None = None) -> Facts:
    """Return the facts for these masters and this place, from the cache or by running the solutions.

    Args:
        cache: the folder for cached runs, by default in the user's cache folder. The newest three are kept.

    Raises:
        FactsError: the solutions don't run, or there are no hidden tests.
    """
    cache = cache or default_cache()
    load_hidden_tests(masters)
    folder = cache / reference_key(masters, place)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):
        if not folder.is_dir():
            say("Running the reference solutions once (takes minutes; the results are cached) …")
            part = Path(tempfile.mkdtemp(dir=folder.parent, prefix="part-"))
            try:
                _run_solutions(masters, place, part)
                os.replace(part, folder)
                _forget(cache)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return Facts(folder, masters, place)


def default_cache() -> Path:
    return Path(platformdirs.user_cache_dir("mechinterp-homework-grading"))


def _forget(cache: Path) -> None:
    """Delete old runs: each change of the course adds one, of half a gigabyte for the full budget."""
    runs = [path for path in cache.iterdir() if (path / "record.json").is_file()]
    for path in sorted(runs, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def reference_key(masters: Path, place: Place) -> str:
    """Return a hash of everything that the solution's answers depend on, the number of threads excluded."""
    digest = hashlib.sha256(torch.__version__.encode())
    names = ("judging/hidden_tests.py", "judging/reference.py", "submissions/slicing.py")
    grader = [ROOT / "grading" / name for name in names]
    helpers = [path for kind in ("*.py", "data/*.*") for path in sorted((ROOT / "helpers").rglob(kind))]
    for path in [*sorted(masters.rglob("*.py")), *helpers, *grader]:
        digest.update(path.read_bytes())
    for value in (place.model, place.text, place.budget):
        digest.update(value.encode())
        if os.path.isfile(value):
            digest.update(Path(value).read_bytes())
    if os.path.isdir(place.model):
        for path in sorted(Path(place.model).glob("*.json")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:24]


def _run_solutions(masters: Path, place: Place, out: Path) -> None:
    settings = {"HOMEWORK_MODEL": place.model, "HOMEWORK_TEXT": place.text, "HOMEWORK_BUDGET": place.budget}
    command = [sys.executable, "-m", "grading.judging.reference", str(masters), str(out)]
    done = subprocess.run(
        command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise FactsError(
            "The reference solutions don't run here. Fix this error first:\n"
            + "\n".join(done.stderr.strip().splitlines()[-12:])
        )


# The rest runs in a separate process, which never runs students' code.


def _make(masters: Path, out: Path) -> None:
    hidden_tests = load_hidden_tests(masters)
    scope: dict = {"__name__": "question"}
    source = (masters / "hidden_tests" / "questions.py").read_text(encoding="utf-8")
    exec(compile(source, "questions.py", "exec"), scope)
    expected: dict[str, Any] = {}
    record: dict = {"bundles": {}}
    for path in graded_masters(masters):
        book = read_master(path)
        found = _namespace(book, hidden_tests, path.stem)
        names = [name for name in hidden_tests.PROVIDED.get(path.stem, ()) if name in found]
        torch.save({name: found[name] for name in names}, out / f"{path.stem}.pt")
        record["bundles"][path.stem] = names
        _record(found, record, hidden_tests)
        if "middle" in found:
            expected["hidden"] = _hidden(found, hidden_tests.HIDDEN_SEED)
            questions = hidden_tests.dictionary_questions("reference")
            expected["reference"] = _answers(scope, found, questions, expected["hidden"])
        for test in hidden_tests.HIDDEN_TESTS:
            if all(name in found for name in hidden_tests.WANTED[test.task]):
                expected[test.key] = _answers(scope, found, test.questions, expected.get("hidden"))
    (out / "expected.pickle").write_bytes(pickle.dumps(expected))
    (out / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _namespace(book, hidden_tests: ModuleType, stem: str) -> dict:
    """Run the solution's cells that the hidden tests and the bundle need, and return the namespace."""
    cells = [Cell(cell.source, cell.cell_type == "code", *_task(cell)) for cell in book.cells]
    solution = Submission(cells, {squeeze(cell.source) for cell in cells if cell.role != "solution"}, stubs={}, have=())
    wanted = [name for names in hidden_tests.WANTED.values() for name in names]
    wanted += hidden_tests.PROVIDED.get(stem, ())
    plan = solution.plan("", [name for name in wanted if any(name in names.binds for names in solution.names)])
    scope: dict = {"__name__": "__main__"}
    torch.manual_seed(0)
    for index in plan.cells:
        exec(compile(cells[index].source, f"{stem} cell {index + 1}", "exec"), scope)
    return scope


def _task(cell) -> tuple[str, str]:
    mark = cell.metadata.get("homework", {})
    return mark.get("task", ""), mark.get("role", "")


def _record(found: dict, record: dict, hidden_tests: ModuleType) -> None:
    setting = found["setting"]
    record.update(
        prompts=list(hidden_tests.PROMPTS[: setting.sizes.graded]),
        new_tokens=setting.sizes.new_tokens,
        dtype=str(setting.dtype).removeprefix("torch."),
        middle_name=found.get("middle_name", record.get("middle_name", "")),
    )


def _hidden(found: dict, seed: int) -> np.ndarray:
    """Return activations of new text: the model continues beginnings of lines, which are themselves excluded."""
    from helpers.caching.harvesting import harvest
    from helpers.hooks.generation import generate_many
    from helpers.hooks.sampling import Sampling

    model, middle = found["model"], found["middle"]
    new = min(HIDDEN_NEW, model.cfg.n_ctx - BEGINNING - 2)
    begun = [model.to_string(model.to_tokens(line)[0, 1 : 1 + BEGINNING]) for line in found["lines"][:2000:7]]
    begun = [text for text in begun if text.strip()][: -(-HIDDEN_TOKENS[found["setting"].budget] // new)]
    draws = [Sampling(temperature=0.8, seed=seed + i) for i in range(len(begun))]
    (written,) = generate_many(model, begun, [[]], new, sampling=draws, fluency=False)
    texts = [completion.full_text for completion in written]
    acts = harvest(model, texts, middle.hook_name, model.cfg.n_ctx, "cut", progress=False)
    acts = acts[acts.positions > BEGINNING].without_sinks()
    return acts.values.float().numpy()


def _answers(scope: dict, found: dict, questions, hidden) -> dict:
    answers: dict = {}
    for question in questions:
        answers |= _ask(scope, found, question.name, question.given, question.arrays, hidden)
    return answers


def _ask(scope: dict, found: dict, name: str, words: dict, which: str, hidden: np.ndarray | None) -> dict:
    more, blob = given(which, hidden) if which else ({}, b"")
    answer = scope[name](found, {**words, **more, **(load(blob) if blob else {})})
    return {key: value.detach().numpy() if isinstance(value, torch.Tensor) else value for key, value in answer.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("masters", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    _make(options.masters, options.out)
