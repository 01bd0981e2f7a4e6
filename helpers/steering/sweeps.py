"""Steer prompts over many settings and measure the sentiment and perplexity of the completions.

Functions here take the student's ``make_hooks(vectors, coefficient, layers)`` and never build a steering hook
themselves. :mod:`helpers.steering.vectors` holds vectors for comparison and controls.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from helpers import sentiment
from helpers.hooks import Completion, Hook, generate_many
from helpers.hooks.generation import MAX_ROWS
from helpers.steering.curves import Curve, Point, SteeringError

MakeHooks = Callable[..., list[Hook]]  # (vectors [n_layers d_model], coefficient, layers=None) -> hooks


@dataclass(frozen=True, eq=False)
class Setting:
    """Vectors, coefficient and layers to steer with; ``layers=None`` steers all layers."""

    vectors: Float[Tensor, "n_layers d_model"]
    coefficient: float
    layers: tuple[int, ...] | None = None


def sweep(
    model,
    make_hooks: MakeHooks,
    settings: Sequence[Setting],
    prompts: Sequence[str],
    max_new_tokens: int = 20,
    past: str = "clean",
    kept: dict | None = None,
    progress: str = "steer",
) -> list[list[Completion]]:
    """Return the completion of every prompt in every setting, as ``result[setting][prompt]``.

    Args:
        make_hooks: the student's function; called as ``make_hooks(vectors, coefficient, layers)``.
        kept: a cache of finished settings, filled in place. After an interrupt, the same call with the same
            dict resumes where it stopped. All sweeps with this dict share the unsteered texts.

    Raises:
        SteeringError: coefficients that aren't finite numbers; vectors that aren't finite or have the wrong
            shape or device; a layer out of range; no settings. Raised before anything runs.
    """
    if not settings:
        raise SteeringError("The list of settings is empty: give at least one setting.")
    for setting in settings:
        number(setting.coefficient)
        check_vectors(model, setting.vectors, setting.layers)
    kept = {} if kept is None else kept
    keys = [_key(model, make_hooks, setting, prompts, max_new_tokens, past) for setting in settings]
    missing = [i for i, key in enumerate(keys) if key not in kept and key not in keys[:i]]
    at_once = max(1, MAX_ROWS // (2 * max(1, len(prompts))))
    parts = [missing[start : start + at_once] for start in range(0, len(missing), at_once)]
    for n, part in enumerate(parts):
        sets = [
            make_hooks(s.vectors, s.coefficient, s.layers and list(s.layers)) if s.coefficient else []
            for s in map(settings.__getitem__, part)
        ]
        title = progress if len(parts) == 1 else f"{progress} {n + 1}/{len(parts)}"
        rows = generate_many(model, list(prompts), sets, max_new_tokens, past, progress=title)
        kept.update(zip((keys[i] for i in part), rows, strict=True))
    return [kept[key] for key in keys]


def _key(model, make_hooks, setting: Setting, prompts: Sequence[str], new: int, past: str) -> tuple:
    """Return everything that a result depends on; unsteered texts don't depend on vectors, layers or past."""
    common = (id(model), tuple(prompts), new)
    if not setting.coefficient:
        return common
    fingerprint = hashlib.sha256(setting.vectors.float().cpu().numpy().tobytes()).hexdigest()
    return (*common, past, make_hooks, fingerprint, setting.coefficient, setting.layers)


def sweep_coefficients(
    model,
    make_hooks: MakeHooks,
    vectors: Float[Tensor, "n_layers d_model"],
    prompts: Sequence[str],
    coefficients: Sequence[float],
    layers: Sequence[int] | None = None,
    max_new_tokens: int = 20,
    judge_model=None,
    with_judge: bool = True,
    past: str = "clean",
    kept: dict | None = None,
) -> Curve:
    """Steer every prompt with every coefficient and return the scores as a :class:`Curve`.

    Args:
        make_hooks: the student's function; called as ``make_hooks(vectors, coefficient, layers)``.
        coefficients: 0 is added if missing, because the results are compared with it.
        layers: layers to steer; ``None`` for all.
        judge_model: the judge; ``None`` uses ``model`` if it is smollm2, else loads smollm2.
        with_judge: ``False`` scores with VADER alone, which is faster.
        past: as for :func:`helpers.hooks.generate`.
        kept: as for :func:`sweep`.

    Raises:
        SteeringError: as :func:`sweep`, or no coefficients.
    """
    if not len(coefficients):
        raise SteeringError("The list of coefficients is empty: give at least one, such as [-0.2, 0.2].")
    chosen = None if layers is None else tuple(layers)
    coefficients = sorted({0.0, *map(number, coefficients)})
    settings = [Setting(vectors, c, chosen) for c in coefficients]
    rows = sweep(model, make_hooks, settings, prompts, max_new_tokens, past, kept)
    judge_model = judge_model or (model if sentiment.is_smollm2(model) else None)
    return Curve(score(rows, coefficients, judge_model, with_judge), chosen)


def score(
    rows: Sequence[Sequence[Completion]], coefficients: Sequence[float], judge_model=None, with_judge: bool = True
) -> tuple[Point, ...]:
    """Score each list of completions; return one :class:`Point` per coefficient."""
    texts = [completion.text or " " for row in rows for completion in row]
    tones = sentiment.vader(texts).reshape(len(rows), -1)
    judged = None
    if with_judge:
        full_texts = [completion.full_text for row in rows for completion in row]
        judged = sentiment.judge(full_texts, judge_model, progress=True).reshape(len(rows), -1)
    return tuple(
        _point(c, row, tones[i], None if judged is None else judged[i])
        for i, (c, row) in enumerate(zip(coefficients, rows, strict=True))
    )


