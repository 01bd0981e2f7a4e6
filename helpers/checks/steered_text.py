"""Check of task 1.2: steering hooks and steered generation.

The check of generated text never generates a text. For the right recipe and for mistaken ones, it tests whether
each word of the student's text is the toy model's most likely next token under that recipe. One batch holds all
steps of a text: one row per prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from helpers.checks.answers import unchanged
from helpers.checks.steering_hooks import NAME as HOOKS_NAME
from helpers.checks.steering_hooks import check_hooks
from helpers.checks.toy import restored, toy_model
from helpers.checks.verdict import CheckFailed, call, describe, must_be_callable, public_check

NAME = "generate_with_steering"
NEW_TOKENS = 10


@dataclass(frozen=True)
class _Case:
    """One call of the student's function."""

    prompt: str
    coefficient: float
    layers: tuple[int, ...] | None = None


CASES = (
    _Case("she saw a garden and", 0.7),
    _Case("while we took a walk it", -1.3),
    _Case("the garden", 1.6, (1,)),
    _Case("the food was", 1.3, (0, 2)),
)
# An unsteered text, and one in which the right recipe writes EOS before NEW_TOKENS tokens.
PLAIN = _Case("he made this music", 0.0)
ENDING = _Case("she this early bad", 1.2)

# Each table maps a mistake to its effect; the key "" stands for no mistake. Coefficient, step (from 0) -> factor of the
# vectors.
FACTORS: dict[str, Callable[[float, int], float]] = {
    "": lambda c, step: c,
    "the text is that of the unsteered model: pass the hooks to the run": lambda c, step: 0.0,
    "the sign is wrong: +coefficient must steer towards the vectors": lambda c, step: -c,
    "the coefficient is forgotten: the text is the same for every coefficient": lambda c, step: 1.0,
    "the coefficient is applied twice, once in the hooks and once before": lambda c, step: c * c,
    "the vectors are added twice at each step": lambda c, step: 2 * c,
    "the hooks pile up: each step adds its hooks to those of the steps before, so remove them after each run": (
        lambda c, step: c * (step + 1)
    ),
    "only the first new token is steered: the hooks must be on at every step": lambda c, step: c * (step == 0),
    "the first new token isn't steered: the hooks must be on from the first step": lambda c, step: c * (step > 0),
}
# P tokens in the prompt, T in the text so far (both with BOS) -> positions that are edited.
PLACES: dict[str, Callable[[int, int], slice]] = {
    "": lambda P, T: slice(T - 1, T),
    "all positions are steered: steer only the last one at each step": lambda P, T: slice(0, T),
    "earlier positions stay steered: a KV cache keeps the hooks' edits. Rerun the whole text at each step "
    "and steer only its last position": lambda P, T: slice(P - 1, T),
    "the first position is steered: steer the last one": lambda P, T: slice(0, 1),
    "the prompt's last position is steered at each step: the last position moves on with the text": (
        lambda P, T: slice(P - 1, P)
    ),
}
# Vectors by layer, layers asked for -> what is added to each residual stream (row 3 is the one after the last block).
LAYERS: dict[str, Callable[[np.ndarray, list[int]], np.ndarray]] = {
    "": lambda v, layers: _rows(v, {layer: layer for layer in layers}),
    "`layers` is ignored, and all layers are steered: pass it on to the hooks": lambda v, layers: _rows(
        v, {layer: layer for layer in range(len(v))}
    ),
    "every layer gets the vector of the last one in the loop: bind the vector when the hook is made": (
        lambda v, layers: _rows(v, dict.fromkeys(layers, layers[-1]))
    ),
    "every layer gets the vector of layer 0": lambda v, layers: _rows(v, dict.fromkeys(layers, 0)),
    "the vectors are added after the blocks (hook_resid_post): use hook_resid_pre": (
        lambda v, layers: _rows(v, {layer + 1: layer for layer in layers})
    ),
    "only the first of the layers is steered": lambda v, layers: _rows(v, {layers[0]: layers[0]}),
    "only the last of the layers is steered": lambda v, layers: _rows(v, {layers[-1]: layers[-1]}),
}
Recipe = tuple[str, str, str]
RIGHT: Recipe = ("", "", "")


