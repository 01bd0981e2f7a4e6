"""Measure what steering does: how often, how fluently, in which layers, against which controls.

Everything here takes the functions of the notebook (``make_hooks``: from vectors, a coefficient and
layers to hooks) and never builds a steering hook of its own. Vectors to compare are in
:mod:`helpers.steering.vectors`.
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
    """One way to steer: which vectors, how much of them, in which layers (``None`` for all)."""

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
    """Steer every prompt in every setting: ``result[s][p]``.

    Args:
        make_hooks: the student's function; called as ``make_hooks(vectors, coefficient, layers)``.
        kept: a dict that finished settings are put into and taken from. After an interrupt the same call
            with the same dict goes on where it stopped; the unsteered texts are shared by all sweeps.

    Raises:
        SteeringError: coefficients that aren't finite numbers, vectors with NaN or of the wrong shape or
            device, a layer out of range, no setting; before anything runs.
    """
    if not settings:
        raise SteeringError("There is nothing to steer with: give at least one coefficient.")
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
    """What a result depends on; unsteered texts depend on neither vectors, layers nor the past."""
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
    """Steer every prompt with every coefficient and score the completions.

    Args:
        make_hooks: the student's function; called as ``make_hooks(vectors, coefficient, layers)``.
        coefficients: 0 is added when it is missing, since everything is compared with it.
        layers: which to steer; ``None`` for all.
        judge_model: the model that judges; ``None`` takes ``model`` where it is smollm2, else loads that.
        with_judge: ``False`` scores with VADER alone, which is faster.
        past, kept: as for :func:`sweep`.

    Raises:
        SteeringError: as :func:`sweep`, or no coefficients.
    """
    if not len(coefficients):
        raise SteeringError("The list of coefficients is empty: give at least one, such as [-0.2, 0.2].")
    chosen = None if layers is None else tuple(layers)
    doses = sorted({0.0, *map(number, coefficients)})
    rows = sweep(model, make_hooks, [Setting(vectors, c, chosen) for c in doses], prompts, max_new_tokens, past, kept)
    judge_model = judge_model or (model if sentiment.is_smollm2(model) else None)
    return Curve(score(rows, doses, judge_model, with_judge), chosen)


def score(
    rows: Sequence[Sequence[Completion]], coefficients: Sequence[float], judge_model=None, with_judge: bool = True
) -> tuple[Point, ...]:
    """One :class:`Point` per list of completions."""
    texts = [completion.text or " " for row in rows for completion in row]
    tones = sentiment.vader(texts).reshape(len(rows), -1)
    judged = None
    if with_judge:
        judged = sentiment.judge([c.full_text for row in rows for c in row], judge_model, progress=True).reshape(
            len(rows), -1
        )
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
    """exp of the mean negative log-probability of all new tokens under the unsteered model; NaN for none."""
    logprobs = [value for completion in completions for value in completion.logprobs]
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else math.nan


def relative_norms(
    vectors: Float[Tensor, "n_layers d_model"], norms: Float[Tensor, " n_layers"], coefficient: float
) -> Float[Tensor, " n_layers"]:
    """‖c·v‖ over the median norm of the residual stream, per layer."""
    return abs(number(coefficient)) * vectors.float().norm(dim=-1).cpu() / norms


def check_vectors(model, vectors, layers=None) -> None:
    """Raise :class:`SteeringError` unless ``vectors`` are finite, ``[n_layers d_model]``, and ``layers`` exist."""
    expected = [model.cfg.n_layers, model.cfg.d_model]
    if not isinstance(vectors, Tensor) or list(vectors.shape) != expected:
        found = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
        raise SteeringError(f"The steering vectors are {found}: one tensor {expected} is needed (torch.stack a list).")
    if vectors.device != model.W_U.device:
        raise SteeringError(
            f"The steering vectors are on {vectors.device}, the model on {model.W_U.device}: vectors.to(model.W_U.device)."
        )
    if not torch.isfinite(vectors).all():
        raise SteeringError("The steering vectors hold NaN or infinity: look at the averages that they were made from.")
    for layer in layers if layers is not None else ():
        if layer not in range(model.cfg.n_layers):
            raise SteeringError(f"Layer {layer!r} isn't there: the model has layers 0 to {model.cfg.n_layers - 1}.")


def number(coefficient) -> float:
    """The coefficient as a float, if it is a finite number."""
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
    """Steer by plus and minus each setting's coefficient, all settings in one go (VADER alone).

    Returns:
        Per name the curve (−c, 0, +c) and c, which is what :func:`helpers.steering.curves.table` takes.

    Raises:
        SteeringError: as :func:`sweep`, or a coefficient of 0.
    """
    if not settings:
        raise SteeringError("There is nothing to compare: give at least one setting.")
    for name, setting in settings.items():
        if not number(setting.coefficient):
            raise SteeringError(
                f"{name!r} has the coefficient 0: that is the unsteered text, which every setting is compared with."
            )
    both = [replace(s, coefficient=sign * s.coefficient) for s in settings.values() for sign in (-1, 1)]
    rows = sweep(model, make_hooks, [Setting(both[0].vectors, 0.0), *both], prompts, max_new_tokens, past, kept)
    curves = two_sided(rows, [setting.coefficient for setting in settings.values()])
    return {
        name: (replace(curve, layers=setting.layers), setting.coefficient)
        for (name, setting), curve in zip(settings.items(), curves, strict=True)
    }


def two_sided(rows: Sequence[Sequence[Completion]], coefficients: Sequence[float]) -> list[Curve]:
    """A curve (−c, 0, +c) per coefficient, by VADER; ``rows`` are the unsteered texts, then each one's −c and +c."""
    zero, *points = score(rows, [0.0, *(sign * c for c in coefficients for sign in (-1, 1))], with_judge=False)
    pairs = zip(points[::2], points[1::2], strict=True)
    return [Curve(tuple(sorted((*pair, zero), key=lambda point: point.coefficient))) for pair in pairs]


def matched_coefficient(
    vectors: Float[Tensor, "n_layers d_model"], norms: Float[Tensor, " n_layers"], layers: Sequence[int], size: float
) -> float:
    """The coefficient at which the pushes of all ``layers`` add up to ``size`` median norms of the residual stream."""
    whole = relative_norms(vectors, norms, 1.0)[list(layers)].sum().item()
    if not whole > 0:
        raise SteeringError(f"The vectors of layers {list(layers)} are all zero: nothing can be pushed with them.")
    return size / whole
