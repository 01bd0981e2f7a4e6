# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sentiment steering
#
# **Part 1 of the homework: 3 points, about 45 minutes.**
#
# A transformer carries information in its *residual stream*: one vector per token that every block reads and adds to.
# Suppose that one direction in this space means "this text is in a good mood". Then you could add a little of that
# direction while the model writes, and the text would become more cheerful. In this notebook you find such a direction
# with ten sentences and add it during generation. Then you measure the effect as a scientist would: how often it works,
# what it does to fluency, and how it compares with a control.
#
# The course reworks an earlier homework on GPT-2 and WikiText-2. *The original* always means that homework.
#
# | task | points | difficulty | minutes |
# |---|---|---|---|
# | 1.1 average residuals | 1 | easy | 10 |
# | 1.2 steering hook and steered generation | 1 | medium | 15 |
# | 1.3 find a coefficient that works | 0.5 | easy | 10 |
# | 1.4 what steering does and where it breaks | 0.5 | written | 10 |
#
# Write code only where a cell says `NotDone`. Each coding task ends with a check that tells you what is wrong.

# %%
import torch
from jaxtyping import Float
from torch import Tensor

from helpers import checks, data, harvest, hooks, load_model, plots, sentiment, steering
from helpers.checks import NotDone
from helpers.report import report
from helpers.settings import settings

setting = settings()
print(setting)

# %% [markdown]
# Load the model once. The first time on a machine, this takes about half a minute. The output shows the number of
# layers and the width of the residual stream: 30 layers of width 576 for `smollm2`, 12 of width 768 for GPT-2 small.

# %%
model = load_model(setting.model, dtype=setting.dtype)
n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
print(f"{n_layers} layers, d_model {d_model}")

# %% [markdown]
# What does the model write without steering?

# %%
prompt = data.TRIAL_PROMPTS[0]
print(hooks.generate(model, prompt))

# %% [markdown]
# ## A look at the residual stream
#
# `run_with_cache` runs the model and stores the activations at the *hook points* that you name. The residual stream
# before block 5 is the hook point `blocks.5.hook_resid_pre`. Its shape is `[batch, tokens, d_model]`. Expect one token
# more than the text has: `to_tokens` puts a begin-of-sequence token (BOS) in front.

# %%
tokens = model.to_tokens("What a delightful surprise!")
name = f"blocks.{min(5, n_layers - 1)}.hook_resid_pre"  # a model with fewer than six layers shows its last one
_, cache = model.run_with_cache(tokens, names_filter=[name])
residual = cache[name]
print(model.to_str_tokens(tokens))
print(list(residual.shape))

# %% [markdown]
# How large is the norm of each token's vector? Look at the first number before you read on.

# %%
for token, norm in zip(model.to_str_tokens(tokens), residual[0].float().norm(dim=-1), strict=True):
    print(f"{token!r:16} {norm:10.1f}")

# %% [markdown]
# In a trained model, BOS is usually an *attention sink*: attention heads that find nothing useful in the text attend to
# it instead. The residual vector of an attention sink usually has a far larger norm than those of other tokens, as you
# see here. A mean over tokens that includes BOS is mostly BOS's own vector, divided by the number of tokens. It says
# little about the text, so you will exclude BOS.

# %% [markdown]
# ## Task 1.1: average residuals (1 point)
#
# **What you learn**: how to read activations at every layer. **What to expect**: a tensor `[n_layers, d_model]`.
#
# For every layer L, take `blocks.L.hook_resid_pre` of each sentence and average it **over the sentence's tokens,
# without BOS**. Then average over the sentences, so that long and short sentences count equally.
#
# The check calls your function with a small model of its own. Read the number of layers from `model.cfg`, because the
# variable `n_layers` above describes the large model.
#
# <details><summary>Hint</summary>
#
# `names_filter` also accepts a function: `lambda name: name.endswith("hook_resid_pre")` stores all layers in one run.
# Index the cache by the full name of a hook point. The index `[0, 1:]` then selects the only sentence of the batch,
# from its first word on. Sum in fp32: the model may run in bf16, and a sum in bf16 loses digits.
#
# </details>


