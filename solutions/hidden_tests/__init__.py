"""Hidden tests: their inputs, and how answers are compared. Students never see this file.

``questions.py`` runs the student's code. The expected values are the solutions' answers to the same questions.
Change the inputs every year. Any seeds, sentences and cases will do if the solutions' texts don't depend on a tie.
``tests/grading/judging/test_hidden_tests.py`` checks this.
"""

from __future__ import annotations

import random

from grading.judging.hidden_tests import (
    HiddenTest,
    Question,
    Words,
    difference,
    integers,
    numbers,
    same_numbers,
    same_words,
)

from .prompts import PROMPTS as PROMPTS
from .recompute import compare_coefficient, compare_dictionary, compare_latent

# Names that each task must define. The steering vectors may come from the grader's own run.
WANTED = {
    "1.1": ("collect_average_residuals",),
    "1.2": ("make_steering_hooks", "generate_with_steering"),
    "1.3": ("best_coefficient", "best_layers", "steering_vectors"),
    "2.1": ("SAE",),
    "2.2": ("sae_loss",),
    "2.3": ("my_sae",),
    "2.4": ("top_contexts",),
    "2.6": ("make_latent_hooks", "bonus_label", "bonus_latent", "bonus_coefficient"),
    "2.7": ("bonus_sae",),
}
# Public checks, which name a mistake in words.
CHECKS = {"1.1": "task_1_1", "1.2": "task_1_2", "2.1": "task_2_1", "2.2": "task_2_2", "2.4": "task_2_4"}
# Names that the notebooks' given cells define. Unchanged cells needn't run again for each student.
PROVIDED = {
    "01_sentiment_steering": (
        "n_layers", "d_model", "prompt", "positive_averages", "negative_averages", "steering_vectors", "medians",
        "coefficients", "layers", "trial_prompts", "new_tokens", "curve",
    ),
    "02_sparse_autoencoder": (
        "n_layers", "d_model", "lines", "middle_name", "last_name", "middle", "norms", "train_middle", "test_middle",
        "config", "reference", "history", "middle_metrics", "names", "truth", "kept", "latent_f1", "best_latents",
        "neuron_f1", "punctuation",
    ),
}  # fmt: skip

# The model generates the hidden text of 2.3 and 2.7 from this seed, so keep it from students.
HIDDEN_SEED = 417

_TOY = {"seed": 733, "layers": 4, "width": 24, "architecture": "gpt2", "size": 0.5}
_LLAMA = {"seed": 902, "layers": 2, "width": 32, "architecture": "llama", "size": 0.5}
_SENTENCES = [
    "we took a walk",
    "it felt late",
    "they saw the garden because she made a cold music house",
    "my letter was nice",
]


def _same_averages(answer: Words, expected: Words, facts) -> str:
    layers = len(expected["averages"])
    found = numbers(answer, "averages")
    if found.ndim == 2 and len(found) != layers:
        return f"there are {len(found)} rows for a model of {layers} layers: use model.cfg.n_layers"
    return same_numbers("averages", "model afterwards")(answer, expected, facts)


def _averages(name: str, tried: str, share: float, model: dict, sentences: list[str], calls: int = 1) -> HiddenTest:
    given = {**model, "sentences": sentences, "calls": calls}
    return HiddenTest("1.1", name, tried, share, (Question("averages", given),), _same_averages)


def _logits(name: str, tried: str, cases: list, model: dict = _TOY) -> HiddenTest:
    given = {**model, "texts": ["she saw the river and", "he took my slow train"], "cases": cases}
    return HiddenTest(
        "1.2", name, tried, 0.2, (Question("steered_logits", given),), same_numbers("logits", "model afterwards")
    )


def _texts(name: str, tried: str, cases: list, new_tokens: int = 12) -> HiddenTest:
    given = {**_TOY, "cases": cases, "new_tokens": new_tokens}
    return HiddenTest("1.2", name, tried, 0.2, (Question("steered_texts", given),), same_words("texts"))


_SMALL = {"d_in": 7, "d_sae": 12, "seed": 55, "batch": [9]}


def _sae(name: str, tried: str, question: str, *answers: str, **sizes) -> HiddenTest:
    return HiddenTest("2.1", name, tried, 0.2, (Question(question, {**_SMALL, **sizes}),), same_numbers(*answers))


