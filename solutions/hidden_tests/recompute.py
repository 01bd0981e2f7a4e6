"""Recompute outcomes from a student's answers. The grader never trusts a printed number.

Each bound is the public check's. If the reference solution does worse on this model and text, the bound is looser:
60% of the solution's effect, 1.25 times its perplexity ratio, FVU, L0 or dead fraction.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from grading.judging.hidden_tests import BadAnswer, Words, integers, number, numbers
from helpers import hooks, steering
from helpers.checks import outcomes
from helpers.data.labels import LABELS

EFFECT, RATIO_ROOM = 0.6, 1.25  # relative to the reference solution


# 1.3: vectors, coefficient and layers ------------------------------------------------------------------


def compare_coefficient(answer: Words, expected: Words, facts) -> str:
    """Return what is wrong if steering by ±c doesn't move sentiment or breaks the text, else ""."""
    try:
        shift, ratio = _steering_outcome(facts, answer)
    except BadAnswer as error:
        return str(error)
    best_shift, best_ratio = _steering_outcome(facts, expected)
    least, most = (
        min(outcomes.MIN_SHIFT, EFFECT * best_shift),
        max(outcomes.MAX_PERPLEXITY_RATIO, RATIO_ROOM * best_ratio),
    )
    if not math.isfinite(shift + ratio):
        return "the steered model writes nothing that can be measured: take a smaller coefficient"
    if shift < 0:
        return f"at +c there are fewer positive texts than at −c (shift {shift:.2f}): is a sign reversed?"
    if shift == 0 or shift < least:
        return f"the share of positive texts moves by {shift:.2f}; {least:.2f} is needed: take a larger coefficient"
    if ratio > most:
        return (
            f"the text falls apart: perplexity is {ratio:.1f} times the unsteered text's, at most {most:.1f} is "
            "allowed: take a smaller coefficient"
        )
    return ""


def _steering_outcome(facts, answer: Words) -> tuple[float, float]:
    coefficient, layers, vectors = number(answer, "coefficient"), integers(answer, "layers"), numbers(answer, "vectors")
    shape = (facts.model.cfg.n_layers, facts.model.cfg.d_model)
    if not 0 < coefficient < 1e6:
        raise BadAnswer("best_coefficient isn't a positive number")
    if not layers or not set(layers) <= set(range(shape[0])):
        raise BadAnswer("best_layers aren't layers of the model")
    if vectors.shape != shape or not np.isfinite(vectors).all():
        raise BadAnswer(f"steering_vectors aren't one finite vector per layer, {list(shape)}")
    key = hashlib.sha256(
        vectors.astype(np.float32).tobytes() + repr((coefficient, sorted(set(layers)))).encode()
    ).hexdigest()
    return facts.remember(
        f"steering {key}", lambda: _steer(facts, torch.tensor(vectors), coefficient, sorted(set(layers)))
    )


def _steer(facts, vectors: torch.Tensor, coefficient: float, layers: list[int]) -> tuple[float, float]:
    sets = [
        [],
        *(
            [(f"blocks.{i}.hook_resid_pre", _adder(sign * coefficient * vectors[i])) for i in layers]
            for sign in (-1, 1)
        ),
    ]
    rows = hooks.generate_many(facts.model, facts.prompts, sets, facts.new_tokens)
    (curve,) = steering.two_sided(rows, [coefficient])
    plain, *pushed = (curve.at(c).perplexity for c in (0.0, -coefficient, coefficient))
    return curve.shift(coefficient), sum(pushed) * math.nan if not all(map(math.isfinite, pushed)) else max(
        pushed
    ) / plain


def _adder(push: torch.Tensor):
    def add(resid, hook):
        resid[:, -1, :] += push.to(resid)
        return resid

    return add


# 2.3 and 2.7: a dictionary and what is active on hidden tokens --------------------------------------------


@dataclass(frozen=True)
class Figures:
    """An SAE's figures on the hidden activations.

    ``dense``: the share of its activity in latents that fire on more than half of the tokens. ``spread``: the number of
    dimensions that hold 99% of the reconstructions' variance, over L0. A dense code for a subspace has a spread of at
    most 1, even if each axis is in the dictionary several times.
    """

    fvu: float
    l0: float
    dead: float
    dense: float
    spread: float


def compare_dictionary(answer: Words, expected: Words, facts) -> str:
    """Return what is wrong if an SAE is out of bounds (2.3) or no better than the reference (2.7), else ""."""
    try:
        found = figures(answer, facts.hidden)
    except BadAnswer as error:
        return str(error)
    return _beats(found, facts) if facts.task == "2.7" else _within(found, figures(expected, facts.hidden), facts)


def _within(found: Figures, best: Figures, facts) -> str:
    most_l0 = max(min(outcomes.MAX_L0, facts.hidden.shape[1] / 4), RATIO_ROOM * best.l0)
    most_fvu = max(outcomes.MAX_FVU, RATIO_ROOM * best.fvu)
    most_dead = max(outcomes.MAX_DEAD, RATIO_ROOM * best.dead)
    if found.fvu > most_fvu:
        return f"FVU is {found.fvu:.2f}, at most {most_fvu:.2f} is allowed: train longer, or weaken the L1 term"
    if found.l0 > most_l0:
        return f"L0 is {found.l0:.0f}, at most {most_l0:.0f} is allowed: strengthen the L1 term"
    if found.dead > most_dead:
        return f"{found.dead:.0%} of the latents never fire, at most {most_dead:.0%} may: weaken L1 or train longer"
    return _dense(found, best)


