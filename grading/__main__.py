"""``python -m grading grade|check|handout …``: grade a class, check one's own notebook, build what students get.

Students have only ``check``: the other commands' modules aren't in the handout.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec

INSTRUCTORS = ("grading.judging", "grading.release")  # packages that the handout lacks
COMMANDS = ("grading.judging.command", "grading.selfcheck", "grading.release.handout")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m grading", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    everything = all(map(find_spec, INSTRUCTORS))
    for name in COMMANDS:
        if everything or not name.startswith(INSTRUCTORS):
            import_module(name).add_command(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
