"""The house: imports point down (contracts in pyproject.toml), without circles, and files stay short."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]
PACKAGES = ("helpers", "grading", "tools", "benchmarks")


@pytest.fixture
def graph():
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Return the modules of an import circle, or an empty list."""
    try:
        TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_the_contracts_are_kept(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(cache_dir=None) == EXIT_STATUS_SUCCESS


def test_no_module_imports_itself_through_others(graph):
    assert circle(graph) == []


def test_a_circle_is_found(graph):
    graph.add_import(importer="helpers.kernels.matmul", imported="helpers.hooks.decoding")
    assert {"helpers.kernels.matmul", "helpers.hooks.decoding"} <= set(circle(graph))


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_helpers_stay_small():
    assert sum(lines(path) for path in python_files("helpers") if "checks" not in path.parts) <= 8200


def test_no_file_is_long():
    long = {str(path.relative_to(ROOT)): lines(path) for path in python_files(*PACKAGES, "tests") if lines(path) > 300}
    assert long == {}
