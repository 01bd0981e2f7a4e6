"""The rival of steering: ask for the sentiment, with words in front of the prompt.

Perplexity is that of the continuation given the *original* prompt under the plain model, as for steered text. So words
in front don't buy fluency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from helpers import data
from helpers.data.tables import read_table
from helpers.hooks import Completion, Hook, generate_many, rescore
from helpers.steering.bootstrap import Interval, mean_interval
from helpers.steering.curves import Curve
from helpers.steering.sweeps import two_sided

PLACE = "{prompt}"  # where the prompt stands in a wording
ASKED = 1.0  # the coefficient under which a curve holds the positive wording; the negative one is at −ASKED


@dataclass(frozen=True)
class Wording:
    """What stands in front of a prompt to make its continuation positive or negative.

    Attributes:
        kind: ``"chat"`` for an instruction in the model's chat format, ``"prefix"`` for a sentence in front, or
            ``"sentences"`` for contrast sentences in front.
        positive, negative: the words, with ``{prompt}`` for the prompt. For ``"chat"`` they are the instruction, and
            the answer begins with the prompt.
    """

    name: str
    kind: str
    positive: str
    negative: str

    def text(self, model, prompt: str, sign: int) -> str:
        """Return the whole text that the model continues."""
        words = self.positive if sign > 0 else self.negative
        words = words.replace(PLACE, prompt)
        if self.kind != "chat":
            return words
        messages = [{"role": "user", "content": words}]
        chat = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return chat.removeprefix(model.tokenizer.bos_token) + prompt


def wordings(model) -> list[Wording]:
    """Return the wordings to try: contrast sentences, prefixes, and instructions if the model has a chat format."""
    kinds = ["prefix", *(["chat"] if getattr(model.tokenizer, "chat_template", None) else [])]
    table = read_table("wordings")
    found = [Wording(item["name"], kind, item["positive"], item["negative"]) for kind in kinds for item in table[kind]]
    five = in_front("five sentences", data.POSITIVE, data.NEGATIVE)
    return [*found, five, in_front("one sentence", data.POSITIVE[:1], data.NEGATIVE[:1])]


def in_front(name: str, positive: Sequence[str], negative: Sequence[str]) -> Wording:
    """Return the wording that puts sentences in front of the prompt."""
    texts = [" ".join([*sentences, PLACE]) for sentences in (positive, negative)]
    return Wording(name, "sentences", *texts)


def ask(
    model,
    wordings: Sequence[Wording],
    plain: Sequence[Completion],
    max_new_tokens: int = 20,
    hooks: tuple[Sequence[Hook], Sequence[Hook]] = ((), ()),
    progress: str | None = "ask",
) -> dict[str, Curve]:
    """Continue every prompt after every wording; return a curve (negative, plain, positive) per wording's name.

    Args:
        plain: the unsteered completions of the prompts, such as ``curve.at(0).completions``.
        hooks: hooks to steer with at the same time, for the negative and for the positive wording.

    Returns:
        Curves at −1, 0 and 1, scored by VADER; read them at coefficient ``ASKED``.

    Raises:
        HookError: as for :func:`helpers.hooks.generate_many`; a prompt with its wording may be too long.
    """
    prompts = [completion.prompt for completion in plain]
    rows: dict[tuple[str, int], list[Completion]] = {}
    for sign, fwd_hooks in zip((-1, 1), hooks, strict=True):
        texts = [wording.text(model, prompt, sign) for wording in wordings for prompt in prompts]
        title = progress and f"{progress} {'+' if sign > 0 else '−'}"
        (written,) = generate_many(model, texts, [fwd_hooks], max_new_tokens, progress=title, fluency=False)
        written = rescore(model, written, prompts * len(wordings))
        for i, wording in enumerate(wordings):
            rows[wording.name, sign] = written[i * len(prompts) : (i + 1) * len(prompts)]
    curves = {}
    for wording in wordings:
        (curve,) = two_sided([list(plain), rows[wording.name, -1], rows[wording.name, 1]], [ASKED])
        curves[wording.name] = replace(curve, asked=True)
    return curves


def best(curves: dict[str, Curve], coefficient: float = ASKED, max_perplexity_ratio: float = 1.6) -> str:
    """Return the name with the largest shift among the fluent ones; if none is fluent, the most fluent one."""
    ratios = {name: curve.perplexity_ratio(coefficient) for name, curve in curves.items()}
    fluent = [name for name, ratio in ratios.items() if ratio <= max_perplexity_ratio]
    if not fluent:
        return min(ratios, key=ratios.__getitem__)
    return max(fluent, key=lambda name: curves[name].shift(coefficient))


def difference_interval(one: tuple[Curve, float], other: tuple[Curve, float]) -> tuple[float, Interval]:
    """Return how much more ``one`` shifts than ``other``, and the 95% bootstrap interval, paired by prompt."""
    shifts = (curve.shifts(coefficient) for curve, coefficient in (one, other))
    differences = [more - less for more, less in zip(*shifts, strict=True)]
    return sum(differences) / len(differences), mean_interval(differences)
