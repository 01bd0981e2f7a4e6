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
# # Steering further
#
# **Not graded: about an hour for the curious.**
#
# Notebook 1 steers all layers, at the last position, with the difference of two means. Each of these three is a choice.
# Here you try the others: fewer layers, other recipes for the vectors, and other positions. You need your functions
# from notebook 1.

# %%
import torch

from helpers import data, harvest, hooks, load_model, plots, steering
from helpers.report import report
from helpers.settings import settings

setting = settings()
print(setting)

# %%
model = load_model(setting.model, dtype=setting.dtype)
n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
print(f"{n_layers} layers, d_model {d_model}")

# %% [markdown]
# Paste `collect_average_residuals` and `make_steering_hooks` from notebook 1 into the next cell, and set
# `best_coefficient` to the one that you chose there.

# %% role="instructor"
from jaxtyping import Float
from torch import Tensor


def collect_average_residuals(model, sentences: list[str]) -> Float[Tensor, "n_layers d_model"]:
    total = torch.zeros(model.cfg.n_layers, model.cfg.d_model, device=model.W_U.device)
    for sentence in sentences:
        sentence_tokens = model.to_tokens(sentence)
        _, cache = model.run_with_cache(sentence_tokens, names_filter=lambda name: name.endswith("hook_resid_pre"))
        for layer in range(model.cfg.n_layers):
            total[layer] += cache[f"blocks.{layer}.hook_resid_pre"][0, 1:].float().mean(dim=0)
    return total / len(sentences)


def make_steering_hooks(vectors, coefficient, layers=None):
    def adder(push):
        def add_push(resid, hook):
            resid[:, -1, :] += push.to(resid)
            return resid

        return add_push

    steered_layers = range(len(vectors)) if layers is None else layers
    return [(f"blocks.{layer}.hook_resid_pre", adder(coefficient * vectors[layer])) for layer in steered_layers]


best_coefficient = 0.2

# %%
# collect_average_residuals, make_steering_hooks and best_coefficient go here.

# %%
for name in ("collect_average_residuals", "make_steering_hooks", "best_coefficient"):
    if name not in globals():
        raise NameError(f"Paste {name} from notebook 1 into the cell above, and run that cell.")

# %%
positive_sentences, negative_sentences = list(data.POSITIVE), list(data.NEGATIVE)
steering_vectors = collect_average_residuals(model, positive_sentences) - collect_average_residuals(
    model, negative_sentences
)
resid_names = [f"blocks.{layer}.hook_resid_pre" for layer in range(n_layers)]
residuals = harvest(model, [*positive_sentences, *negative_sentences], resid_names, progress=False)
medians = torch.stack([residuals[name].values.norm(dim=-1).median() for name in resid_names])

# %% [markdown]
# As in notebook 1, settings are chosen on trial prompts and reported on held-out prompts. A third of the held-out
# prompts is enough here.

# %%
prompts = data.HELD_OUT_PROMPTS[: setting.sizes.prompts]
trial_prompts = data.TRIAL_PROMPTS[: setting.sizes.trial]
new_tokens, trial_tokens = setting.sizes.new_tokens, min(setting.sizes.new_tokens, 12)
kept = {}  # finished results; running this cell again discards them

# %% [markdown]
# ## Which layers?
#
# Steering every layer is a blunt tool, because each push adds to all the earlier ones. So compare two alternatives:
# steering a single layer, and steering from one layer to the last. For a fair comparison, all cells in a row of the
# heat map have the same *size of the push*: ‖c·v‖ divided by the median norm of the residual stream, summed over the
# steered layers. You try the settings on trial prompts, because the best of many settings is always partly luck.
#
# Expect half a minute. In each cell, the first number is the shift and the second (with ×) is the perplexity ratio. In
# the single-layer heat map, look for green cells in the later half of the layers, and for a perplexity ratio that rises
# with the size of the push.

