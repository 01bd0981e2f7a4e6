"""``python -m helpers.caching``: harvest activations into a folder, by one process or many."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helpers.caching.activations import HarvestError
from helpers.caching.shards import DTYPES, harvest_to


def main(arguments: list[str] | None = None) -> int:
    """``python -m helpers.caching``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.caching", description="Harvest activations into a folder.")
    parser.add_argument("out", type=Path, help="the folder")
    parser.add_argument(
        "--hook", action="append", required=True, help="a hook point; more than once for several in one pass"
    )
    parser.add_argument("--model", default="smollm2", help="smollm2, gpt2 or a folder (smollm2)")
    parser.add_argument("--text", default="written", help="written, wikitext or a file (written)")
    parser.add_argument(
        "--shard", default="0/1", metavar="I/N", help="make every N-th shard, from the I-th on (0/1: all)"
    )
    parser.add_argument(
        "--compute", default="float32", choices=sorted(DTYPES), help="in which the model runs (float32)"
    )
    parser.add_argument(
        "--dtype", default="float32", choices=sorted(DTYPES), help="in which values are stored (float32)"
    )
    parser.add_argument("--context", type=int, default=256, help="tokens of a line, BOS counted (256)")
    parser.add_argument(
        "--too-long", default="split", choices=("split", "cut", "error"), help="what becomes of a longer line (split)"
    )
    parser.add_argument("--lines-per-shard", type=int, default=512)
    options = parser.parse_args(arguments)
    from helpers import data, load_model
    from helpers.data.texts import TextError
    from helpers.hooks import HookError
    from helpers.models.smollm2 import ModelError

    try:
        number, of = map(int, options.shard.split("/"))
        model = load_model(options.model, dtype=DTYPES[options.compute])
        harvest_to(
            options.out, model, data.lines(options.text), options.hook, min(options.context, model.cfg.n_ctx), options.too_long,
            dtype=options.dtype, lines_per_shard=options.lines_per_shard, part=(number, of),
        )  # fmt: skip
    except (HarvestError, HookError, ModelError, TextError, ValueError) as error:
        print(f"harvest: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
