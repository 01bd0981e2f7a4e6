"""``python -m grading grade|check|handout …``: grade a class, check a notebook, or build the students' zip file.

Students have only ``check``, since the handout lacks the other commands' modules.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

COMMANDS = ("grading.judging.command", "grading.selfcheck", "grading.release.handout")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m grading", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    root = Path(__file__).resolve().parents[1]
    for name in COMMANDS:
        if (root / name.replace(".", "/")).with_suffix(".py").is_file():
            import_module(name).add_command(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