# %%
tried = sorted({round(i * (n_layers - 1) / (setting.sizes.layers - 1)) for i in range(setting.sizes.layers)})
layer_sets = {
    "one layer": ([[layer] for layer in tried], [0.3, 0.5]),
    "from this layer on": ([list(range(layer, n_layers)) for layer in tried[1::2] or tried], [0.5]),
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
# From each heat map, take the cell with the largest shift among those with a perplexity ratio of at most 1.5. (Greener
# cells may have a higher ratio.) Then measure these settings on the held-out prompts.
#
# A third setting joins them: three layers, spread over the later two thirds, with a push of size 0.55. Of 84 settings
# tried with smollm2 on 32 trial prompts, it was among the best three. Of these three it was the best on 40 other
# prompts, but on 40 fresh ones it only equalled steering all layers. See what it does here.
#
# The settings in the table differ in the size of the push, so read shift and perplexity ratio together, and look at the
# intervals before you believe a ranking. *Diversity* is distinct-2, as in notebook 1.

# %%
every_layer = tuple(range(n_layers))
chosen = {"all layers": steering.Setting(steering_vectors, best_coefficient, every_layer)}
for name, layer_map in maps.items():
    some_layers, c = layer_map.best(max_perplexity_ratio=1.5)
    chosen[f"{name}: {some_layers[0]}"] = steering.Setting(steering_vectors, c, some_layers)
three = tuple(sorted({min(round(depth * n_layers), n_layers - 1) for depth in (0.4, 0.67, 0.9)}))
c = steering.matched_coefficient(steering_vectors, medians, three, 0.55)
chosen[f"layers {three}"] = steering.Setting(steering_vectors, c, three)

# %%
for name, choice in chosen.items():
    push_size = steering.relative_norms(choice.vectors, medians, choice.coefficient)[list(choice.layers)].sum().item()
    print(f"{name:26} size {push_size:.2f}")

# %%
by_layers = steering.compare(model, make_steering_hooks, chosen, prompts, new_tokens, kept=kept)
print(steering.table(by_layers))

# %% [markdown]
# ## Which vectors, and which positions?
#
# The mean difference is one of several recipes. Here are three more:
#
# - *With BOS* averages over all tokens. BOS cancels only if all sentences are equally long. These nearly are, so expect
#   little damage.
# - *Last token* uses only the last token of each sentence.
# - *Principal direction* is the first principal direction of the differences between paired sentences.
#
# All recipes steer all layers, with a push of the same size as the mean difference at your best coefficient.

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
# Now steer more positions, in two ways: at the last position with a steered past, which keeps earlier edits, and at
# every position, including those of the prompt. A third of the prompts is enough here. Expect a higher perplexity ratio
# at the same coefficient. The intervals tell you whether the shift is larger, too.

# %%
all_layers = {"last position, clean past": chosen["all layers"]}
some_prompts = prompts[: len(prompts) // 3]
by_positions = steering.compare(model, make_steering_hooks, all_layers, some_prompts, new_tokens)


# %%
def make_hooks_everywhere(vectors, coefficient, layers=None):
    return hooks.everywhere(make_steering_hooks(vectors, coefficient, layers))


# %%
hooks_by_position = {"last position, steered past": make_steering_hooks, "every position": make_hooks_everywhere}
for name, make_hooks in hooks_by_position.items():
    one_setting = {name: chosen["all layers"]}
    by_positions |= steering.compare(model, make_hooks, one_setting, some_prompts, new_tokens, past="steered")
print(steering.table(by_positions))

# %% [markdown]
# The next cell saves the numbers above for `make run`.

# %%
report(
    "further",
    layers={name: steering.figures(measured, c) for name, (measured, c) in by_layers.items()},
    vectors={name: steering.figures(measured, c) for name, (measured, c) in by_vectors.items()},
    positions={name: steering.figures(measured, c) for name, (measured, c) in by_positions.items()},
    chosen_on=f"{len(trial_prompts)} trial prompts; measured on {len(prompts)} held-out prompts",
)
