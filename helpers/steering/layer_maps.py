"""Which layers to steer: the shift and the fluency of many sets of layers, each pushed equally hard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.steering.curves import Curve
from helpers.steering.sweeps import MakeHooks, Setting, check_vectors, compare, matched_coefficient, number


@dataclass(frozen=True)
class LayerMap:
    """What each set of layers does at each size of push: one :class:`Curve` (−c, 0, +c) per pair."""

    layer_sets: tuple[tuple[int, ...], ...]
    sizes: tuple[float, ...]
    curves: tuple[tuple[Curve, ...], ...]  # [set][size]
    coefficients: tuple[tuple[float, ...], ...]

    @property
    def shift(self) -> Float[Tensor, "sets sizes"]:
        return self._each(Curve.shift)

    @property
    def fluency(self) -> Float[Tensor, "sets sizes"]:
        return self._each(Curve.fluency)

    def _each(self, figure: Callable[[Curve, float], float]) -> Float[Tensor, "sets sizes"]:
        pairs = zip(self.curves, self.coefficients, strict=True)
        return torch.tensor([[figure(curve, c) for curve, c in zip(*pair, strict=True)] for pair in pairs])

    def best(self, max_fluency: float) -> tuple[tuple[int, ...], float]:
        """Layers and coefficient with the largest shift among those whose perplexity ratio is at most ``max_fluency``;
        among equals the most fluent. If none is that fluent, the most fluent one.
        """
        found = [
            (curve.shift(c), -curve.fluency(c), layers, c)
            for layers, curves, cs in zip(self.layer_sets, self.curves, self.coefficients, strict=True)
            for curve, c in zip(curves, cs, strict=True)
        ]
        fluent = [entry for entry in found if -entry[1] <= max_fluency]
        best = max(fluent, key=lambda entry: entry[:2]) if fluent else max(found, key=lambda entry: entry[1])
        return best[2], best[3]


def layer_map(
    model,
    make_hooks: MakeHooks,
    vectors: Float[Tensor, "n_layers d_model"],
    norms: Float[Tensor, " n_layers"],
    prompts: Sequence[str],
    layer_sets: Sequence[Sequence[int]],
    sizes: Sequence[float],
    max_new_tokens: int = 20,
    kept: dict | None = None,
) -> LayerMap:
    """Push with every set of layers, up and down, so hard that each set's pushes add up to the same size (VADER).

    Args:
        norms: median norm of the residual stream per layer.
        sizes: sums over the layers of ‖c·v‖ over the median norm.

    Raises:
        SteeringError: as :func:`sweep`.
    """
    check_vectors(model, vectors, [layer for layers in layer_sets for layer in layers])
    sets = [tuple(layers) for layers in layer_sets]
    cs = [[matched_coefficient(vectors, norms, layers, number(size)) for size in sizes] for layers in sets]
    pairs = [(layers, c) for layers, row in zip(sets, cs, strict=True) for c in row]
    settings = {str(i): Setting(vectors, c, layers) for i, (layers, c) in enumerate(pairs)}
    found = iter(compare(model, make_hooks, settings, prompts, max_new_tokens, kept=kept).values())
    curves = [[next(found)[0] for _ in sizes] for _ in sets]
    return LayerMap(tuple(sets), tuple(sizes), tuple(map(tuple, curves)), tuple(map(tuple, cs)))