# %% task="1.1" points=1
def collect_average_residuals(model, sentences: list[str]) -> Float[Tensor, "n_layers d_model"]:
    """Return the mean residual per layer: over each sentence's tokens (BOS excluded), then over sentences."""
    ### BEGIN SOLUTION
    total = torch.zeros(model.cfg.n_layers, model.cfg.d_model, device=model.W_U.device)
    for sentence in sentences:
        sentence_tokens = model.to_tokens(sentence)
        _, cache = model.run_with_cache(sentence_tokens, names_filter=lambda name: name.endswith("hook_resid_pre"))
        for layer in range(model.cfg.n_layers):
            total[layer] += cache[f"blocks.{layer}.hook_resid_pre"][0, 1:].float().mean(dim=0)
    return total / len(sentences)
    ### END SOLUTION


# %% task="1.1" role="check"
checks.task_1_1(collect_average_residuals)

# %% [markdown]
# ## The steering vectors
#
# Here are five sentences in a good mood and five in a bad one. They are alike in most other ways, but not in all: look
# at the exclamation marks, for example. We hope that the difference of their means is mostly the mood. Feel free to try
# your own sentences, but use the same number on both sides. Everything below uses these two lists.

# %%
positive_sentences, negative_sentences = list(data.POSITIVE), list(data.NEGATIVE)
for good, bad in zip(positive_sentences, negative_sentences, strict=True):
    print(f"{good:50} | {bad}")

# %%
positive_averages = collect_average_residuals(model, positive_sentences)
negative_averages = collect_average_residuals(model, negative_sentences)
steering_vectors = positive_averages - negative_averages

# %% [markdown]
# How large are these vectors? A norm says little by itself, so compare it with the norm of the residual stream. The
# right plot shows ‖c·v‖ divided by the median norm of the residual stream. Here v is a layer's steering vector and c =
# 0.3 is the coefficient. The median is measured on the ten sentences. Expect a fraction well below 1. The vector added
# at one layer (the *push*) is small, but every layer gets one, and the pushes add up.

# %%
resid_names = [f"blocks.{layer}.hook_resid_pre" for layer in range(n_layers)]
residuals = harvest(model, [*positive_sentences, *negative_sentences], resid_names, progress=False)
medians = torch.stack([residuals[name].values.norm(dim=-1).median() for name in resid_names])

# %%
relative = steering.relative_norms(steering_vectors, medians, coefficient=0.3)
plots.layer_norms(relative, steering_vectors.norm(dim=-1).cpu(), title="size of the push at c = 0.3")

# %% [markdown]
# ## Task 1.2: steer (1 point)
#
# **What you learn**: how to change a model's activations while it runs. **What to expect**: three different endings for
# the same first words. At ±0.3 the text may already stumble; in task 1.3 you find a better coefficient.
#
# 1. `make_steering_hooks` returns one pair `(hook point, function)` per layer. The function gets the residual stream
#    `[batch, tokens, d_model]` and adds `coefficient * vectors[layer]` at the **last** position only. `layers=None`
#    means all layers: use `range(len(vectors))`, because the check's model is smaller than yours here, too.
# 2. `generate_with_steering` continues a prompt greedily. Run the whole text with the hooks on, append the most likely
#    next token, and repeat. Stop at the end-of-text token, `model.tokenizer.eos_token_id`, and don't append it. Return
#    the prompt and its continuation, without BOS.
#
# <details><summary>Hint for the hooks</summary>
#
# A function defined in a loop reads the loop variable *when the function runs*. By then the loop is over, and the
# variable has its last value. Bind the layer's vector when you define the function:
# `def hook(resid, hook, vector=vectors[layer]): ...`.
#
# </details>
# <details><summary>Hint for the generation</summary>
#
# `model.run_with_hooks(tokens, fwd_hooks=...)` returns logits `[batch, tokens, vocabulary]` and removes its hooks
# afterwards. `model.to_string(tokens[0, 1:])` turns tokens into text.
#
# </details>


# %% task="1.2" points=1
def make_steering_hooks(
    vectors: Float[Tensor, "n_layers d_model"], coefficient: float, layers: list[int] | None = None
) -> list[tuple]:
    """Return one (hook point, function) pair per layer; ``None`` means all layers."""
    ### BEGIN SOLUTION
    steered_layers = range(len(vectors)) if layers is None else layers

    def adder(push):
        def add_push(resid, hook):
            resid[:, -1, :] += push.to(resid)
            return resid

        return add_push

    return [(f"blocks.{layer}.hook_resid_pre", adder(coefficient * vectors[layer])) for layer in steered_layers]
    ### END SOLUTION


