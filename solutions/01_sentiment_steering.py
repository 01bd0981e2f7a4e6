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
# A language model carries what it knows in its *residual stream*: one vector per token, handed from block to
# block, which every block reads and adds to. If "this text is in a good mood" were a direction in that space,
# you could add a little of it while the model writes, and the text would brighten. You will find such a
# direction with ten sentences, add it, and measure what happens, as a scientist would: how often, at what cost,
# against which control. (The course reworks an earlier homework on GPT-2 and WikiText-2; *the original* below means that.)
#
# | task | points | difficulty | minutes |
# |---|---|---|---|
# | 1.1 average residuals | 1 | easy | 10 |
# | 1.2 steering hook and steered generation | 1 | medium | 15 |
# | 1.3 find a coefficient that works | 0.5 | easy | 10 |
# | 1.4 what steering does and where it breaks | 0.5 | written | 10 |
#
# You write code only where a cell says `NotDone`. Each coding task ends with a check that tells you what is wrong.

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
# The model is loaded once; the first time on a machine this takes about half a minute. Expect the number of
# layers and the width of the residual stream: `smollm2` has 30 layers of width 576, GPT-2 small 12 of 768.

# %%
model = load_model(setting.model, dtype=setting.dtype)
n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
print(f"{n_layers} layers, d_model {d_model}")

# %% [markdown]
# What does it write when nobody steers it?

# %%
prompt = data.PROMPTS[0]
print(hooks.generate(model, prompt))

# %% [markdown]
# ## A look at the residual stream
#
# `run_with_cache` runs the model and keeps what flowed through the points you name. The residual stream before
# block 5 is called `blocks.5.hook_resid_pre`. Expect `[batch, tokens, d_model]`, one token more than the text
# has: in front stands a begin-of-sequence token (BOS), which `to_tokens` adds.

# %%
tokens = model.to_tokens("What a delightful surprise!")
_, cache = model.run_with_cache(tokens, names_filter=["blocks.5.hook_resid_pre"])
residual = cache["blocks.5.hook_resid_pre"]
print(model.to_str_tokens(tokens))
print(list(residual.shape))

# %% [markdown]
# How long is each token's vector? Look at the first number before you go on.

# %%
for token, norm in zip(model.to_str_tokens(tokens), residual[0].float().norm(dim=-1), strict=True):
    print(f"{token!r:16} {norm:10.1f}")

# %% [markdown]
# In a trained model BOS is usually an *attention sink*: later tokens send it the attention that they have no other use
# for. Such tokens mostly have a residual stream far longer than all the others, as here. A mean over tokens with BOS in
# it is mostly BOS, divided by the sentence's length. That is why you will leave it out.

# %% [markdown]
# ## Task 1.1: average residuals (1 point)
#
# **What you learn**: to read activations of every layer. **What to expect**: a tensor `[n_layers, d_model]`.
#
# For every layer L, take `blocks.L.hook_resid_pre` of each sentence, average it **over the sentence's tokens
# without BOS**, then average over the sentences, so that a long sentence weighs as much as a short one.
#
# The check calls your function with a small model of its own, so ask `model.cfg` for the number of layers: the
# variable `n_layers` above belongs to the large one.
#
# <details><summary>Hint</summary>
#
# `names_filter` also takes a function: `lambda name: name.endswith("hook_resid_pre")` keeps all layers of one run.
# The cache is indexed by the full name of each hook point, and `[0, 1:]` is the only sentence of the batch from
# its first word on. Better add in fp32: the model may run in bf16, and sums in it lose digits.
#
# </details>


# %% task="1.1" points=1
def collect_average_residuals(model, sentences: list[str]) -> Float[Tensor, "n_layers d_model"]:
    """Per layer the mean residual over tokens (BOS left out), then over sentences."""
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
# Five sentences in a good mood and five in a bad one, alike in much else, though not in all: look at the exclamation
# marks, and at the days. What is left in the difference of their means is, we hope, mostly the mood. You may experiment
# with sentences of your own, as many happy as sad ones: everything below uses these two lists.

