"""Build the students' zip file: notebooks, helpers and the self-check, without solutions and hidden tests."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from grading.paths import ROOT
from grading.release.masters import ReleaseError
from helpers.files import replacing

FILES = (
    "README.md", "LICENSE", "Makefile", "environment.yml", "requirements.txt", "requirements-model.txt",
    "pyproject.toml", "docs/troubleshooting.md",
)  # fmt: skip
FOLDERS = ("notebooks", "helpers")
# The self-check and what it imports; a test compares this list with the actual imports.
SELF_CHECK = (
    "__init__", "__main__", "marks", "paths", "selfcheck",
    "sandbox/__init__", "sandbox/isolation", "sandbox/session", "sandbox/worker",
    "submissions/__init__", "submissions/cell_names", "submissions/notebook", "submissions/slicing",
)  # fmt: skip
SECTIONS = ("For students", "Settings")  # of the README; its other sections give answers away
_STAMP = (2020, 1, 1, 0, 0, 0)  # fixed, so that the same files always give the same archive, byte for byte


def contents(root: Path = ROOT) -> dict[Path, Path]:
    """Return the handout's files: their path in the archive -> their path in the repository, both relative.

    Raises:
        ReleaseError: the folder isn't a course, or a part of it is missing.
    """
    found = {Path(name): Path(name) for name in FILES}
    found |= {path: path for path in (Path("grading") / f"{name}.py" for name in SELF_CHECK)}
    for folder in FOLDERS:
        found |= {path: path for path in _visible(root, folder)}
    # Students edit notebooks/, so the self-check needs an unedited copy.
    found |= {Path("grading/given") / path.name: path for path in found.values() if path.match("notebooks/*.ipynb")}
    missing = [source.as_posix() for source in found.values() if not (root / source).is_file()]
    missing += [] if any(path.match("notebooks/*.ipynb") for path in found.values()) else ["notebooks/*.ipynb"]
    if missing:
        raise ReleaseError(
            f"{root} lacks {', '.join(missing[:3])}{' and more' * (len(missing) > 3)}: the handout is built from a "
            "clone of the course's repository, so run the command in its folder."
        )
    return found


def _visible(root: Path, folder: str) -> Iterator[Path]:
    for path in sorted((root / folder).rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in relative.parts):
            yield relative


def write_handout(out: Path, root: Path = ROOT) -> int:
    """Write the archive and return the number of files in it."""
    files = contents(root)
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for target, source in files.items():
            entry = zipfile.ZipInfo(f"homework/{target.as_posix()}", _STAMP)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _readme(root) if source == Path("README.md") else (root / source).read_bytes())
    return len(files)


def _readme(root: Path) -> str:
    head, *sections = (root / "README.md").read_text(encoding="utf-8").split("\n## ")
    return "\n## ".join([head, *(section for section in sections if section.split("\n")[0] in SECTIONS)])


def add_command(commands) -> None:
    """Add ``handout`` to a command line's subparsers."""
    parser = commands.add_parser("handout", help="build the students' zip file")
    parser.add_argument(
        "--out", type=Path, default=Path("build/handout.zip"), help="path of the zip file (build/handout.zip)"
    )
    parser.set_defaults(run=_write)


def _write(options: argparse.Namespace) -> int:
    try:
        print(f"{write_handout(options.out)} files in {options.out}")
    except ReleaseError as error:
        print(f"handout: {error}", file=sys.stderr)
        return 1
    return 0