def generate_with_steering(
    model,
    prompt: str,
    vectors: Float[Tensor, "n_layers d_model"],
    coefficient: float = 0.0,
    layers: list[int] | None = None,
    max_new_tokens: int = 20,
) -> str:
    """Return the prompt and its greedy continuation under steering."""
    ### BEGIN SOLUTION
    tokens = model.to_tokens(prompt)
    steering_hooks = make_steering_hooks(vectors, coefficient, layers)
    for _ in range(max_new_tokens):
        logits = model.run_with_hooks(tokens, fwd_hooks=steering_hooks)
        next_token = logits[0, -1].argmax()
        if next_token == model.tokenizer.eos_token_id:
            break
        tokens = torch.cat([tokens, next_token.view(1, 1)], dim=1)
    return model.to_string(tokens[0, 1:])
    ### END SOLUTION


# %% task="1.2" role="check"
checks.task_1_2(make_steering_hooks, generate_with_steering)

# %% [markdown]
# The next cell writes the same three kinds of completions as the original homework: neutral, positive and negative.
# Each takes a few seconds, because the loop reads the whole text again for every token.

# %%
for name, coefficient in (("neutral", 0.0), ("positive", 0.3), ("negative", -0.3)):
    text = generate_with_steering(model, prompt, steering_vectors, coefficient, max_new_tokens=setting.sizes.new_tokens)
    print(f"{name:9} {text}")

# %% [markdown]
# ### The same text, faster
#
# Your loop edits only the last position. The next step computes that token again without the edit. A KV cache stores
# the keys and values of earlier tokens, so it would keep every edit. Ordinary generation with a cache therefore writes
# a *different* text. `hooks.generate` can do both:
#
# - `past="clean"` gives the text of your loop, but uses a cache. (In bf16, near ties may be decided differently.)
# - `past="steered"` gives what a plain cache gives.
#
# Expect a stronger effect from the steered past: each new token also reads the edited keys and values of all the tokens
# before it.

# %%
push = make_steering_hooks(steering_vectors, 0.2)
for past in ("clean", "steered"):
    print(f"{past:8} {hooks.generate(model, prompt, push, setting.sizes.new_tokens, past=past)}")

# %% [markdown]
# ## Task 1.3: find a coefficient that works (0.5 points)
#
# **What you learn**: that one good example proves nothing. **What to expect**: the share of positive texts rises with
# the coefficient. So does the perplexity, until the text falls apart.
#
# Three completions can be luck. So use many prompts and several coefficients. For each coefficient measure two things:
#
# - **Sentiment**, measured in two ways, because a model that judges its own text may flatter itself. *VADER* is a word
#   list with rules. It reads only the new text and scores it from −1 to 1; above 0.05 counts as positive. The *judge*
#   is smollm2. It reads the prompt and the new text together. Its score combines two signals: its answer to a question
#   about the sentiment, and a linear probe on its residual stream. Above 0 counts as positive, and praise typically
#   scores about 1.
# - **Fluency**: the perplexity of the new text *under the unsteered model*. It is high if the model finds the text
#   unlikely, as it does with broken text. Divided by the perplexity of the unsteered text, it is the *perplexity
#   ratio*.
#
# How far can you trust the two sentiment scores? Below, the judge and VADER rate four sentences that people would agree
# about. A score that fails at "not" reads words, not sentences. Expect the judge to be wrong once. (On sentences from
# real film reviews the judge is right 84 times in a hundred, VADER 63 times.)

# %%
examples = [
    "It was a wonderful evening.",
    "It was a terrible evening.",
    "The food was not good at all.",
    "I can't say anything bad about it.",
]
for text, judged, tone in zip(examples, sentiment.judge(examples), sentiment.vader(examples), strict=True):
    print(f"judge {judged:+5.1f}   VADER {tone:+5.2f}   {text}")

# %% [markdown]
# Now the experiment: every trial prompt at every coefficient, with all layers steered. Expect less than a minute on two
# cores. Change coefficients and layers and run it again as often as you like. The dict `kept` stores finished results,
# so only new settings are computed, and an interrupted cell resumes where it stopped.

# %%
kept = {}  # finished results; running this cell again discards them

# %%
coefficients = [-0.3, -0.2, -0.15, -0.1, 0.1, 0.15, 0.2, 0.3]
layers = list(range(n_layers))
trial_prompts = data.TRIAL_PROMPTS[: setting.sizes.prompts]
new_tokens = setting.sizes.new_tokens

# %%
curve = steering.sweep_coefficients(
    model, make_steering_hooks, steering_vectors, trial_prompts, coefficients, layers, new_tokens, kept=kept
)

