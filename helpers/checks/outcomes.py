"""Checks of outcomes: a coefficient that steers, an SAE within bounds, a latent that steers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from helpers import sae
from helpers.caching.activations import Activations
from helpers.checks.meaning import why_meaningless
from helpers.checks.verdict import CheckFailed
from helpers.report import report
from helpers.steering.curves import SteeringError

# Task 1.3. These bounds come from smollm2 with the original homework's recipe; see docs/results.md.
MIN_SHIFT, MAX_PERPLEXITY_RATIO = 0.5, 2.0
ENOUGH_PROMPTS = 20  # with fewer, one prompt moves a share by 5 points or more, so only the direction counts


def _verdict(task: str, problems: Sequence[str], key: str, **figures) -> None:
    report(task, passed=not problems, key=key, **figures)
    if problems:
        raise CheckFailed(" ".join(problems), task)


def _failed(task: str, message: str) -> CheckFailed:
    report(task, passed=False, key=message)
    return CheckFailed(message, task)


def _skipped(task: str, why: str, key: str, **figures) -> None:
    report(task, passed=None, key=f"not judged: {why}; {key}", **figures)


def task_1_3(model, curve, control, best_coefficient: float, best_layers: Sequence[int]) -> None:
    """Check that the chosen coefficient moves sentiment both ways and keeps the text fluent."""
    c = _positive_number("1.3", "best_coefficient", best_coefficient)
    if curve.layers is not None and list(curve.layers) != list(best_layers):
        raise _failed(
            "1.3", f"The curve was measured on layers {list(curve.layers)}, not on best_layers: run the sweep again."
        )
    try:
        shift, ratio = curve.shift(c), curve.perplexity_ratio(c)
    except SteeringError as error:
        raise _failed("1.3", str(error)) from error
    plain = control.at(0).positive
    drift = max(abs(point.positive - plain) for point in control.points)
    prompts = len(curve.at(c).completions)
    key = f"c = {c:g}: shift {shift:+.2f}, perplexity × {ratio:.2f}, random {drift:.2f}"
    figures = {
        "best coefficient": c, "shift": shift, "perplexity ratio": ratio, "prompts": prompts,
        "shift, 95% interval": curve.shift_interval(c), "share of prompts that move the wrong way": curve.wrong_way(c),
        "random direction moves share by": drift,
        "coefficient sweep": [point.figures() for point in curve.points],
        "random direction": [point.figures() for point in control.points],
    }  # fmt: skip
    why = why_meaningless(model)
    if why:
        return _skipped("1.3", why, key, **figures)
    needed = MIN_SHIFT if prompts >= ENOUGH_PROMPTS else 0.0
    problems = []
    if shift < 0:
        problems.append(f"At +{c:g} fewer texts are positive than at −{c:g}: is a sign reversed?")
    elif shift <= needed and (needed or shift == 0):
        problems.append(
            f"The share of positive texts moves by {shift:.2f}; more than {needed:g} is needed: "
            "take a larger coefficient."
        )
    if prompts >= ENOUGH_PROMPTS and ratio > MAX_PERPLEXITY_RATIO:
        problems.append(
            f"The text falls apart: perplexity is {ratio:.1f} times the unsteered text's; at most "
            f"{MAX_PERPLEXITY_RATIO:g} is allowed. Take a smaller coefficient."
        )
    _verdict("1.3", problems, key, **figures)


def _positive_number(task: str, name: str, value) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _failed(task, f"{name} is {value!r}: a number is needed.") from None
    if not number > 0:
        raise _failed(task, f"{name} is {number:g}: give a positive number; the check also tests its negative.")
    return number


# Task 2.3: held-out tokens, attention sinks excluded. Any architecture that learned something can pass.
MAX_FVU, MAX_L0, MAX_DEAD = 0.35, 128.0, 0.25


def task_2_3(model, my_sae, held_out: Activations, quick: bool = False) -> None:
    """Check that the trained SAE reconstructs held-out lines, is sparse, and has few dead latents."""
    marks = evaluate_or_fail("2.3", my_sae, held_out)
    why = why_meaningless(model) or ("a quick budget trains for seconds" if quick else None)
    if why:
        return _skipped("2.3", why, str(marks), **marks.figures())
    problems = []
    if marks.fvu > MAX_FVU:
        problems.append(f"FVU is {marks.fvu:.2f}; at most {MAX_FVU} is allowed: train longer, or weaken the L1 term.")
    if marks.l0 > MAX_L0:
        problems.append(f"L0 is {marks.l0:.0f}; at most {MAX_L0:g} is allowed: strengthen the L1 term.")
    if marks.dead_fraction > MAX_DEAD:
        problems.append(
            f"{marks.dead_fraction:.0%} of the latents never fire; at most {MAX_DEAD:.0%} is allowed: "
            "weaken the L1 term or train longer."
        )
    _verdict("2.3", problems, str(marks), **marks.figures())


def evaluate_or_fail(task: str, module, held_out: Activations) -> sae.Metrics:
    """Return the metrics of a student's SAE. Any exception becomes a one-sentence failure."""
    try:
        marks = sae.evaluate(module, held_out)
    except Exception as error:
        raise _failed(task, f"The SAE can't be evaluated: {type(error).__name__}: {error}") from error
    if not torch.isfinite(torch.tensor([marks.fvu, marks.l0])).all():
        raise _failed(task, f"The SAE's reconstruction isn't finite (FVU {marks.fvu}): did its training diverge?")
    return marks