def _point(coefficient: float, row: Sequence[Completion], vader: Tensor, judged: Tensor | None) -> Point:
    positive, negative = sentiment.shares(vader, sentiment.VADER_NEUTRAL)
    return Point(
        coefficient=coefficient,
        positive=positive,
        negative=negative,
        vader=vader.mean().item(),
        judge=None if judged is None else judged.mean().item(),
        judge_positive=None if judged is None else sentiment.shares(judged)[0],
        perplexity=perplexity(row),
        completions=tuple(row),
        tones=tuple(vader.tolist()),
    )


def perplexity(completions: Sequence[Completion]) -> float:
    """Return the perplexity of all new tokens together under the unsteered model; NaN without tokens."""
    logprobs = [value for completion in completions for value in completion.logprobs]
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else math.nan


def relative_norms(
    vectors: Float[Tensor, "n_layers d_model"], norms: Float[Tensor, " n_layers"], coefficient: float
) -> Float[Tensor, " n_layers"]:
    """Return ‖c·v‖ / ``norms`` per layer; ``norms`` are the median norms of the residual stream."""
    return abs(number(coefficient)) * vectors.float().norm(dim=-1).cpu() / norms


def check_vectors(model, vectors, layers=None) -> None:
    """Raise :class:`SteeringError` unless vectors and layers fit the model.

    Vectors must be finite, ``[n_layers d_model]``, and on the model's device.
    """
    expected = [model.cfg.n_layers, model.cfg.d_model]
    if not isinstance(vectors, Tensor) or list(vectors.shape) != expected:
        found = f"have shape {list(vectors.shape)}" if isinstance(vectors, Tensor) else f"are {type(vectors).__name__}"
        raise SteeringError(
            f"The steering vectors {found}: pass one tensor of shape {expected} (use torch.stack on a list)."
        )
    if vectors.device != model.W_U.device:
        raise SteeringError(
            f"The steering vectors are on {vectors.device}, the model on {model.W_U.device}: "
            "move them with vectors.to(model.W_U.device)."
        )
    if not torch.isfinite(vectors).all():
        raise SteeringError("The steering vectors contain NaN or infinity: check how they were made.")
    for layer in layers if layers is not None else ():
        if layer not in range(model.cfg.n_layers):
            raise SteeringError(f"Layer {layer!r} doesn't exist: the model has layers 0 to {model.cfg.n_layers - 1}.")


def number(coefficient) -> float:
    """Return the coefficient as a float; raise :class:`SteeringError` unless it is a finite number."""
    if isinstance(coefficient, bool) or not isinstance(coefficient, (int, float)) or not math.isfinite(coefficient):
        raise SteeringError(f"The coefficient {coefficient!r} isn't a finite number: use one such as 0.2 or -0.2.")
    return float(coefficient)


def compare(
    model,
    make_hooks: MakeHooks,
    settings: dict[str, Setting],
    prompts: Sequence[str],
    max_new_tokens: int = 20,
    past: str = "clean",
    kept: dict | None = None,
) -> dict[str, tuple[Curve, float]]:
    """Steer at ±c for each setting's coefficient c, in one sweep; score with VADER alone.

    Returns:
        A dict from each name to its curve (−c, 0, +c) and c; :func:`helpers.steering.curves.table` formats it.

    Raises:
        SteeringError: as :func:`sweep`, or a coefficient of 0.
    """
    if not settings:
        raise SteeringError("The dict of settings is empty: give at least one setting.")
    for name, setting in settings.items():
        if not number(setting.coefficient):
            raise SteeringError(
                f"{name!r} has the coefficient 0, which leaves the text unsteered: give another coefficient."
            )
    both = [replace(s, coefficient=sign * s.coefficient) for s in settings.values() for sign in (-1, 1)]
    rows = sweep(model, make_hooks, [Setting(both[0].vectors, 0.0), *both], prompts, max_new_tokens, past, kept)
    curves = two_sided(rows, [setting.coefficient for setting in settings.values()])
    return {
        name: (replace(curve, layers=setting.layers), setting.coefficient)
        for (name, setting), curve in zip(settings.items(), curves, strict=True)
    }


def two_sided(rows: Sequence[Sequence[Completion]], coefficients: Sequence[float]) -> list[Curve]:
    """Return a curve (−c, 0, +c) per coefficient, scored by VADER.

    Args:
        rows: the unsteered completions, then those at −c and +c for each coefficient in turn.
    """
    zero, *points = score(rows, [0.0, *(sign * c for c in coefficients for sign in (-1, 1))], with_judge=False)
    pairs = zip(points[::2], points[1::2], strict=True)
    return [Curve(tuple(sorted((*pair, zero), key=lambda point: point.coefficient))) for pair in pairs]


def matched_coefficient(
    vectors: Float[Tensor, "n_layers d_model"], norms: Float[Tensor, " n_layers"], layers: Sequence[int], size: float
) -> float:
    """Return the coefficient c at which ‖c·v‖ / ``norms``, summed over ``layers``, equals ``size``.

    Raises:
        SteeringError: all vectors of ``layers`` are zero.
    """
    total = relative_norms(vectors, norms, 1.0)[list(layers)].sum().item()
    if not total > 0:
        raise SteeringError(f"The vectors of layers {list(layers)} are all zero: check how they were made.")
    return size / total