# %% [markdown]
# The band around the green line is a 95% bootstrap interval. It shows how far the share could be off with so few
# prompts: draw the prompts again with replacement, 2,000 times, and the middle 95% of the shares form the band. It may
# be wider than you expected.

# %%
plots.coefficient_curve(curve)

# %% [markdown]
# **Your choice.** Take the coefficient c with the largest shift among those that stay fluent. The *shift* is the share
# of positive texts at +c minus the share at −c. *Fluent* means a perplexity ratio of at most 1.6. `curve` gives you the
# numbers:
#
# - `curve.shift(c)` is the shift;
# - `curve.perplexity_ratio(c)` is the perplexity ratio at +c or at −c, whichever is higher;
# - `curve.wrong_way(c)` is the share of prompts whose text is less positive at +c than at −c.
#
# Store c, a positive number, in `best_coefficient` and the layers in `best_layers`. The check requires a shift above
# 0.5 and allows a perplexity ratio of up to 2. The grader doesn't use your `curve`: it steers prompts of its own, which
# are in no notebook, with your vectors, coefficient and layers. If the reference solution does worse there, the bounds
# are looser: 60% of its shift and 1.25 times its perplexity ratio are enough.

# %% task="1.3" points=0.5
best_layers = layers
### BEGIN SOLUTION
positive_coefficients = [c for c in coefficients if c > 0]
fluent_coefficients = [c for c in positive_coefficients if curve.perplexity_ratio(c) <= 1.6] or [
    min(positive_coefficients)
]
best_coefficient = max(fluent_coefficients, key=curve.shift)
### END SOLUTION
low, high = curve.shift_interval(best_coefficient)
print(f"c = {best_coefficient}: shift {curve.shift(best_coefficient):.2f} (95% interval {low:.2f} to {high:.2f})")
print(f"perplexity ratio {curve.perplexity_ratio(best_coefficient):.2f}")
print(f"less positive at +c than at −c: {curve.wrong_way(best_coefficient):.0%} of the prompts")

# %% [markdown]
# ### Does it hold on other prompts, and against controls?
#
# The best of several coefficients is partly the luckiest. So report your choice on prompts that played no part in it:
# the *held-out prompts*. Two controls join in. In each layer they have the same norm as your vectors:
#
# - a *random direction*;
# - *shuffled labels*: your function and the same sentences, but two positive and two negative sentences on each side.
#
# If a control did what your vectors do, the model would react to any push of this size, and your vectors would prove
# nothing. The second control may drift a little, because four sentences on each side are few. Expect a minute.

# %%
prompts = data.HELD_OUT_PROMPTS[: setting.sizes.held_out]
tested_vectors = {
    "steering": steering_vectors,
    "random direction": steering.random_like(steering_vectors),
    "shuffled labels": steering.shuffled_labels(
        collect_average_residuals, model, positive_sentences, negative_sentences
    ),
}
tested = {name: steering.Setting(v, best_coefficient, tuple(best_layers)) for name, v in tested_vectors.items()}
held_out = steering.compare(model, make_steering_hooks, tested, prompts, new_tokens, kept=kept)

# %% task="1.3" role="check"
checks.task_1_3(model, curve, held_out["random direction"][0], best_coefficient, best_layers)

# %% [markdown]
# In the picture, squares are the held-out prompts, with their 95% intervals. Does your coefficient still keep the rule,
# a perplexity ratio of at most 1.6? If not, you have seen what it costs to choose the best of several coefficients on
# the trial prompts. The table says it in numbers. *Diversity* is distinct-2: the number of distinct word bigrams
# divided by the number of all bigrams, at +c or at −c, whichever is lower. It is low if texts repeat each other.

# %%
others = {name: measured for name, (measured, _) in held_out.items()}
plots.coefficient_curve(curve, held_out=others)

# %%
print(steering.table({"steering, trial prompts": (curve, best_coefficient)} | held_out))

# %% [markdown]
# Read what the model wrote. Green is positive and red is negative by VADER. Do you agree with VADER?

# %%
shown = {f"c = {c:+g}": others["steering"].at(c).completions for c in (-best_coefficient, 0.0, best_coefficient)}
tones = {title: sentiment.vader([c.text or " " for c in rows]) for title, rows in shown.items()}
plots.completions(shown, tones, count=6)

# %% [markdown]
# ## Why not just ask?
#
# There is a simpler way to get cheerful text: ask for it. So put the very sentences from which you computed the vectors
# in front of the prompt, and let steering compete. (By the rule for your coefficient, this was the best of twelve
# wordings on 12 trial prompts. Notebook 3 tries them all.) The last row of the table combines asking with steering at
# half of your coefficient.
#
# The perplexity is that of the continuation given the *original* prompt under the plain model, as for steered text. So
# words in front don't make the text look more fluent. Expect a minute.

