"""Check of task 2.4: right answers in every form pass, and each mistake is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.checks import NotDone, task_2_4
from helpers.checks import top_contexts as check


def walk(latent, texts, tokens, special, k=5, order=None, skip=None, seen_by=int, enough=None):
    """Return the right answer. ``order``, ``skip``, ``seen_by`` and ``enough`` introduce mistakes."""
    chosen, seen = [], set()
    for i in latent.argsort(descending=True).tolist() if order is None else order(latent):
        if skip(latent, tokens, special, i) if skip else latent[i] <= 0 or int(tokens[i]) in special:
            continue
        if seen_by(texts[i]) in seen:
            continue
        seen.add(seen_by(texts[i]))
        chosen.append(i)
        if len(chosen) == (enough or k):
            break
    return chosen


def by_text(latent, texts, tokens, special, k=5):
    """Choose the strongest token of each text, then sort the texts: in NumPy, with ties in reverse order."""
    latent, texts, tokens = latent.numpy(), texts.numpy(), tokens.numpy()
    allowed = (latent > 0) & ~np.isin(tokens, list(special))
    best = [max(np.flatnonzero(allowed & (texts == t))[::-1], key=lambda i: latent[i]) for t in set(texts[allowed])]
    return np.array(sorted(best, key=lambda i: latent[i], reverse=True)[:k], dtype=int)


def by_argmax(latent, texts, tokens, special, k=5):
    """Mask special tokens, then take the maximum up to k times; return a list of tensors."""
    remaining = latent.clone()
    remaining[torch.isin(tokens, torch.tensor(sorted(special), dtype=tokens.dtype))] = 0
    chosen = []
    while len(chosen) < k and remaining.max() > 0:
        chosen.append(remaining.argmax())
        remaining[texts == texts[chosen[-1]]] = 0
    return chosen


RIGHT = {
    "walk": walk,
    "NumPy": by_text,
    "tensors": by_argmax,
    "one tensor": lambda *a, **k: torch.tensor(walk(*a, **k)),
    "floats": lambda *a, **k: [float(i) for i in walk(*a, **k)],
    "tuple": lambda *a, **k: tuple(walk(*a, **k)),
}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass(answer, passes):
    passes(task_2_4, answer)


def changed(**mistake):
    """Return ``walk`` with a mistake."""
    return lambda *args, **kwargs: walk(*args, **mistake, **kwargs)


def after(change):
    """Return ``walk``, whose answer then goes through ``change(indices, latent, texts, tokens)``."""

    def answer(latent, texts, tokens, special, k=5):
        return change(walk(latent, texts, tokens, special, k), latent, texts, tokens)

    return answer


def cut_first(latent, texts, tokens, special, k=5):
    """Cut to the k strongest tokens before skipping repeated texts and special tokens."""
    top = latent.topk(min(k, len(latent))).indices
    return [int(top[i]) for i in walk(latent[top], texts[top], tokens[top], special, k)]


def drops_texts(latent, texts, tokens, special, k=5):
    """Mark a text as seen before checking whether the token is special."""
    chosen, seen = [], set()
    for i in latent.argsort(descending=True).tolist():
        text = int(texts[i])
        if text in seen or latent[i] <= 0:
            continue
        seen.add(text)
        if int(tokens[i]) not in special:
            chosen.append(i)
    return chosen[:k]


def first_of_text(latent, texts, tokens, special, k=5):
    """Choose the first active token of each text instead of its strongest."""
    return sorted(walk(latent, texts, tokens, special, 99, order=lambda v: range(len(v))), key=lambda i: -latent[i])[:k]


def in_place(latent, texts, tokens, special, k=5):
    latent[torch.isin(tokens, torch.tensor(sorted(special), dtype=tokens.dtype))] = -1.0
    return walk(latent, texts, tokens, special, k)


def special_in_place(latent, texts, tokens, special, k=5):
    special.add(99)
    return walk(latent, texts, tokens, special, k)


def no_special_check(latent, tokens, special, i):
    return latent[i] <= 0


def tensor_in_set(latent, tokens, special, i):
    return latent[i] <= 0 or tokens[i] in special


def no_zero_check(latent, tokens, special, i):
    return int(tokens[i]) in special


def only_dead_checked(latent, tokens, special, i):
    return bool((latent == 0).all()) or int(tokens[i]) in special


def zero_excluded_only(latent, tokens, special, i):
    return latent[i] == 0 or int(tokens[i]) in special


def ascending(latent):
    return latent.argsort().tolist()


def by_magnitude(latent):
    return latent.abs().argsort(descending=True).tolist()


WRONG = {
    "weakest": (changed(order=ascending), "the order is ascending"),
    "weakest k": (
        lambda v, *a, k=5: walk(v, *a, k=k, order=ascending if k < 5 else None),
        "weakest activations are taken",
    ),
    "ascending": (after(lambda chosen, *_: chosen[::-1]), "the order is ascending"),
    "unsorted": (after(lambda chosen, *_: sorted(chosen)), "aren't sorted"),
    "activations": (after(lambda chosen, latent, *_: latent[chosen].tolist()), "return their indices"),
    "token ids": (after(lambda chosen, v, texts, tokens: tokens[chosen].tolist()), "the token ids are returned"),
    "text ids": (after(lambda chosen, v, texts, tokens: texts[chosen]), "the text ids are returned"),
    "pairs": (after(lambda chosen, latent, *_: [(i, float(latent[i])) for i in chosen]), "plain indices"),
    "k ignored": (changed(enough=99), "`k` is ignored"),
    "k is 3": (lambda *a, k=3: walk(*a, k=min(k, 3)), "without `k` there are 3 contexts"),
    "default": (lambda *a, k=7: walk(*a, k=k), "`k` is ignored: with k=5"),
    "repeats": (changed(seen_by=lambda text: object()), "a text appears more than once"),
    "repeats by tensors": (changed(seen_by=lambda text: text), "a text appears more than once"),
    "index twice": (after(lambda chosen, *_: chosen[:1] * 2 + chosen[2:]), "an index appears twice"),
    "specials": (changed(skip=no_special_check), "a special token is among the contexts"),
    "cut first": (cut_first, "skip repeated texts and special tokens before you cut it to k"),
    "text dropped": (drops_texts, "a text is dropped because its strongest token is special"),
    "first of text": (first_of_text, "isn't its strongest"),
    "zeros": (changed(skip=no_zero_check), "a dead latent (0 at every token) gets contexts"),
    "zeros of live latents": (changed(skip=only_dead_checked), "tokens with activation 0"),
    "negative": (changed(skip=zero_excluded_only), "negative activations are among"),
    "absolute": (changed(skip=zero_excluded_only, order=by_magnitude), "largest |activation|"),
    "latent in place": (in_place, "`latent` is changed"),
    "set in place": (special_in_place, "`special_ids` is changed"),
    "from the end": (after(lambda chosen, latent, *_: [i - len(latent) for i in chosen]), "the negative index"),
    "too far": (after(lambda chosen, *_: [i + 50 for i in chosen]), "but there are 5 tokens"),
    "fractions": (after(lambda chosen, *_: [i + 0.5 for i in chosen]), "aren't indices"),
    "NaN": (after(lambda chosen, *_: [float("nan") for _ in chosen]), "aren't indices"),
    "None": (lambda *a, **k: None, "gives None"),
    "a number": (lambda *a, **k: 3, "return a list of indices"),
    "words": (after(lambda chosen, *_: ["the"] * len(chosen)), "a list that holds the str 'the'"),
    "crash": (lambda latent, *a, **k: latent.top, "raised AttributeError"),
    "no k": (lambda latent, texts, tokens, special: walk(latent, texts, tokens, special), "raised TypeError"),
}


@pytest.mark.parametrize("answer, name", WRONG.values(), ids=WRONG)
def test_mistake_is_named(answer, name, complaint):
    assert name in complaint(task_2_4, answer)


def test_tensor_looked_up_in_a_set_is_explained(complaint):
    """``tokens[i] in special_ids`` is False for every tensor; the message explains it."""
    message = complaint(task_2_4, changed(skip=tensor_in_set))
    assert "special token" in message and "a tensor is never `in` a set" in message


def test_a_stub_raises_not_done_and_a_list_is_rejected(complaint):
    def stub(latent, text_ids, token_ids, special_ids, k=5):
        raise NotDone("2.4")

    with pytest.raises(NotDone):
        task_2_4(stub)
    assert "pass the function itself" in complaint(task_2_4, [1, 2])


def test_expected_activations_equal_values_worked_out_by_hand():
    by_trap = {question.trap: question.strongest().tolist() for question in check.QUESTIONS}
    assert by_trap["repeats"] == [6.5, 5.0, 3.0, 2.5]
    assert by_trap["special first"] == [5.0, 4.5, 2.0]
    assert by_trap["fewer"] == [2.5, 1.5]
    assert by_trap["dead"] == by_trap["only special"] == []
    assert by_trap["negative"] == [2.5, 1.5, 0.5]
