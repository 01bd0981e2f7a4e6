"""``python -m helpers.caching``: harvest activations into a folder, with one process or many."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helpers.caching.activations import HarvestError
from helpers.caching.shards import DTYPES, harvest_to


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.caching", description="Harvest activations into a folder.")
    parser.add_argument("out", type=Path, help="output folder")
    parser.add_argument("--hook", action="append", required=True, help="hook point; repeat for several in one pass")
    parser.add_argument("--model", default="smollm2", help="smollm2, gpt2 or a folder (default: smollm2)")
    parser.add_argument("--text", default="written", help="written, wikitext or a file (default: written)")
    parser.add_argument(
        "--shard",
        default="0/1",
        metavar="I/N",
        help="make every N-th shard, starting at shard I (default: 0/1, all of them)",
    )
    parser.add_argument("--compute", default="float32", choices=sorted(DTYPES), help="the model's dtype (float32)")
    parser.add_argument(
        "--dtype", default="float32", choices=sorted(DTYPES), help="dtype the values are stored in (default: float32)"
    )
    parser.add_argument("--context", type=int, default=256, help="maximum tokens per line, BOS included (default: 256)")
    parser.add_argument(
        "--too-long",
        default="split",
        choices=("split", "cut", "error"),
        help="what to do with a longer line (default: split)",
    )
    parser.add_argument("--lines-per-shard", type=int, default=512, help="lines per shard (default: 512)")
    options = parser.parse_args(arguments)
    from helpers import data, load_model
    from helpers.data.texts import TextError
    from helpers.hooks import HookError
    from helpers.models.smollm2 import ModelError

    try:
        number, of = map(int, options.shard.split("/"))
        model = load_model(options.model, dtype=DTYPES[options.compute])
        harvest_to(
            options.out, model, data.lines(options.text), options.hook, min(options.context, model.cfg.n_ctx),
            options.too_long, dtype=options.dtype, lines_per_shard=options.lines_per_shard, part=(number, of),
        )  # fmt: skip
    except (HarvestError, HookError, ModelError, TextError, ValueError) as error:
        print(f"harvest: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
