"""Check of task 1.1: right answers in every form pass, and each mistake is named."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from helpers.checks import NotDone, task_1_1
from helpers.checks import residuals as check


def streams(model, sentence, kind="pre", **tokens):
    """Return the residual streams of one sentence, ``[n_layers tokens d_model]``."""
    _, cache = model.run_with_cache(model.to_tokens(sentence, **tokens))
    return torch.stack([cache[f"blocks.{layer}.hook_resid_{kind}"][0] for layer in range(model.cfg.n_layers)])


def right(model, sentences):
    return torch.stack([streams(model, s)[:, 1:].mean(1) for s in sentences]).mean(0)


def original_loop(model, sentences):
    averages = [torch.zeros(model.cfg.d_model) for _ in range(model.cfg.n_layers)]
    for sentence in sentences:
        _, cache = model.run_with_cache(model.to_tokens(sentence))
        for layer in range(model.cfg.n_layers):
            averages[layer] += cache["resid_pre", layer][0, 1:].mean(dim=0).cpu()
    return [average / len(sentences) for average in averages]


def with_hooks(model, sentences):
    """Use hooks instead of a cache, and running means instead of a sum."""
    means = torch.zeros(model.cfg.n_layers, model.cfg.d_model)
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]

    def update(resid, hook, count):
        layer = hook.layer()
        means[layer] += (resid[0, 1:].mean(0).cpu() - means[layer]) / count

    for count, sentence in enumerate(sentences, 1):
        hook = partial(update, count=count)
        model.run_with_hooks(model.to_tokens(sentence), fwd_hooks=[(name, hook) for name in names])
    return means


RIGHT = {
    "tensor": right,
    "list": original_loop,
    "hooks": with_hooks,
    "bf16": lambda m, s: right(m, s).bfloat16(),
    "numpy": lambda m, s: right(m, s).cpu().numpy(),
    "lists of floats": lambda m, s: right(m, s).tolist(),
    "gradients": lambda m, s: right(m, s).clone().requires_grad_(),
}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass(answer, passes):
    passes(task_1_1, answer)


def pooled(model, sentences):
    return torch.cat([streams(model, s)[:, 1:] for s in sentences], 1).mean(1)


def padded(model, sentences):
    _, cache = model.run_with_cache(model.to_tokens(sentences))
    return torch.stack([cache["resid_pre", layer][:, 1:].mean(1).mean(0) for layer in range(model.cfg.n_layers)])


def mean_of(reduce, **how):
    """Return an answer that averages ``reduce([n_layers tokens d_model])`` over the sentences."""
    return lambda model, sentences: torch.stack([reduce(streams(model, s, **how)) for s in sentences]).mean(0)


def leaves_hooks(model, sentences):
    model.add_hook("blocks.1.hook_resid_pre", lambda resid, hook: None)
    return right(model, sentences)


def leaves_torch_hook(model, sentences):
    model.hook_dict["blocks.0.hook_resid_pre"].register_forward_hook(lambda *args: None)
    return right(model, sentences)


def changes_weights(model, sentences):
    answer = right(model, sentences)
    next(model.parameters()).data.mul_(1.5)
    return answer


kept = []  # lives on after a call, which is the mistake of keeps_a_sum


def keeps_a_sum(model, sentences):
    kept.extend(right(model, [s]) for s in sentences)
    return torch.stack(kept).sum(0) / len(sentences)


WRONG = {
    "BOS": (mean_of(lambda r: r.mean(1)), "BOS is averaged in"),
    "BOS counted": (mean_of(lambda r: r[:, 1:].sum(1) / r.shape[1]), "still counted in the division"),
    "last token": (mean_of(lambda r: r[:, -1]), "only the last token"),
    "first token": (mean_of(lambda r: r[:, 1]), "only the first token"),
    "BOS only": (mean_of(lambda r: r[:, 0]), "only BOS"),
    "[:-1]": (mean_of(lambda r: r[:, :-1].mean(1)), "BOS is kept and the last token dropped"),
    "[2:]": (mean_of(lambda r: r[:, 2:].mean(1) if r.shape[1] > 2 else 0 * r[:, 0]), "first word is dropped"),
    "token sum": (mean_of(lambda r: r[:, 1:].sum(1)), "summed, not averaged"),
    "sentence sum": (lambda m, s: right(m, s) * len(s), "sentences are summed"),
    "pooled": (pooled, "long sentences weigh more"),
    "post": (mean_of(lambda r: r[:, 1:].mean(1), kind="post"), "off by one: row L holds hook_resid_post"),
    "rolled": (lambda m, s: right(m, s).roll(1, 0), "row L holds layer L - 1"),
    "rolled back": (lambda m, s: right(m, s).roll(-1, 0), "row L holds layer L + 1"),
    "reversed": (lambda m, s: right(m, s).flip(0), "reverse order"),
    "same layer": (lambda m, s: right(m, s)[[2, 2, 2]], "every row holds the last layer"),
    "first sentence": (lambda m, s: right(m, s[:1]), "only the first sentence"),
    "last sentence": (lambda m, s: right(m, s[-1:]), "only the last sentence"),
    "padding": (padded, "padding is averaged in"),
    "no BOS": (mean_of(lambda r: r.mean(1), prepend_bos=False), "run without BOS"),
    "no BOS, [1:]": (mean_of(lambda r: r[:, 1:].sum(1) / max(r.shape[1] - 1, 1), prepend_bos=False), "run without BOS"),
    "two mistakes": (lambda m, s: mean_of(lambda r: r.mean(1))(m, s).roll(1, 0), "besides, the layers are shifted"),
    "scaled": (lambda m, s: -2 * right(m, s), "-2 times as long"),
    "normalised": (lambda m, s: torch.nn.functional.normalize(right(m, s), dim=-1), "normalised to length 1"),
    "unknown": (lambda m, s: right(m, s) ** 3, "doesn't know"),
    "hooks": (leaves_hooks, "hooks in the model after the run"),
    "torch hook": (leaves_torch_hook, "hooks in the model after the run"),
    "weights": (changes_weights, "changes the model's weights"),
    "kept sum": (keeps_a_sum, "second call"),
    "one layer": (lambda m, s: right(m, s)[0], "the expected shape is [3, 16]. One row per layer"),
    "transposed": (lambda m, s: right(m, s).T, "Rows and columns are swapped"),
    "wrong axis": (lambda m, s: streams(m, s[0])[:, 1:].mean(-1), "wrong axis"),
    "batch dimension": (lambda m, s: right(m, s)[:, None], "batch dimension is still there"),
    "no sentence mean": (lambda m, s: torch.stack([right(m, [x]) for x in s]), "mean over the sentences is missing"),
    "NaN": (lambda m, s: right(m, s) * float("nan"), "holds NaN"),
    "None": (lambda m, s: None, "gives None"),
    "text": (lambda m, s: "done", "gives the str 'done'"),
    "generator": (lambda m, s: (row for row in right(m, s)), "a generator"),
    "ragged": (lambda m, s: [right(m, s)[0], right(m, s)[1, :3]], "tensors of the shapes [[16], [3]]"),
    "changed sentences": (lambda m, s: (right(m, s), s.pop())[0], "changes the list of sentences"),
}


@pytest.mark.parametrize("answer, name", WRONG.values(), ids=WRONG)
def test_mistake_is_named(answer, name, complaint):
    kept.clear()
    assert name in complaint(task_1_1, answer)


def test_a_students_error_is_reported_in_one_line(complaint):
    def crashes(model, sentences):
        first = sentences[0]
        return first / 0

    line = complaint(task_1_1, crashes)
    assert "crashes raised TypeError" in line and "`return first / 0`" in line


def test_using_the_notebooks_number_of_layers_gets_a_hint(complaint):
    def of_30_layers(model, sentences):
        _, cache = model.run_with_cache(model.to_tokens(sentences[0]))
        return torch.stack([cache[f"blocks.{layer}.hook_resid_pre"][0, 1:].mean(0) for layer in range(30)])

    line = complaint(task_1_1, of_30_layers)
    assert "KeyError" in line and "The check works with 3 layers: don't use the notebook's `n_layers`." in line


def test_other_errors_get_no_hint_about_layers(complaint):
    def divides(model, sentences):
        return 1 / 0

    def no_such_name(model, sentences):
        return model.run_with_cache(model.to_tokens(sentences[0]), names_filter=["hook_resid_pre"])

    def misspelt(model, sentences):
        return model.run_with_cache(model.to_tokens(sentences[0]))[1]["blocks.1.hook_resid_per"]

    def too_far(model, sentences):
        return sentences[len(sentences)]

    for crashes in (divides, no_such_name, misspelt, too_far):
        line = complaint(task_1_1, crashes)
        assert "raised" in line and "The check works" not in line


def test_hooks_are_removed_after_an_error(complaint):
    def crashes(model, sentences):
        model.add_hook("blocks.1.hook_resid_pre", lambda resid, hook: None)
        raise KeyError("blocks.9")

    assert "KeyError" in complaint(task_1_1, crashes)


def test_an_open_task_prints_one_line():
    def stub(model, sentences):
        raise NotDone("1.1")

    with pytest.raises(NotDone) as caught:
        task_1_1(stub)
    assert len(caught.value._render_traceback_()) == 1


def test_a_result_instead_of_the_function_is_rejected(complaint):
    assert "pass the function itself" in complaint(task_1_1, torch.zeros(3, 16))


def test_no_two_recipes_give_the_same_answer(model):
    """Otherwise a mistake could be reported as another one, or pass."""
    candidates = list(check._candidates(model))
    right_answer = check._streams(model, check.SENTENCES).weighted(check._weights("", ""), check.LAYERS[""])
    for message, value in candidates:
        assert not np.allclose(value, right_answer, rtol=1e-2, atol=1e-2), message
    single_mistakes = [value for message, value in candidates if "besides" not in message]
    for i, value in enumerate(single_mistakes):
        assert not any(np.allclose(value, other, atol=1e-3) for other in single_mistakes[:i])
