"""Which layers to steer: shift and perplexity ratio of many sets of layers at equal sizes of the push."""

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
    """One :class:`Curve` (−c, 0, +c) per set of layers and size of the push."""

    layer_sets: tuple[tuple[int, ...], ...]
    sizes: tuple[float, ...]
    curves: tuple[tuple[Curve, ...], ...]  # [layer set][size]
    coefficients: tuple[tuple[float, ...], ...]

    @property
    def shift(self) -> Float[Tensor, "sets sizes"]:
        return self._each(Curve.shift)

    @property
    def perplexity_ratio(self) -> Float[Tensor, "sets sizes"]:
        return self._each(Curve.perplexity_ratio)

    def _each(self, figure: Callable[[Curve, float], float]) -> Float[Tensor, "sets sizes"]:
        pairs = zip(self.curves, self.coefficients, strict=True)
        return torch.tensor([[figure(curve, c) for curve, c in zip(*pair, strict=True)] for pair in pairs])

    def best(self, max_perplexity_ratio: float) -> tuple[tuple[int, ...], float]:
        """Return the layers and coefficient with the largest shift within the given perplexity ratio.

        Ties go to the lower perplexity ratio. If no setting qualifies, return the one with the lowest ratio.
        """
        entries = [
            (curve.shift(c), -curve.perplexity_ratio(c), layers, c)
            for layers, curves, cs in zip(self.layer_sets, self.curves, self.coefficients, strict=True)
            for curve, c in zip(curves, cs, strict=True)
        ]
        fluent = [entry for entry in entries if -entry[1] <= max_perplexity_ratio]
        best = max(fluent, key=lambda entry: entry[:2]) if fluent else max(entries, key=lambda entry: entry[1])
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
    """Steer with every set of layers at ±c; choose c so that all sets are compared at equal sizes of the push.

    Completions are scored by VADER alone.

    Args:
        norms: median norm of the residual stream per layer.
        sizes: sizes of the push: ‖c·v‖ / median norm, summed over the layers.
        kept: as for :func:`helpers.steering.sweeps.sweep`.

    Raises:
        SteeringError: as :func:`helpers.steering.sweeps.sweep`.
    """
    check_vectors(model, vectors, [layer for layers in layer_sets for layer in layers])
    sets = [tuple(layers) for layers in layer_sets]
    cs = [[matched_coefficient(vectors, norms, layers, number(size)) for size in sizes] for layers in sets]
    pairs = [(layers, c) for layers, row in zip(sets, cs, strict=True) for c in row]
    settings = {str(i): Setting(vectors, c, layers) for i, (layers, c) in enumerate(pairs)}
    compared = iter(compare(model, make_hooks, settings, prompts, max_new_tokens, kept=kept).values())
    curves = [[next(compared)[0] for _ in sizes] for _ in sets]
    return LayerMap(tuple(sets), tuple(sizes), tuple(map(tuple, curves)), tuple(map(tuple, cs)))
