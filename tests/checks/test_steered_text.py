"""Check of task 1.2: hooks and texts written in different ways pass, and each mistake is named."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch

from helpers.checks import NotDone, task_1_2
from helpers.checks import steered_text as check
from tests.checks.steering_answers import (
    PRE,
    cached,
    chosen,
    loop,
    make,
    make_in_place,
    make_with_new_tensor,
    with_context,
)


@pytest.mark.parametrize("text", [loop, cached, with_context], ids=["loop", "cache", "context"])
@pytest.mark.parametrize("hooks", [make, make_in_place, make_with_new_tensor], ids=["edit", "in place", "new tensor"])
def test_right_answers_pass(hooks, text, passes):
    passes(task_1_2, hooks, text)


def edited(edit):
    return partial(make, edit=edit)


def at(where, factor=lambda c: c):
    """Hooks that add factor(c) * vector at another place."""

    def edit(resid, c, vector):
        resid = resid.clone()
        resid[where] += factor(c) * vector
        return resid

    return edited(edit)


LAST = (slice(None), -1)


def late_binding(vectors, coefficient, layers=None):
    hooks = []
    for layer in chosen(vectors, layers):

        def hook(resid, hook):
            resid[:, -1] += coefficient * vectors[layer]  # noqa: B023 (this is the mistake)
            return resid

        hooks.append((PRE.format(layer), hook))
    return hooks


def counted(vectors, coefficient, layers=None):
    """vectors[0], vectors[1], … whatever the layers are."""
    names = [PRE.format(layer) for layer in chosen(vectors, layers)]
    return [(name, make(vectors, coefficient)[i][1]) for i, name in enumerate(names)]


def shifted(vectors, coefficient, layers=None):
    return make(vectors.roll(-1, 0), coefficient, layers)


def scales_in_place(vectors, coefficient, layers=None):
    return make(vectors.mul_(coefficient), 1.0, layers)


def growing(vectors, coefficient, layers=None):
    scale = [0.0]

    def edit(resid, c, vector):
        scale[0] += c
        resid = resid.clone()
        resid[:, -1] += scale[0] * vector
        return resid

    return make(vectors, coefficient, layers, edit=edit)


def no_hook_parameter(vectors, coefficient, layers=None):
    return [(name, lambda resid, point: resid) for name, _ in make(vectors, coefficient, layers)]


def replaces(resid, c, vector):
    resid[:, -1] = c * vector
    return resid


WRONG_HOOKS = {
    "sign": (at(LAST, lambda c: -c), "sign is wrong"),
    "no coefficient": (at(LAST, lambda c: 1), "coefficient is missing"),
    "squared": (at(LAST, lambda c: c * c), "applied twice"),
    "twice": (at(LAST, lambda c: 2 * c), "added twice"),
    "one plus": (at(LAST, lambda c: 1 + c), "1 + coefficient"),
    "all positions": (at(slice(None)), "all positions are steered"),
    "first position": (at((slice(None), 0)), "first position is steered"),
    "position before": (at((slice(None), -2)), "position before the last"),
    "one text": (at((0, -1)), "only the first text of a batch"),
    "batch index": (at(-1), "batch and the position are mixed up"),
    "late binding": (late_binding, "looks up its variables when it runs"),
    "one vector": (lambda v, c, layers=None: make(v[:1].expand_as(v), c, layers), "that of layer 0"),
    "counted": (counted, "counted from the first hook"),
    "shifted": (shifted, "layer L gets the vector of layer L + 1"),
    "summed": (lambda v, c, layers=None: make(v.sum(0).expand_as(v), c, layers), "sum of all vectors"),
    "unit": (lambda v, c, layers=None: make(v / v.norm(dim=-1, keepdim=True), c, layers), "scaled to length 1"),
    "two": (at(slice(None), lambda c: -c), "besides, all positions"),
    "replaces": (edited(replaces), "replaced by the vector"),
    "unknown": (edited(lambda resid, c, vector: resid * c), "doesn't know"),
    "nothing": (edited(lambda resid, c, vector: resid), "change nothing"),
    "None": (edited(lambda resid, c, vector: None), "returns None and changes nothing"),
    "last only": (edited(lambda resid, c, vector: resid[:, -1] + c * vector), "Return the whole stream"),
    "post": (partial(make, name="blocks.{}.hook_resid_post"), "stream after the block"),
    "mid": (partial(make, name="blocks.{}.hook_resid_mid"), "use 'blocks.L.hook_resid_pre'"),
    "no such point": (partial(make, name="block.{}.hook_resid_pre"), "doesn't exist"),
    "off by one": (partial(make, name="blocks.1{}.hook_resid_pre"), "doesn't exist"),
    "ignored": (lambda v, c, layers=None: make(v, c), "`layers` is ignored"),
    "only some": (lambda v, c, layers=None: make(v, c, layers or [1]), "every layer gets one"),
    "doubled": (lambda v, c, layers=None: make(v, c, layers) * 2, "two hooks"),
    "in place": (scales_in_place, "`vectors` is changed"),
    "growing": (growing, "when it runs again"),
    "parameter": (no_hook_parameter, "the second named `hook`"),
    "no list": (lambda v, c, layers=None: dict(make(v, c, layers)), "a list of pairs"),
    "no pairs": (lambda v, c, layers=None: [hook for _, hook in make(v, c, layers)], "give only pairs"),
    "returns None": (lambda v, c, layers=None: None, "gives None"),
    "NaN": (at(LAST, lambda c: float("nan")), "NaN"),
}


@pytest.mark.parametrize("hooks, name", WRONG_HOOKS.values(), ids=WRONG_HOOKS)
def test_mistake_in_hooks_is_named(hooks, name, complaint):
    assert name in complaint(task_1_2, hooks, loop)


def sampled(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    tokens = model.to_tokens(prompt)
    for _ in range(max_new_tokens):
        logits = model.run_with_hooks(tokens, fwd_hooks=make(vectors, coefficient, layers))
        tokens = torch.cat([tokens, logits[:, -1].softmax(-1).multinomial(1)], 1)
    return model.to_string(tokens[0, 1:])


def piling(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    tokens = model.to_tokens(prompt)
    for _ in range(max_new_tokens):
        for name, hook in make(vectors, coefficient, layers):
            model.add_hook(name, hook)
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], 1)
    model.reset_hooks()
    return model.to_string(tokens[0, 1:])


def leaves_hooks(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    for name, hook in make(vectors, coefficient, layers):
        model.add_hook(name, hook)
    return loop(model, prompt, vectors, 0.0, layers, max_new_tokens)


def first_step_only(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    start = loop(model, prompt, vectors, coefficient, layers, 1)
    return loop(model, start, vectors, 0.0, layers, max_new_tokens - 1)


def prompt_position(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    where = model.to_tokens(prompt).shape[1] - 1
    return loop(model, prompt, vectors, coefficient, layers, max_new_tokens, make=at((slice(None), where)))


def longer(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    return loop(model, prompt, vectors, coefficient, layers, max_new_tokens + 1)


def shorter(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    return loop(model, prompt, vectors, coefficient, layers, max_new_tokens - 1)


def unstopped_without_marks(*args, **kwargs):
    return loop(*args, stop=False, **kwargs).replace("<eos>", "")


def changes_vectors(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    return loop(model, prompt, vectors.mul_(coefficient), 1.0, layers, max_new_tokens)


def squared(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    return loop(model, prompt, vectors, coefficient * coefficient, layers, max_new_tokens)


def off_at_zero(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
    return loop(model, prompt, vectors, coefficient or 1.0, layers, max_new_tokens)


def post(vectors, coefficient, layers=None):
    return make(vectors, coefficient, layers, name="blocks.{}.hook_resid_post")


WRONG_TEXTS = {
    "unsteered": (partial(loop, make=lambda v, c, layers: []), "that of the unsteered model"),
    "sign": (partial(loop, make=at(LAST, lambda c: -c)), "sign is wrong"),
    "no coefficient": (partial(loop, make=at(LAST, lambda c: 1)), "coefficient is forgotten"),
    "squared": (squared, "applied twice"),
    "twice": (partial(loop, make=at(LAST, lambda c: 2 * c)), "added twice at each step"),
    "piling": (piling, "hooks pile up"),
    "left": (leaves_hooks, "hooks in the model after the run"),
    "first step": (first_step_only, "only the first new token is steered"),
    "steered past": (partial(cached, past="steered"), "earlier positions stay steered"),
    "all positions": (partial(loop, make=at(slice(None))), "all positions are steered"),
    "prompt's position": (prompt_position, "prompt's last position"),
    "layers ignored": (partial(loop, make=lambda v, c, layers: make(v, c)), "`layers` is ignored"),
    "late binding": (partial(loop, make=late_binding), "vector of the last one in the loop"),
    "post": (partial(loop, make=post), "after the blocks"),
    "sampled": (sampled, "two runs give two texts"),
    "longer": (longer, "has 11 tokens: write 10"),
    "shorter": (shorter, "has 9 tokens: write 10"),
    "unstopped": (partial(loop, stop=False), "continues after"),
    "unstopped, no marks": (unstopped_without_marks, "continues after"),
    "BOS": (partial(loop, start=0), "begins with BOS"),
    "no prompt": (lambda m, p, *a, **k: loop(m, p, *a, **k).strip().removeprefix(p), "begin with the prompt"),
    "prompt alone": (lambda m, p, *a, **k: p, "nothing is written"),
    "not off at 0": (off_at_zero, "with coefficient 0"),
    "vectors": (changes_vectors, "`vectors` is changed"),
    "ids": (lambda m, p, *a, **k: m.to_tokens(p), "turn the tokens into text"),
    "None": (lambda *a, **k: None, "gives None"),
}


@pytest.mark.parametrize("text, name", WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_mistake_in_text_is_named(text, name, complaint):
    assert name in complaint(task_1_2, make, text)


def test_open_tasks_and_errors(complaint):
    def stub(*args, **kwargs):
        raise NotDone("1.2")

    def crashes(model, prompt, vectors, coefficient, layers=None, max_new_tokens=20):
        return model.generate_steered(prompt)

    def other_stub(*args, **kwargs):
        raise NotDone("1.2")

    for pair, name in (
        ((stub, loop), "stub"),
        ((make, stub), "stub"),
        ((stub, other_stub), "stub"),
        ((make, other_stub), "other_stub"),
    ):
        with pytest.raises(NotDone, match=f"in {name}, replace"):
            task_1_2(*pair)
    assert "`return model.generate_steered(prompt)`" in complaint(task_1_2, make, crashes)
    assert "pass the function itself" in complaint(task_1_2, make, "a text")


def test_the_notebooks_number_of_layers_is_named(complaint):
    def of_30_layers(vectors, coefficient, layers=None):
        return [
            (f"blocks.{layer}.hook_resid_pre", lambda resid, hook: resid + vectors[0])
            for layer in range(30)
            if len(vectors[layer])
        ]

    line = complaint(task_1_2, of_30_layers, lambda *args, **kwargs: "")
    assert "IndexError" in line and "The check works with 3 layers" in line


def test_the_questions_tell_the_recipes_apart(model):
    """The right texts follow the right recipe and no other, and they hold no special token."""
    vectors = check._vectors(model)
    toy = check._Toy(model, vectors)
    texts = [loop(model, c.prompt, vectors, c.coefficient, c.layers, check.NEW_TOKENS) for c in check.CASES]
    ids = [check._new_ids(model, text, case.prompt) for text, case in zip(texts, check.CASES, strict=True)]
    assert all(len(row) == check.NEW_TOKENS and not set(row) & set(model.tokenizer.all_special_ids) for row in ids)
    for recipe in product(check.FACTORS, check.PLACES, check.LAYERS):
        follows = all(toy.obeys(case, row, recipe) for case, row in zip(check.CASES, ids, strict=True))
        assert follows == (recipe == check.RIGHT), recipe