# %%
positive_sentences, negative_sentences = list(data.POSITIVE), list(data.NEGATIVE)
for good, bad in zip(positive_sentences, negative_sentences, strict=True):
    print(f"{good:50} | {bad}")

# %%
positive_averages = collect_average_residuals(model, positive_sentences)
negative_averages = collect_average_residuals(model, negative_sentences)
steering_vectors = positive_averages - negative_averages

# %% [markdown]
# How big are they? A steering vector means nothing by its norm alone, only beside what it is added to. The right
# plot shows ‖c·v‖ over the median norm of the residual stream for c = 0.3, measured on the ten sentences. Expect a
# fraction well below 1: the push is small, but it is given at every layer, and the pushes add up.

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
# **What you learn**: to change a model's thoughts while it runs. **What to expect**: three different endings from the
# same first words. At ±0.3 the text may already stumble; 1.3 finds a better dose.
#
# 1. `make_steering_hooks` returns one pair `(hook point, function)` per layer. The function gets the residual
#    stream `[batch, tokens, d_model]` and adds `coefficient * vectors[layer]` at the **last** position only.
#    `layers=None` means all of them, `range(len(vectors))`: here too the check's model is smaller than yours.
# 2. `generate_with_steering` continues a prompt greedily: run the whole text with the hooks on, take the likeliest
#    next token, append it, repeat. Stop at `model.tokenizer.eos_token_id`, which
#    is no text and needn't be kept. Return prompt and continuation, no BOS.
#
# <details><summary>Hint for the hooks</summary>
#
# A function defined in a loop sees the loop's variable as it is *when the function runs*, which is its last value.
# Bind the layer's vector when the function is made: `def hook(resid, hook, vector=vectors[layer]): ...`.
#
# </details>
# <details><summary>Hint for the generation</summary>
#
# `model.run_with_hooks(tokens, fwd_hooks=...)` returns logits `[batch, tokens, vocabulary]` and takes its hooks off
# again. `model.to_string(tokens[0, 1:])` turns tokens into text.
#
# </details>


# %% task="1.2" points=1
def make_steering_hooks(
    vectors: Float[Tensor, "n_layers d_model"], coefficient: float, layers: list[int] | None = None
) -> list[tuple]:
    """One (hook point, function) pair per layer; all layers for ``None``."""
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
    """The prompt and its greedy continuation under steering."""
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
# The original homework's three completions. Expect a few seconds for each: the loop reads the whole text again
# for every token.

# %%
for name, coefficient in (("neutral", 0.0), ("positive", 0.3), ("negative", -0.3)):
    text = generate_with_steering(model, prompt, steering_vectors, coefficient, max_new_tokens=setting.sizes.new_tokens)
    print(f"{name:9} {text}")

# %% [markdown]
# ### Faster, and the same text
#
# Your loop edits only the last position and then forgets the edit: next time round, that token is read clean. A KV
# cache would remember it, so an ordinary cached generation keeps every edit it ever made and writes a *different*
# text. `hooks.generate` can do both: `past="clean"` reproduces your loop with a cache (in bf16 up to near ties),
# `past="steered"` is what a plain cache gives. Expect the steered past to be the stronger dose: each new token also
# reads the pushed keys and values of all the tokens before it.

# %%
push = make_steering_hooks(steering_vectors, 0.2)
for past in ("clean", "steered"):
    print(f"{past:8} {hooks.generate(model, prompt, push, setting.sizes.new_tokens, past=past)}")