# Task 2.6
MIN_RISE, MAX_LATENT_PERPLEXITY_RATIO = 0.3, 3.0


def task_2_6(model, unsteered, steered, label: str, quick: bool = False) -> None:
    """Check that steering with one latent makes its label much more frequent and keeps the text fluent.

    ``unsteered`` and ``steered`` are completions of the same prompts; ``label`` is a name in ``data.LABELS``.
    """
    from helpers.steering.sweeps import perplexity

    before, after = label_share(model, unsteered, label), label_share(model, steered, label)
    ratio = perplexity(steered) / perplexity(unsteered)
    key = f"{label!r} in {before:.2f} → {after:.2f} of the texts, perplexity × {ratio:.2f}"
    figures = {"label": label, "share unsteered": before, "share steered": after, "perplexity ratio": ratio}
    why = why_meaningless(model) or ("too few prompts in a quick budget" if quick else None)
    if why:
        return _skipped("2.6", why, key, **figures)
    problems = []
    if after - before < MIN_RISE:
        problems.append(
            f"The share of texts with {label!r} rises by {after - before:.2f}; {MIN_RISE} is needed: "
            "try another latent or a larger coefficient."
        )
    if ratio > MAX_LATENT_PERPLEXITY_RATIO:
        problems.append(
            f"The text falls apart: perplexity is {ratio:.1f} times the unsteered text's; at most "
            f"{MAX_LATENT_PERPLEXITY_RATIO:g} is allowed. Take a smaller coefficient."
        )
    _verdict("2.6", problems, key, **figures)


def label_share(model, completions, label: str) -> float:
    """Return the share of completions whose new text has a token with this label."""
    from helpers.data.labels import LABELS, label_tokens

    if label not in LABELS:
        raise _failed("2.6", f"There is no label {label!r}: choose one of {', '.join(LABELS)}.")
    row = LABELS.index(label)
    return sum(bool(label_tokens([c.text])[row].any()) for c in completions) / len(completions)


def task_2_7(model, bonus_sae, reference, held_out: Activations, quick: bool = False) -> None:
    """Check that the student's SAE has a lower FVU than the reference, at no larger L0."""
    own, other = evaluate_or_fail("2.7", bonus_sae, held_out), sae.evaluate(reference, held_out)
    key = f"FVU {own.fvu:.3f} at L0 {own.l0:.1f}; the reference {other.fvu:.3f} at {other.l0:.1f}"
    figures = {"fvu": own.fvu, "l0": own.l0, "reference fvu": other.fvu, "reference l0": other.l0}
    why = why_meaningless(model) or ("a quick budget trains for seconds" if quick else None)
    if why:
        return _skipped("2.7", why, key, **figures)
    problems = []
    if own.l0 > other.l0 + 0.5:
        problems.append(f"L0 is {own.l0:.1f}, and the reference's is {other.l0:.1f}: yours may not be larger.")
    if own.fvu >= other.fvu:
        problems.append(f"FVU is {own.fvu:.3f}, the reference's {other.fvu:.3f}: yours must be smaller.")
    _verdict("2.7", problems, key, **figures)