# %%
plain = others["steering"].at(0).completions
in_front = [steering.in_front("contrast sentences", positive_sentences, negative_sentences)]
asked = steering.ask(model, in_front, plain, new_tokens)
half = best_coefficient / 2
push_hooks = [make_steering_hooks(steering_vectors, sign * half, best_layers) for sign in (-1, 1)]
both = steering.ask(model, in_front, plain, new_tokens, push_hooks, progress="ask and steer")

# %%
rivals = {
    "contrast sentences in front": (asked["contrast sentences"], steering.ASKED),
    f"the same, and steering ±{half:g}": (both["contrast sentences"], steering.ASKED),
}
print(steering.table({"steering": held_out["steering"]} | rivals))

# %% [markdown]
# Who wins? Compare on the same prompts: a positive difference means that asking shifts more than steering. If the
# interval contains 0, these prompts can't tell them apart. Look at perplexity and diversity, too.

# %%
for name, rival in rivals.items():
    difference, (low, high) = steering.difference_interval(rival, held_out["steering"])
    print(f"{name:45} {difference:+.2f} (95% interval {low:+.2f} to {high:+.2f})")

# %% [markdown]
# ## A playground
#
# Now try steering by hand. Expect the first words within a second.
#
# - Fewer layers need a larger coefficient.
# - If you untick "greedy", words are drawn at random. All three columns use the same random numbers, set by the seed.
# - In bf16, a text may differ from the one above at the same coefficient. Rounding depends on the batch size, and it
#   can decide between two tokens that are almost equally likely.

# %%
steering.Playground(model, make_steering_hooks, steering_vectors, prompt, best_coefficient).show()

# %% [markdown]
# ## Comparison with attention heads
#
# In the seminar you worked with single attention heads. Is it better to steer the residual stream? For each head, take
# the vector that its own mean difference adds to the residual stream. Scale it to 0.3 times the median norm of the
# residual stream at the head's layer. (For a head, c in the table is the norm of this scaled vector.) The head is
# chosen on trial prompts and measured on the held-out ones.
#
# Expect a late head to be the best of the heads. Its push has many times the norm of what its mean difference adds
# without scaling.

# %%
few_prompts, few_tokens = data.TRIAL_PROMPTS[: setting.sizes.trial], min(new_tokens, 12)
head_vectors = steering.head_differences(model, positive_sentences, negative_sentences)
candidates = steering.largest_heads(model, head_vectors, setting.sizes.heads)
print("candidates (layer, head):", candidates)

# %%
push_norms = {head: 0.3 * medians[head[0]].item() for head in candidates}
ranking = steering.try_heads(model, head_vectors, push_norms, few_prompts, few_tokens)
best_head = max(ranking, key=lambda head: ranking[head].shift(push_norms[head]))
trial_shift = ranking[best_head].shift(push_norms[best_head])
print(f"best head {best_head}: shift {trial_shift:+.2f} on {len(few_prompts)} trial prompts")
written = steering.written_norms(model, head_vectors)[best_head].item()
print(f"norm in the residual stream: its mean difference {written:.1f}, the push {push_norms[best_head]:.1f}")

# %%
push_norm = push_norms[best_head]
one_head = steering.try_heads(model, head_vectors, {best_head: push_norm}, prompts, new_tokens)[best_head]
compared = held_out | {f"best head {best_head}": (one_head, push_norm)} | rivals
print(steering.table(compared))

# %% [markdown]
# All methods on the held-out prompts, with 95% intervals:

# %%
shifts = {name: measured.shift(c) for name, (measured, c) in compared.items()}
intervals = {name: measured.shift_interval(c) for name, (measured, c) in compared.items()}
plots.bars(shifts, "positive share at +c minus at −c", "shift of the sentiment", baseline=0, intervals=intervals)

# %% [markdown]
# The next cell saves the numbers above for `make run`. You don't need to change it.

# %%
report(
    "1.3",
    **{
        "held out": {name: steering.figures(measured, c) for name, (measured, c) in compared.items()},
        "asking minus steering": {
            name: steering.difference_interval(rival, held_out["steering"]) for name, rival in rivals.items()
        },
        "coefficient chosen on": f"{len(trial_prompts)} trial prompts; measured on {len(prompts)} held-out prompts",
        "head chosen on": f"{len(few_prompts)} of the trial prompts",
        "best head": list(best_head),
    },
)