# %% [markdown]
# ## Task 1.3: find a coefficient that works (0.5 points)
#
# **What you learn**: that one good example proves nothing. **What to expect**: the share of happy endings rises
# with the coefficient, and so does the price, until the text falls apart.
#
# Three sentences can be luck. So: many prompts, several doses, two numbers for each, and a control beside them.
#
# - **Sentiment**: of the new text by VADER, a word list with rules that can't be talked into anything (from −1 to 1;
#   positive is above 0.05); and of prompt and new text together by a judge: what smollm2 answers when it is asked, and
#   what a linear probe reads off its residual stream (positive is above 0; 1 is what praise usually gets). Since a model
#   that judges its own text may flatter itself, both stand side by side.
# - **Fluency**: the perplexity of the new text *under the unsteered model*. A text that the model itself finds odd
#   is broken text.
# - **A control**, at one dose: a random direction of the same norm. If it did the same, your vector would mean nothing.
#
# How far can the two be trusted? Here they read sentences that people would not argue about. A judge that fails
# at "not" reads words, not sentences. Expect the judge to be wrong once. (On sentences of real film reviews it is right 84
# times in a hundred, VADER 63 times.)

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
# The experiment: every prompt at every dose, all layers steered. Expect less than a minute on two cores. Change doses
# and layers and run it again as often as you like: `kept` holds what is finished, so an interrupted cell goes on where
# it was, and only what is new is computed.

# %%
kept = {}  # run this once

# %%
coefficients = [-0.3, -0.2, -0.15, -0.1, 0.1, 0.15, 0.2, 0.3]
layers = list(range(n_layers))
prompts = data.PROMPTS[: setting.sizes.prompts]
new_tokens = setting.sizes.new_tokens

# %%
curve = steering.sweep_coefficients(
    model, make_steering_hooks, steering_vectors, prompts, coefficients, layers, new_tokens, kept=kept
)

# %% [markdown]
# Two controls, as long as your vectors, layer by layer. One is a random direction. The other is made of the same
# sentences, by your own function, with the labels shuffled: two happy and two sad ones against two happy and two sad
# ones. Expect no line that rises as yours does: if one did, the model would react to any push, and your vector would prove
# nothing. Four sentences of each kind are few, so the second one may drift a little.

# %%
control_vectors = {
    "random direction": steering.random_like(steering_vectors),
    "shuffled labels": steering.shuffled_labels(collect_average_residuals, model, positive_sentences, negative_sentences),
}

# %%
control_settings = {name: steering.Setting(vectors, 0.2, tuple(layers)) for name, vectors in control_vectors.items()}
controls = steering.compare(model, make_steering_hooks, control_settings, prompts, new_tokens, kept=kept)
control, _ = controls["random direction"]

# %% [markdown]
# The band around the green line says how far the share could be off with so many prompts: draw the prompts again, with
# replacement, 2,000 times (the bootstrap); 95% of the shares fall into the band. Expect it to be wider than you would
# have guessed.

# %%
plots.coefficient_curve(curve, {f"positive, {name}": found for name, (found, _) in controls.items()})

# %% [markdown]
# **Your choice.** Take the coefficient c with the largest shift (share of positive texts at +c minus that at −c)
# among those that stay fluent: perplexity at most 1.6 times the unsteered text's. `curve.shift(c)` and
# `curve.fluency(c)` give both numbers; for the fluency it is the worse one of +c and −c. `curve.wrong_way(c)` is the
# share of prompts whose text is less positive at +c than at −c.
#
# Leave c, which is above 0, in `best_coefficient` and the layers in `best_layers`. The check asks for a shift above 0.5
# and forgives a perplexity of up to 2 times the unsteered text's. The grader doesn't take `curve`'s word for it: it steers
# the same prompts with your vectors, coefficient and layers. On a model on which our own solution moves less, 60% of its
# shift is enough, and 1.25 times its price.

# %% task="1.3" points=0.5
best_layers = layers
### BEGIN SOLUTION
doses = [c for c in coefficients if c > 0]
fluent_doses = [c for c in doses if curve.fluency(c) <= 1.6] or [min(doses)]
best_coefficient = max(fluent_doses, key=curve.shift)
### END SOLUTION
low, high = curve.shift_interval(best_coefficient)
print(f"c = {best_coefficient}: shift {curve.shift(best_coefficient):.2f} (95% interval {low:.2f} to {high:.2f})")
print(f"perplexity × {curve.fluency(best_coefficient):.2f}; wrong way: {curve.wrong_way(best_coefficient):.0%} of the prompts")

# %% task="1.3" role="check"
checks.task_1_3(model, curve, control, best_coefficient, best_layers)