@public_check("1.2")
def task_1_2(make_steering_hooks: Callable, generate_with_steering: Callable) -> None:
    """Check ``make_steering_hooks`` and ``generate_with_steering`` of task 1.2 on a toy model.

    Raises:
        CheckFailed: an answer is wrong; the message names the mistake where it is a known one.
        NotDone: one of the functions is still the stub.
    """
    must_be_callable(make_steering_hooks, HOOKS_NAME)
    must_be_callable(generate_with_steering, NAME)
    model = toy_model()
    with restored(model, HOOKS_NAME):
        check_hooks(make_steering_hooks, model)
    _check_texts(generate_with_steering, model)


def _check_texts(generate: Callable, model) -> None:
    vectors = _vectors(model)
    with restored(model, NAME):  # only the student's runs: leftover hooks would affect the check's own runs
        plain = [_words(generate, model, vectors, PLAIN) for _ in range(2)]
        written = [_words(generate, model, vectors, case) for case in CASES]
        ending = _words(generate, model, vectors, ENDING)
    if plain[0] != plain[1]:
        raise CheckFailed("two runs give two texts: take the most likely token (argmax) instead of sampling.")
    toy = _Toy(model, vectors)
    if not all(toy.obeys(case, ids, RIGHT) for case, ids in zip(CASES, written, strict=True)):
        raise CheckFailed(_diagnosis(toy, written))
    if not toy.obeys(PLAIN, plain[0], RIGHT):
        raise CheckFailed(
            "with coefficient 0 the text differs from the unsteered model's greedy text: add exactly 0 then."
        )
    _check_length(written + plain)
    _check_ending(toy, ending)


def _vectors(model) -> torch.Tensor:
    random = torch.Generator().manual_seed(11)
    vectors = 0.5 * torch.randn(model.cfg.n_layers, model.cfg.d_model, generator=random)
    return vectors.to(next(model.parameters()).device)


def _words(generate: Callable, model, vectors: torch.Tensor, case: _Case) -> list[int]:
    """Return the ids of the tokens that the student's function writes after the prompt."""
    given = vectors.clone()
    layers = {} if case.layers is None else {"layers": list(case.layers)}
    text = call(generate, model, case.prompt, given, case.coefficient, max_new_tokens=NEW_TOKENS, **layers)
    unchanged(given, vectors, "`vectors`")
    return _new_ids(model, text, case.prompt)


def _new_ids(model, text, prompt: str) -> list[int]:
    """Check the form of the text and return the ids after the prompt."""
    if not isinstance(text, str):
        hint = ": turn the tokens into text with model.to_string(...)" if isinstance(text, torch.Tensor) else ""
        raise CheckFailed(f"{NAME} gives {describe(text)}; return a string{hint}.")
    text = " ".join(text.split())
    if text.startswith(model.tokenizer.bos_token):
        raise CheckFailed(
            "the text begins with BOS: leave position 0 out when you turn the tokens into text, tokens[0, 1:]."
        )
    if not text.startswith(prompt):
        raise CheckFailed(
            f"the text doesn't begin with the prompt: return prompt and continuation. "
            f"For the prompt {prompt!r} it is {text!r:.120}."
        )
    return model.to_tokens(text.removeprefix(prompt), prepend_bos=False)[0].tolist() if text != prompt else []


