"""The zip file that students get: notebooks and helpers, no solutions, no probes, no tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

from .isolation import ROOT

FILES = ("README.md", "LICENSE", "Makefile", "environment.yml", "requirements.txt", "requirements-model.txt", "pyproject.toml")
FOLDERS = ("notebooks", "helpers")
SECTIONS = ("For students", "Settings")  # of the README; its figures would give away what students are to find
_STAMP = (2020, 1, 1, 0, 0, 0)  # so that the same course always gives the same bytes


def contents(root: Path = ROOT) -> list[Path]:
    """The handed out files, relative to the course."""
    found = [Path(name) for name in FILES]
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            hidden = any(part.startswith((".", "__pycache__")) for part in path.relative_to(root).parts)
            if path.is_file() and not hidden:
                found.append(path.relative_to(root))
    return found


def write(out: Path, root: Path = ROOT) -> int:
    """Write the archive; the number of files in it."""
    files = contents(root)
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(f"homework/{path.as_posix()}", _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _readme(root) if path == Path("README.md") else (root / path).read_bytes())
    return len(files)


def _readme(root: Path) -> str:
    head, *sections = (root / "README.md").read_text(encoding="utf-8").split("\n## ")
    return "\n## ".join([head, *(section for section in sections if section.split("\n")[0] in SECTIONS)])