def _beats(found: Figures, facts) -> str:
    reference = facts.remember("reference", lambda: figures(facts.reference, facts.hidden))
    if found.l0 > reference.l0 + 0.5:
        return f"L0 is {found.l0:.1f}, the reference's is {reference.l0:.1f}: yours may not be larger"
    if found.fvu >= reference.fvu:
        return f"FVU is {found.fvu:.3f}, the reference's {reference.fvu:.3f}: yours must be smaller"
    return _dense(found, reference)


def _dense(found: Figures, best: Figures) -> str:
    if found.dense > max(0.5, RATIO_ROOM * best.dense):
        return f"{found.dense:.0%} of the activity is in latents that fire on most tokens: that is a dense code"
    if found.spread < min(1.5, EFFECT * best.spread):
        return "the reconstructions have only about L0 dimensions: that is a dense code of a subspace"
    return ""


def figures(answer: Words, x: np.ndarray) -> Figures:
    """FVU, L0 (latents that aren't 0), and latents that never fire, from codes and a decoder matrix.

    Raises:
        BadAnswer: numbers that are no decoder and codes for these activations.
    """
    rows, bias = numbers(answer, "rows"), numbers(answer, "bias")
    token, latent = (numbers(answer, name).astype(np.int64) for name in ("token", "latent"))
    value, active = numbers(answer, "value"), number(answer, "active")
    n, d_in = x.shape
    if (
        rows.ndim != 2
        or rows.shape[1] != d_in
        or bias.shape != (d_in,)
        or not token.shape == latent.shape == value.shape == (len(value),)
    ):
        raise BadAnswer("the shapes of codes and decoder don't fit together")
    if not all(np.isfinite(part).all() for part in (rows, bias, value)):
        raise BadAnswer("there is NaN or infinity in the codes or the decoder: did the training diverge?")
    if len(value) and not (token.min() >= 0 and token.max() < n and latent.min() >= 0 and latent.max() < len(rows)):
        raise BadAnswer("the codes name tokens or latents that aren't there")
    if len(np.unique(token * len(rows) + latent)) < len(value):
        raise BadAnswer("the codes name a latent twice for one token")
    rebuilt = csr_matrix((value, (token, latent)), (n, len(rows))) @ rows + bias
    fired = np.bincount(latent, minlength=len(rows))
    dense = fired[fired > n / 2].sum() / max(1, fired.sum())
    l0 = max(active, len(value)) / n
    spread = _dimensions(rebuilt) / max(l0, 1e-9)
    fvu = ((x - rebuilt) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    found = Figures(float(fvu), l0, float((fired == 0).mean()), float(dense), float(spread))
    if not all(map(math.isfinite, (found.fvu, found.l0, found.dead, found.dense, found.spread))):
        raise BadAnswer("the reconstruction isn't finite: did the training diverge?")
    return found


def _dimensions(x: np.ndarray) -> int:
    """Return how many principal directions hold 99% of the variance."""
    if not np.isfinite(x).all():
        raise BadAnswer("the reconstruction isn't finite: did the training diverge?")
    parts = np.linalg.eigvalsh(np.cov(x.T))[::-1].clip(0).cumsum()
    return int((parts < 0.99 * parts[-1]).sum()) + 1


# 2.6: a latent and a coefficient ---------------------------------------------------------------------------


def compare_latent(answer: Words, expected: Words, facts) -> str:
    """Return what is wrong if steering with the latent doesn't raise the label's share, else ""."""
    try:
        rise, ratio = _latent_outcome(facts, answer)
    except BadAnswer as error:
        return str(error)
    best_rise, best_ratio = _latent_outcome(facts, expected)
    least, most = (
        min(outcomes.MIN_RISE, EFFECT * best_rise),
        max(outcomes.MAX_LATENT_PERPLEXITY_RATIO, RATIO_ROOM * best_ratio),
    )
    if not math.isfinite(rise + ratio):
        return "the steered model writes nothing that can be measured: take a smaller coefficient"
    if rise <= 0 or rise < least:
        return f"the share of texts with such a word rises by {rise:.2f}; {max(least, 0.01):.2f} is needed"
    if ratio > most:
        return (
            f"the text falls apart: perplexity is {ratio:.1f} times the unsteered text's, at most {most:.1f} is allowed"
        )
    return ""


def _latent_outcome(facts, answer: Words) -> tuple[float, float]:
    label, latent, strength = answer.get("label"), number(answer, "latent"), number(answer, "strength")
    rows = facts.reference["rows"]
    if label not in LABELS:
        raise BadAnswer("bonus_label isn't one of the labels")
    if not (latent == int(latent) and 0 <= latent < len(rows)):
        raise BadAnswer("bonus_latent isn't a latent of the reference")
    if not abs(strength) < 1e6:
        raise BadAnswer("bonus_coefficient is far too large")
    return facts.remember(
        f"talk {label} {latent} {strength}", lambda: _steer_latent(facts, label, rows[int(latent)], strength)
    )


def _steer_latent(facts, label: str, row: np.ndarray, strength: float) -> tuple[float, float]:
    sets = [[], [(facts.middle_name, _adder(torch.tensor(strength * row)))]]
    plain, pushed = hooks.generate_many(facts.model, facts.prompts, sets, facts.new_tokens)
    before, after = (outcomes.label_share(facts.model, texts, label) for texts in (plain, pushed))
    return after - before, steering.perplexity(pushed) / steering.perplexity(plain)