# %% [markdown]
# ## Save your vectors
#
# One file holds the vectors, the model's name and the hook points. If the file name ends in `.gguf`, `steering.save`
# writes a control vector that llama.cpp and repeng can read.

# %%
saved = steering.SteeringVectors(steering_vectors.cpu(), setting.model)
path = steering.save(saved, "steering_vectors.safetensors")
print(path, torch.equal(steering.load(path).values, saved.values))

# %% [markdown]
# ## Task 1.4: what steering does, and where it breaks (0.5 points, written)
#
# Answer the three questions below in six to twelve sentences, with numbers from your own figures.

# %% [markdown] task="1.4" points=0.5 role="written"
# 1. What happens to sentiment and fluency as the coefficient grows? At which coefficient does the text break? Quote one
#    completion that convinced you and one that didn't.
# 2. What does the random direction tell you? What would you have had to conclude if it had changed the share, too?
# 3. How does steering the residual stream compare with its two rivals: the contrast sentences in front of the prompt,
#    and the best attention head? Give shift, perplexity and diversity, and a reason for one of the two.
#
# <!-- BEGIN SOLUTION -->
# *(Numbers depend on the run; these are from smollm2 in bf16.)*
#
# 1. By VADER, the share of positive completions on the trial prompts is 0.45 without steering, 0.83 at +0.1 and 0.85 at
#    +0.2, and it falls back to 0.73 at +0.3. On the negative side it is 0.13 at −0.1 and 0.08 at −0.2 and −0.3. The
#    judge's share keeps rising, to 1.00 at +0.3. So part of the fall comes from VADER: broken text contains fewer words
#    from its list. The perplexity ratio is 1.1 at +0.1 and 1.2 at −0.1, 1.5 at ±0.2, 2.3 at +0.3 and 2.6 at −0.3, where
#    the text breaks. I chose 0.2. On the held-out prompts its shift is 0.76 (0.67 to 0.84) at a ratio of 1.54, so the
#    rule still holds. One completion at +0.2 is convincing: "The lecture about planets was a great way to introduce the
#    topic of the Earth's unique and diverse ecosystem" keeps the subject. One at −0.2 isn't: "We stayed at the campsite
#    and I am not afraid of death. I am not afraid of death." repeats itself, and VADER calls it positive.
# 2. The random direction of the same norm has a shift of 0.00, with an interval from −0.11 to +0.10, and the perplexity
#    hardly rises (×1.03). The shuffled labels have a shift of +0.07 (−0.05 to +0.19) at ×1.59: they disturb the text as
#    much as my vectors do, and yet don't move the mood. So the direction of the push causes the shift, not its size. If
#    the controls had changed the share as well, I could only have said that the model reacts to any disturbance.
# 3. Asking wins in shift: the contrast sentences in front of the prompt shift by 0.90 at ×1.43, which is 0.14 more than
#    steering on the same prompts (interval +0.05 to +0.25). Both together reach 0.96. But asking has a diversity of
#    0.17 where steering has 0.50: the model copies from the sentences in front of it. The best head, (25, 6), was
#    chosen on trial prompts. It shifts by 0.69 (0.61 to 0.78) at ×1.25 and with a diversity of 0.56, nearly as much as
#    all layers for less perplexity. So steering a head isn't hopeless: a late head whose output points along the mood
#    works, too. It needs a push some twenty times as large as its own mean difference (norm 137 instead of 7.5), which
#    a head never writes by itself.
# <!-- END SOLUTION -->

# %% [markdown] task="1.4" role="rubric"
# **Rubric (0.5 points)**
#
# - 0.2: coefficient and perplexity. Says that perplexity grows with |c| while the shift grows and then levels off.
#   Names a coefficient at which the text breaks, and quotes two completions from the student's own run. 0.1 without
#   numbers or without quotes.
# - 0.15: control. Says what a random direction of equal norm rules out (the size of the push as the cause), and what
#   would follow if it had an effect.
# - 0.15: rivals. Compares with numbers from the student's run, says who wins in shift and who in diversity, and gives a
#   reason: sentences in front are read by every layer and are what the model was trained on, but it also copies them; a
#   head writes a low-dimensional part of one layer's update, and its push is more than it ever writes by itself. 0.05
#   for the numbers alone.
# - Answers may be in any language. Don't deduct points for a finding that contradicts the model answer if the student's
#   own figures show it.
