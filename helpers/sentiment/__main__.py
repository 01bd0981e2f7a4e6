"""``python -m helpers.sentiment``: measure the judge and VADER on texts of known sentiment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from helpers.sentiment import judge, vader


def measure(positive: Sequence[str], negative: Sequence[str], model=None) -> dict[str, dict[str, float]]:
    """Return accuracy (threshold 0) and AUROC of the judge and of VADER on texts of known sentiment."""
    from sklearn.metrics import roc_auc_score

    texts, truth = [*positive, *negative], torch.tensor([1] * len(positive) + [0] * len(negative))
    result = {}
    for name, scores in (("judge", judge(texts, model, progress=True)), ("VADER", vader(texts))):
        right = ((scores > 0) == truth.bool()).float().mean().item()
        result[name] = {"accuracy": right, "auroc": float(roc_auc_score(truth, scores)), "texts": len(texts)}
    return result


def main() -> None:
    from helpers.data import lines

    parser = argparse.ArgumentParser(description="Measure the judge and VADER on texts of known sentiment.")
    parser.add_argument("positive", type=Path, help="a file with one positive text per line")
    parser.add_argument("negative", type=Path, help="a file with one negative text per line")
    parser.add_argument("-n", type=int, default=500, help="number of texts from each file (default: 500)")
    args = parser.parse_args()
    for name, figures in measure(lines(args.positive, args.n), lines(args.negative, args.n)).items():
        print(f"{name:6} accuracy {figures['accuracy']:.3f}  AUROC {figures['auroc']:.3f}  ({figures['texts']} texts)")


if __name__ == "__main__":
    main()