def _case(latent, texts, tokens, special=(), k=None) -> dict:
    return {"latent": latent, "texts": texts, "tokens": tokens, "special": list(special), "k": k}


def _scrambled(seed: int, n: int, k: int) -> dict:
    draw = random.Random(seed)
    latent = [max(0.0, round(draw.gauss(0, 1), 6)) for _ in range(n)]
    return _case(
        latent, [draw.randrange(n // 12) for _ in range(n)], [draw.randrange(40) for _ in range(n)], (0, 1, 5), k
    )


def _same_contexts(cases: list[dict]):
    """Return a function that compares activations and checks the rules. Ties may come in any order."""

    def compare(answer: Words, expected: Words, facts) -> str:
        found = answer.get("rows")
        if not isinstance(found, list) or len(found) != len(cases):
            return "the answers aren't lists of indices"
        for case, wanted, rows in zip(cases, expected["rows"], found, strict=True):
            rows = integers({"rows": rows}, "rows")
            if len(rows) != len(wanted):
                return "the number of contexts is wrong"
            if any(not 0 <= row < len(case["latent"]) for row in rows):
                return "an index is out of range"
            if [case["latent"][row] for row in rows] != [case["latent"][row] for row in wanted]:
                return "the chosen activations or their order differ from the solution's"
            if len({case["texts"][row] for row in rows}) < len(rows) or any(
                case["tokens"][row] in case["special"] for row in rows
            ):
                return "a line appears twice, or a special token is among the contexts"
        return ""

    return compare


def _contexts(name: str, tried: str, *cases: dict, share: float = 0.1) -> HiddenTest:
    return HiddenTest(
        "2.4", name, tried, share, (Question("contexts", {"cases": list(cases)}),), _same_contexts(list(cases))
    )


def _same_push(answer: Words, expected: Words, facts) -> str:
    if answer.get("names") != expected["names"]:
        return "make_latent_hooks must return one hook, on the residual stream of the middle layer"
    return difference(numbers(answer, "pushed"), numbers(expected, "pushed"), "what the hook adds")


def dictionary_questions(name: str) -> tuple[Question, ...]:
    """Ask for the decoder of the SAE ``name`` and its latents on hidden activations."""
    return Question("dictionary", {"name": name}, "sizes"), Question("latents", {"name": name}, "hidden")


def _dictionary(task: str, name: str, tried: str) -> HiddenTest:
    return HiddenTest(task, "outcome", tried, 1.0, dictionary_questions(name), compare_dictionary)


_DOZEN = list(range(20, 32))
HIDDEN_TESTS = (
    _averages("sentences", "four sentences of different length", 0.4, _TOY, _SENTENCES),
    _averages("one", "a list of one sentence", 0.2, _TOY, _SENTENCES[2:3]),
    _averages("llama", "a model of another architecture and size", 0.2, _LLAMA, _SENTENCES[::-1]),
    _averages("again", "a second call with the same sentences", 0.2, _TOY, _SENTENCES[:3], calls=2),
    _logits("all layers", "hooks for all layers, on two texts at once", [[0.9, None], [-1.7, None]]),
    _logits("some layers", "hooks for some of the layers, in any order", [[1.4, [3, 1]], [-0.6, [0]], [2.2, [2]]]),
    _texts(
        "texts",
        "steered texts for three prompts",
        [["awful letter early so", 1.8, None], ["is", -1.9, None], ["took felt", 1.9, None]],
    ),
    _texts(
        "layers",
        "steered texts with some of the layers, and with coefficient 0",
        [["walk late is nice", -0.7, [3]], ["train", 1.4, [2, 1]], ["but felt river", 0.0, None]],
    ),
    _texts(
        "end",
        "texts that the model ends by itself",
        [["river great train", -1.0, None], ["is letter", 1.4, [1, 2]], ["good made house and that", -1.3, [0, 2]]],
        30,
    ),
    HiddenTest(
        "1.3",
        "outcome",
        "your coefficient, layers and vectors on the notebook's prompts",
        1.0,
        (Question("steering_outcome"),),
        compare_coefficient,
    ),
    _sae("encode", "encode with other weights and biases", "encoded", "latents"),
    _sae("decode", "decode with other weights and biases", "decoded", "reconstruction"),
    _sae("forward", "forward: the reconstruction, then the latents", "forwarded", "reconstruction", "latents"),
    _sae(
        "shape",
        "a batch of sequences, [batch pos d_in]",
        "forwarded",
        "reconstruction",
        "latents",
        batch=[2, 5],
        seed=56,
    ),
    _sae("gradient", "whether every weight and bias can be trained", "sae_gradients", "gradients", seed=57),
    HiddenTest(
        "2.2",
        "values",
        "the loss of three batches",
        0.5,
        (Question("losses", {"cases": [[6, 5, 9, 71, 0.4], [11, 3, 8, 72, 1.9], [4, 8, 30, 73, 0.05]]}),),
        same_numbers("losses"),
    ),
    HiddenTest(
        "2.2",
        "one",
        "the loss of a single token",
        0.25,
        (Question("losses", {"cases": [[1, 6, 7, 74, 0.7]]}),),
        same_numbers("losses"),
    ),
    HiddenTest(
        "2.2",
        "gradient",
        "whether training can lower both terms",
        0.25,
        (Question("loss_gradients", {"case": [7, 4, 9, 75, 0.6]}),),
        same_numbers("gradient of the error", "gradient of the sparsity"),
    ),
    _dictionary("2.3", "my_sae", "your SAE on lines that it can't have seen"),
    _contexts("order", "the strongest first", _case([0.5, 2.5, 1.5, 3.5, 0.25], [0, 1, 2, 3, 4], _DOZEN[:5])),
    _contexts(
        "k",
        "k, and its default",
        _case([0.5, 3.0, 1.5, 2.0, 0.25, 4.0, 2.5], [6, 5, 4, 3, 2, 1, 0], _DOZEN[:7]),
        _case([0.5, 3.0, 1.5, 2.0, 0.25, 4.0, 2.5], [6, 5, 4, 3, 2, 1, 0], _DOZEN[:7], k=2),
    ),
    _contexts(
        "lines",
        "several strong tokens in one line",
        _case([5.0, 4.5, 4.0, 0.5, 3.0, 2.0], [8, 8, 8, 1, 3, 3], _DOZEN[:6], k=3),
    ),
    _contexts(
        "special", "special tokens", _case([6.0, 1.0, 5.0, 2.0, 3.0], [1, 2, 3, 4, 5], [2, 21, 3, 22, 23], (2, 3), 3)
    ),
    _contexts(
        "special first",
        "a line whose strongest token is special",
        _case([9.0, 4.0, 8.0, 5.0, 1.0], [1, 1, 2, 2, 3], [2, 21, 3, 22, 23], (2, 3), 2),
    ),
    _contexts(
        "dead",
        "a latent that never fires, and one that fires in fewer than k lines",
        _case([0.0] * 8, [0, 0, 1, 1, 2, 2, 3, 3], _DOZEN[:8], k=4),
        _case([0.0, 1.5, 0.0, 2.5, 0.0, 0.75], [0, 1, 2, 3, 4, 1], _DOZEN[:6]),
        share=0.2,
    ),
    _contexts("negative", "values below 0", _case([-5.0, 1.5, -0.5, 2.5, -4.0], [0, 1, 2, 3, 4], _DOZEN[:5], k=4)),
    _contexts(
        "ties",
        "equal activations in several lines",
        _case([2.0, 1.0, 2.0, 1.0, 2.0, 2.0], [0, 1, 2, 3, 0, 4], _DOZEN[:6], k=4),
    ),
    _contexts("long", "several hundred tokens", _scrambled(81, 600, 15), _scrambled(82, 240, 40)),
    HiddenTest(
        "2.6",
        "hook",
        "your hook, with another dictionary",
        0.25,
        (Question("latent_push", {"cases": [[3, 2.5], [0, -1.25]]}, "rows"),),
        _same_push,
    ),
    HiddenTest(
        "2.6",
        "outcome",
        "your latent and coefficient on the notebook's prompts",
        0.75,
        (Question("latent_choice"),),
        compare_latent,
    ),
    _dictionary("2.7", "bonus_sae", "your SAE compared with the reference, on lines that neither can have seen"),
)
