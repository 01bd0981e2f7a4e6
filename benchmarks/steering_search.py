"""Search over layers, vectors and coefficients for notebook 1's last setting.

    python -m benchmarks.steering_search

Settings are ranked on the 32 trial prompts by mean VADER score at +c minus that at −c, among those with a perplexity
ratio of at most 1.4. The mean score varies less than a share, because it weights each prompt by how far it moves.
The best three and the original's recipe are then measured on the notebook's 40 prompts. Choosing among these three
is a selection too, so they are also measured on 40 fresh prompts.
"""

from __future__ import annotations

import runpy
from itertools import product
from pathlib import Path

import torch

from benchmarks.common import OUT, machine
from helpers import data, harvest, load_model, steering
from helpers.settings import settings
from helpers.steering.sweeps import Setting

MAX_PERPLEXITY_RATIO = 1.4
SIZES = (0.3, 0.42, 0.55)
SOLUTION = Path("solutions/01_sentiment_steering.py")


def answers() -> dict:
    """Return the reference solution's functions from the cells of tasks 1.1 and 1.2, without running the notebook."""
    cells = SOLUTION.read_text(encoding="utf-8").split("# %%")
    tasks = [cell.split("\n", 1)[1] for cell in cells if cell.startswith((' task="1.1" points', ' task="1.2" points'))]
    script = OUT / "answers.py"
    OUT.mkdir(parents=True, exist_ok=True)
    script.write_text(
        "import torch\nfrom jaxtyping import Float\nfrom torch import Tensor\n" + "\n".join(tasks), encoding="utf-8"
    )
    return runpy.run_path(str(script))


def layer_sets(n: int) -> list[tuple[int, ...]]:
    """Return single layers, runs of layers, and sets of two to four spread-out layers."""
    at = lambda *depths: tuple(round(depth * n) for depth in depths)  # noqa: E731
    return [
        *((round(depth * n),) for depth in (0.5, 0.6, 0.7, 0.8, 0.9)),
        (n - 1,),
        at(0.5, 0.9),
        at(0.6, 0.9),
        at(0.4, 0.67, 0.9),
        at(0.5, 0.7, 0.9),
        at(0.3, 0.5, 0.7, 0.9),
        tuple(range(n)),
        tuple(range(n // 2, n)),
        tuple(range(round(0.8 * n), round(0.93 * n))),
    ]


def distance(curve, c: float) -> float:
    """Return the mean VADER score at +c minus that at −c."""
    return curve.at(c).vader - curve.at(-c).vader


def main() -> None:
    setting, solution = settings(), answers()
    model = load_model(setting.model, dtype=setting.dtype)
    average, make_hooks = solution["collect_average_residuals"], solution["make_steering_hooks"]
    mean = average(model, list(data.POSITIVE)) - average(model, list(data.NEGATIVE))
    vectors = {"mean difference": mean, "principal": steering.principal(average, model, data.POSITIVE, data.NEGATIVE)}
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
    residuals = harvest(model, [*data.POSITIVE, *data.NEGATIVE], names, progress=False)
    medians = torch.stack([residuals[name].values.norm(dim=-1).median() for name in names])
    tried = {
        f"{kind}, layers {layers if len(layers) < 6 else f'{layers[0]}–{layers[-1]}'}, size {size:g}": Setting(
            vectors[kind], steering.matched_coefficient(vectors[kind], medians, layers, size), layers
        )
        for kind, layers, size in product(vectors, layer_sets(model.cfg.n_layers), SIZES)
    }
    found = steering.compare(model, make_hooks, tried, data.TRIAL_PROMPTS)
    fluent = {name: pair for name, pair in found.items() if pair[0].perplexity_ratio(pair[1]) <= MAX_PERPLEXITY_RATIO}
    ranked = sorted(fluent, key=lambda name: distance(*fluent[name]), reverse=True)
    recipes = {f"original's recipe ±{c:g}": Setting(mean, c) for c in (0.15, 0.2)}
    last = {name: tried[name] for name in ranked[:3]} | recipes
    measured = steering.compare(model, make_hooks, last, data.HELD_OUT_PROMPTS)
    text = "\n".join([
        "# Steering: which layers",
        f"\nMeasured on: {machine()}; {setting.model}, {setting.dtype}, 20 greedy tokens. {len(tried)} settings.",
        f"\n## The best ten up to a ratio of {MAX_PERPLEXITY_RATIO}, on {len(data.TRIAL_PROMPTS)} trial prompts\n",
        "```", steering.table({name: found[name] for name in ranked[:10]}), "```",
        f"\n## The best three and the original's recipe, on {len(data.HELD_OUT_PROMPTS)} held-out prompts\n",
        "```", steering.table(measured), "```",
    ])  # fmt: skip
    (OUT / "steering_search.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