class _Toy:
    """The toy model and vectors; tests whether a text follows a recipe."""

    def __init__(self, model, vectors: torch.Tensor):
        self.model, self.vectors = model, vectors.double().cpu().numpy()
        self.end = model.tokenizer.eos_token_id
        self.names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]
        self.names.append(f"blocks.{model.cfg.n_layers - 1}.hook_resid_post")

    def obeys(self, case: _Case, new: list[int], recipe: Recipe) -> bool:
        """Return whether each ``new`` id is the most likely one under the recipe, given those before it."""
        if not new:
            return False
        prompt = self.model.to_tokens(case.prompt)[0].tolist()
        prefixes = [prompt + new[:step] for step in range(len(new))]
        longest = len(prefixes[-1])
        # Pad with any word: a causal model ignores the positions after the last one.
        rows = torch.tensor([ids + ids[-1:] * (longest - len(ids)) for ids in prefixes])
        edits = self._edits(case, recipe, len(prompt), len(new), longest)
        device = next(self.model.parameters()).device
        hooks = [(name, _add(torch.tensor(edit, device=device))) for name, edit in zip(self.names, edits, strict=True)]
        with torch.no_grad():
            logits = self.model.run_with_hooks(rows.to(device), fwd_hooks=hooks).float().cpu()
        logits = logits[torch.arange(len(new)), torch.tensor([len(ids) - 1 for ids in prefixes])]
        chosen = logits[torch.arange(len(new)), torch.tensor(new)]
        return bool((chosen >= logits.max(-1).values - 1e-3).all())

    def _edits(self, case: _Case, recipe: Recipe, n_prompt: int, steps: int, longest: int) -> np.ndarray:
        """``[streams steps longest d_model]``: what the recipe adds at each position, in float32."""
        factor, place, layers = FACTORS[recipe[0]], PLACES[recipe[1]], LAYERS[recipe[2]]
        asked = list(range(len(self.vectors))) if case.layers is None else list(case.layers)
        weights = np.zeros((steps, longest))
        for step in range(steps):
            weights[step, place(n_prompt, n_prompt + step)] = factor(case.coefficient, step)
        return np.einsum("st,ld->lstd", weights, layers(self.vectors, asked)).astype(np.float32)


def _add(edit: torch.Tensor) -> Callable:
    return lambda value, hook: value + edit


def _rows(vectors: np.ndarray, source: dict[int, int]) -> np.ndarray:
    """``[n_layers + 1, d_model]``: row r is vector ``source[r]``, or 0."""
    rows = np.zeros((len(vectors) + 1, vectors.shape[1]))
    for row, layer in source.items():
        rows[row] = vectors[layer]
    return rows


def _recipes() -> Iterator[Recipe]:
    """Yield the recipes with one mistake, then with two."""
    recipes = [names for names in product(FACTORS, PLACES, LAYERS) if 1 <= sum(map(bool, names)) <= 2]
    yield from sorted(recipes, key=lambda names: sum(map(bool, names)))


def _diagnosis(toy: _Toy, written: list[list[int]]) -> str:
    if not all(written):
        return "nothing is written after one of the prompts: return prompt and continuation."
    for recipe in _recipes():
        if all(toy.obeys(case, ids, recipe) for case, ids in zip(CASES, written, strict=True)):
            return "; besides, ".join(name for name in recipe if name) + "."
    return (
        "the steered text is wrong, and the check doesn't know this mistake. At each step, run the whole text so far "
        "with your hooks, take the argmax of the logits at the last position, and append it."
    )


def _check_length(written: list[list[int]]) -> None:
    lengths = {len(ids) for ids in written}
    if lengths != {NEW_TOKENS}:
        found = " or ".join(str(length) for length in sorted(lengths))
        raise CheckFailed(f"with max_new_tokens={NEW_TOKENS} the continuation has {found} tokens: write {NEW_TOKENS}.")


def _check_ending(toy: _Toy, new: list[int]) -> None:
    """Check that the text of :data:`ENDING` stops at EOS. The text may include EOS or not."""
    words = new[: new.index(toy.end)] if toy.end in new else new
    stopped = toy.obeys(ENDING, [*words, toy.end], RIGHT)
    if not stopped or len(new) > len(words) + 1:
        raise CheckFailed(
            "the text continues after the model has written EOS: stop if the new token is model.tokenizer.eos_token_id."
        )