# %% [markdown]
# Read what it wrote: green is positive and red negative by VADER. Do you agree with VADER?

# %%
shown = {
    f"c = {c:+g}": curve.at(c).completions for c in (-best_coefficient, 0.0, best_coefficient)
}
tones = {title: sentiment.vader([c.text or " " for c in rows]) for title, rows in shown.items()}
plots.completions(shown, tones, count=6)

# %% [markdown]
# ## A playground
#
# Try it by hand. In bf16 a text may differ from the one above at the same dose: a batch of another size is rounded
# otherwise, and between two words that are almost equally likely that decides. Expect words within a second. Fewer
# layers need a larger coefficient. With "likeliest words" unticked the words are drawn at random, and the same seed draws
# with the same random numbers in all three columns.

# %%
steering.Playground(model, make_steering_hooks, steering_vectors, prompt, best_coefficient).show()

# %% [markdown]
# ## Which layers?
#
# Steering every layer is a blunt tool: each push is added to all the earlier ones. So, one layer at a time, and from a
# layer to the last. To compare them, all fields of a row push equally hard: the *size* of a push is ‖c·v‖ over the
# median norm of the residual stream, added up over the layers. Settings are tried on prompts of their own, since the
# best of many is always a little lucky. Expect half a minute, green fields in the later half of the single layers, and
# perplexity (the second number, with ×) rising with the size.

# %%
tried = [round(i * (n_layers - 1) / (setting.sizes.layers - 1)) for i in range(setting.sizes.layers)]
trial_prompts, trial_tokens = data.TRIAL_PROMPTS[: setting.sizes.trial], min(new_tokens, 12)
layer_sets = {
    "one layer": ([[layer] for layer in tried], [0.3, 0.5]),
    "from this layer on": ([list(range(layer, n_layers)) for layer in tried[1::2]], [0.5]),
}

# %%
maps = {
    name: steering.layer_map(
        model, make_steering_hooks, steering_vectors, medians, trial_prompts, sets, sizes, trial_tokens, kept=kept
    )
    for name, (sets, sizes) in layer_sets.items()
}

# %%
plots.layer_maps(maps)

# %% [markdown]
# Of each map the largest shift among fields whose perplexity is at most 1.5 times the unsteered text's (greener ones may
# have been dearer), now on the prompts that nothing was chosen on. With them a third way: three layers, spread over the
# later two thirds, with a push of 0.55. It was among the best three of 84 settings on 32 trial prompts of smollm2, and the
# best of the three on these 40, so it is flattered here: on 40 fresh prompts it only drew level with all layers. The rows
# differ in size, so read shift and perplexity together, and look at the intervals before you believe a ranking.
# *Diversity* is the number of
# different pairs of neighbouring words over all pairs, at the worse of ±c: low where texts repeat each other.

# %%
every_layer = tuple(range(n_layers))
chosen = {"all layers": steering.Setting(steering_vectors, best_coefficient, every_layer)}
for name, found in maps.items():
    some_layers, c = found.best(max_fluency=1.5)
    chosen[f"{name}: {some_layers[0]}"] = steering.Setting(steering_vectors, c, some_layers)
three = tuple(round(depth * n_layers) for depth in (0.4, 0.67, 0.9))
c = steering.matched_coefficient(steering_vectors, medians, three, 0.55)
chosen[f"layers {three}"] = steering.Setting(steering_vectors, c, three)

# %%
for name, found in chosen.items():
    push_size = steering.relative_norms(found.vectors, medians, found.coefficient)[list(found.layers)].sum().item()
    print(f"{name:26} size {push_size:.2f}")

# %%
by_layers = steering.compare(model, make_steering_hooks, chosen, prompts, new_tokens, kept=kept)
print(steering.table(by_layers))

# %% [markdown]
# ## Which vectors, and which positions?
#
# The mean difference is one of several recipes. *With BOS*: the mean is taken over all tokens. BOS cancels only if
# all sentences are equally long; these nearly are, so expect little damage here. *Last token*: only the end of each
# sentence. *Principal direction*: the direction in which the five pairs differ most. All push all layers as hard as
# your best coefficient did.

# %%
other_vectors = {
    "with BOS": steering.with_bos(collect_average_residuals, model, positive_sentences, negative_sentences),
    "last token": steering.last_token(model, positive_sentences, negative_sentences),
    "principal direction": steering.principal(collect_average_residuals, model, positive_sentences, negative_sentences),
}

# %%
size = steering.relative_norms(steering_vectors, medians, best_coefficient).sum().item()
recipes = {"mean difference": chosen["all layers"]} | {
    name: steering.Setting(vectors, steering.matched_coefficient(vectors, medians, every_layer, size), every_layer)
    for name, vectors in other_vectors.items()
}
by_vectors = steering.compare(model, make_steering_hooks, recipes, prompts, new_tokens, kept=kept)
print(steering.table(by_vectors))

# %% [markdown]
# And your vectors at other positions: with a steered past, where earlier pushes stay, and at every position, the
# prompt's included. A third of the prompts is enough here. Expect a higher price for the same coefficient; whether it
# buys more shift is for the intervals to say.

# %%
all_layers = {"last position, clean past": chosen["all layers"]}
some_prompts = prompts[: len(prompts) // 3]
by_positions = steering.compare(model, make_steering_hooks, all_layers, some_prompts, new_tokens)


# %%
def make_hooks_everywhere(vectors, coefficient, layers=None):
    return hooks.everywhere(make_steering_hooks(vectors, coefficient, layers))


# %%
for name, make_hooks in (("last position, steered past", make_steering_hooks), ("every position", make_hooks_everywhere)):
    by_positions |= steering.compare(model, make_hooks, {name: chosen["all layers"]}, some_prompts, new_tokens, "steered")
print(steering.table(by_positions))

# %% [markdown]
# ## Against attention heads
#
# In the seminar you tinkered with single attention heads. Is steering the residual stream better? A fair fight with *one
# layer at size 0.3*: a head gets its own mean-difference vector, scaled so that what it adds to the residual stream is as
# long as that push in its layer (so for a head, c in the table is the norm of the push). Heads, too, are chosen on the
# trial prompts and measured on the others. Expect a late head, a shift near one layer's, and a push many times as long as
# what the head writes by itself.

# %%
head_vectors = steering.head_differences(model, positive_sentences, negative_sentences)
candidates = steering.largest_heads(model, head_vectors, setting.sizes.heads)
print("candidates (layer, head):", candidates)

# %%
push_norms = {head: 0.3 * medians[head[0]].item() for head in candidates}
ranking = steering.try_heads(model, head_vectors, push_norms, trial_prompts, trial_tokens)
best_head = max(ranking, key=lambda head: ranking[head].shift(push_norms[head]))
print(f"best head {best_head} on {len(trial_prompts)} prompts: shift {ranking[best_head].shift(push_norms[best_head]):+.2f}")
written = steering.written_norms(model, head_vectors)[best_head].item()
print(f"its mean difference adds a vector of norm {written:.1f} to the residual stream; the push {push_norms[best_head]:.1f}")

# %%
push_norm = push_norms[best_head]
one_head = steering.try_heads(model, head_vectors, {best_head: push_norm}, prompts, new_tokens)[best_head]
by_layers[f"best head {best_head}"] = (one_head, push_norm)
by_layers |= controls
shifts = {name: found.shift(c) for name, (found, c) in by_layers.items()}
plots.bars(shifts, "positive share at +c minus at −c", "how far each moves the sentiment", baseline=0)

# %%
print(steering.table(by_layers))

# %% [markdown]
# The next cell leaves the figures above in the notebook, for `make run`. Nothing to do.

# %%
report(
    "1.3",
    **{
        "settings": {
            name: steering.figures(found, c) for name, (found, c) in (by_layers | by_vectors | by_positions).items()
        },
        "layers and heads chosen on": f"{len(trial_prompts)} trial prompts; measured on {len(prompts)} others",
        "shuffled labels": [point.figures() for point in controls["shuffled labels"][0].points],
        "best head": list(best_head),
    },
)

# %% [markdown]
# ## Keep your vectors
#
# One file with the vectors, the model and the hook point they belong to. A name that ends in `.gguf` writes a control
# vector that llama.cpp and repeng read.

# %%
saved = steering.SteeringVectors(steering_vectors.cpu(), setting.model)
path = steering.save(saved, "steering_vectors.safetensors")
print(path, torch.equal(steering.load(path).values, saved.values))

# %% [markdown]
# ## Task 1.4: what steering does, and where it breaks (0.5 points, written)
#
# Answer in six to twelve sentences, with numbers from your own figures. The cell below says what is asked.

# %% [markdown] task="1.4" points=0.5 role="written"
# 1. What happens to sentiment and to fluency as the coefficient grows, and from where on is the text broken? Quote
#    one completion that convinced you and one that didn't.
# 2. What does the random direction tell you, and what would you have had to conclude if it had moved the share too?
# 3. How does steering the residual stream compare with steering the best attention head, and why?
#
# <!-- BEGIN SOLUTION -->
# *(Numbers depend on the run; these are of smollm2 in bf16.)*
#
# 1. By VADER the share of positive completions is 0.45 without a push, 0.83 at +0.1 and 0.85 at +0.2, and falls back to
#    0.73 at +0.3; on the other side it is 0.13 at −0.1 and 0.08 at −0.2 and −0.3. The judge goes on rising, to 1.00 at
#    +0.3, so part of the fall is VADER's: broken text holds fewer words of its list. Perplexity is 1.1 and 1.2 times
#    the unsteered text's at ±0.1, 1.5 at ±0.2, and 2.3 and 2.6 at +0.3 and −0.3. There the text is broken: "with my family. It was
#    a special with my family. I was with my family,". Convincing, at +0.2: "The weather this morning is perfect for a warm and
#    cozy day" keeps the subject and changes the mood, where without a push it is "a mix of the usual". Not convincing, at −0.2:
#    "The weather this morning is a nightmare. The weather is a nightmare. The weather is a nightmare." repeats itself, and
#    VADER calls it neutral.
# 2. The random direction of the same norm moves the share by +0.03 between its two ends, with an interval from −0.12 to
#    +0.17: nothing that 40 prompts can tell from zero, at hardly a price (×1.02). The shuffled labels move it by +0.22
#    (0.00 to +0.43), which is at the edge of what chance allows; four sentences of each kind needn't cancel, so I wouldn't call it
#    zero. Both are far from +0.78. So it isn't the size of the push that does it but where it points. Had the controls moved
#    the share as well, we could only have said that the model reacts to being disturbed.
# 3. The best head, (27, 1), chosen on prompts of its own and pushed as hard as one layer, moves the share by 0.52 at ×1.23;
#    one layer of the residual stream does about as much (0.55 at ×1.28), all layers 0.78 and three layers 0.90, both at
#    ×1.5, but with a push of 0.81 and 0.55 where the one layer and the head have 0.30. A head writes into the same residual
#    stream, but only what its own small value space can express, at one layer. So the claim that heads are hopeless isn't what
#    we measured: a late head whose output points along the mood works too, once it is pushed some twenty times as hard as its
#    own mean difference (a norm of 164, where that writes 7.9). What the residual stream spares us is the search for it.
# <!-- END SOLUTION -->

# %% [markdown] task="1.4" role="rubric"
# **Rubric (0.5 points)**
#
# - 0.2: dose and price. Says that perplexity grows with |c| while the shift grows and then levels off, names a dose at which text breaks, and
#   quotes two completions of the student's own run. 0.1 without numbers or without quotes.
# - 0.15: control. Says what a random direction of equal norm rules out (the size of the push as the cause), and
#   what would follow if it had an effect.
# - 0.15: heads. Compares with numbers of the student's run and gives a reason (a head writes a low-dimensional part of
#   one layer's update; equal norm is more than a head ever writes by itself; the residual stream needs no search for
#   a head). 0.05 for the numbers alone.
# - Any language. Don't take points for a finding that contradicts the model answer when the student's own figures
#   show it.
