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
# # Sparse autoencoder on residual activations
#
# **Part 2 of the homework: 4 points and 2 bonus points, about 60 minutes.**
#
# A residual stream has a few hundred dimensions but seems to represent thousands of things. A single coordinate
# therefore responds to many unrelated things. A *sparse autoencoder* (SAE) writes each activation as a sum of a few
# directions from a large dictionary. Each dictionary entry is called a *latent*. If the method works, each latent has
# one meaning that a person can name. In this notebook you build an SAE and train it, you see how it can look good and
# be useless, and you read its latents.
#
# | task | points | difficulty | minutes |
# |---|---|---|---|
# | 2.1 SAE forward | 1 | easy | 10 |
# | 2.2 loss | 0.5 | easy | 5 |
# | 2.3 a trained SAE within bounds | 1 | medium | 15 |
# | 2.4 top contexts of a latent | 0.5 | medium | 10 |
# | 2.5 what three latents mean | 1 | written | 20 |
# | 2.6 steer with a latent | 1 (bonus) | hard | 20 |
# | 2.7 beat the reference | 1 (bonus) | hard | 20 |

# %%
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers import checks, data, harvest, hooks, latents, load_model, plots, sae, steering
from helpers.checks import NotDone
from helpers.report import report
from helpers.settings import settings

setting = settings()
sizes, quick = setting.sizes, setting.budget == "quick"
print(setting)

# %%
model = load_model(setting.model, dtype=setting.dtype)
n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
print(f"{n_layers} layers, d_model {d_model}")

# %% [markdown]
# ## Text and activations
#
# By default (`HOMEWORK_TEXT=written`), smollm2 itself wrote the text: encyclopaedia articles, reviews, news, letters,
# recipes and more. It reads like English, but **its facts are wrong**. Here it only matters that the model sees words
# that it knows. `HOMEWORK_TEXT=wikitext` takes WikiText-2 from the Hugging Face hub, as did *the original*, the earlier
# homework that this course reworks.

# %%
lines = list(dict.fromkeys(data.lines(setting.text)))  # no duplicates: training text must not recur in held-out lines
print(len(lines), "lines")
for line in lines[:3]:
    print("·", line[:110])

# %% [markdown]
# Now collect the activations: one row per token, at two layers of the model. The original used the last layer. The
# middle layer is usually richer, because there the model has read the text but hasn't yet settled on the next token.
# One run stores both layers, line by line, until there are enough tokens. Expect a minute or two on two cores.
#
# `text_ids` says which line each row came from. The original called it the token → sentence map.

# %%
middle_name = f"blocks.{n_layers // 2}.hook_resid_pre"
last_name = f"blocks.{n_layers - 1}.hook_resid_pre"
harvested = harvest(
    model, lines, [middle_name, last_name], context=min(256, model.cfg.n_ctx), too_long="cut", max_tokens=sizes.tokens,
    blank="skip",
)  # fmt: skip
middle, last = harvested[middle_name], harvested[last_name]
print(f"{len(middle)} tokens × {d_model}; row 100 is token {middle.positions[100]} of line {middle.text_ids[100]}")

# %% [markdown]
# ### A few tokens hold far too much of the variance
#
# BOS is excluded. But in some models a few ordinary tokens, mostly first words, behave like BOS. They are *attention
# sinks*, too, and you can recognise them by their norm: more than 5 times the median, and sometimes dozens of times.
# Expect a flat curve with a handful of red dots in the upper left corner.

# %%
norms = middle.values.norm(dim=-1)
plots.sinks(norms, middle.is_sink, title=middle_name)

# %%
centred = (middle.values - middle.values.mean(0)).pow(2).sum(-1)
sink_share = (centred[middle.is_sink].sum() / centred.sum()).item()
print(f"{int(middle.is_sink.sum())} of {len(middle)} tokens are sinks; they hold {sink_share:.0%} of the variance")

# %% [markdown]
# This is how a good number can mislead. An SAE that spends one latent on the sinks explains a good part of the
# variance, the share printed above, but has learnt nothing about text. (With other texts and models the share can be
# more than half.) So sinks are excluded from training and from all metrics.
#
# Every tenth line is *held out*: nothing is trained on it. Metrics are computed on these held-out lines unless the text
# says otherwise.

# %%
train_middle, test_middle = middle.split(held_out=0.1)
train_last, test_last = last.split(held_out=0.1)
print(len(train_middle), "training tokens,", len(test_middle), "held-out tokens")

# %% [markdown]
# ## Task 2.1: the forward pass (1 point)
#
# **What you learn**: what an SAE consists of: two matrices, two biases, one ReLU. **What to expect**: a few lines.
#
# h = ReLU((x − b_dec) W_enc + b_enc),  x̂ = h W_dec + b_dec
#
# The decoder's bias is subtracted first. It can then hold the mean activation, and the latents describe how a token
# differs from the mean. The constructor is given: decoder rows have norm 1, and the encoder starts as the transpose of
# the decoder.
#
# <details><summary>Hint</summary>
#
# `forward` returns the reconstruction first and the latents second. With `@`, the same code works for `[d_in]`,
# `[n d_in]` and `[batch pos d_in]`.
#
# </details>


# %% task="2.1" points=1
class SAE(nn.Module):
    def __init__(self, d_in: int, d_sae: int):
        super().__init__()
        directions = nn.functional.normalize(torch.randn(d_sae, d_in), dim=-1)
        self.W_enc = nn.Parameter(directions.T.clone())  # [d_in d_sae]
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.W_dec = nn.Parameter(directions.clone())  # [d_sae d_in]
        self.b_dec = nn.Parameter(torch.zeros(d_in))

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        ### BEGIN SOLUTION
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)
        ### END SOLUTION

    def decode(self, h: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_in"]:
        ### BEGIN SOLUTION
        return h @ self.W_dec + self.b_dec
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "... d_in"]):
        """Return the reconstruction and the latents, in this order."""
        ### BEGIN SOLUTION
        h = self.encode(x)
        return self.decode(h), h
        ### END SOLUTION


# %% task="2.1" role="check"
checks.task_2_1(SAE)

# %% [markdown]
# ## Task 2.2: the loss (0.5 points)
#
# **What you learn**: that a mean over the wrong axis silently weakens a penalty. **What to expect**: one or two lines.
#
# loss = mean over tokens of ‖x − x̂‖²  +  λ · mean over tokens of ‖h‖₁
#
# Both norms are **sums** over a token's vector: the first over its `d_in` entries, the second over its `d_sae` latents.
#
# <details><summary>Hint</summary>
#
# Reduce the last axis first, then take the mean over tokens. The L1 norm is a sum of absolute values.
#
# </details>


# %% task="2.2" points=0.5
def sae_loss(
    x: Float[Tensor, "n d_in"], x_hat: Float[Tensor, "n d_in"], h: Float[Tensor, "n d_sae"], l1_coefficient: float
) -> Float[Tensor, ""]:
    """Return the squared error plus the weighted L1 norm of the latents, both averaged over tokens."""
    ### BEGIN SOLUTION
    squared_error = (x - x_hat).pow(2).sum(-1).mean()
    sparsity = h.abs().sum(-1).mean()
    return squared_error + l1_coefficient * sparsity
    ### END SOLUTION


# %% task="2.2" role="check"
checks.task_2_2(sae_loss)

# %% [markdown]
# ### The original's loss
#
# The original used `mse(x, x_hat) + 1e-3 * h.abs().mean()`. Both terms are means over *all entries*. So the error is
# divided by `d_model`, and the penalty by the number of latents, 8 × `d_model`. In the loss of task 2.2 this
# corresponds to λ = 1e-3 / 8. The original also left its activations unscaled. A squared error grows with the square of
# their norm, an L1 norm only in proportion to it. So the larger the activations are, the less the same λ matters.
#
# The next cell repeats the original's setting: the last layer, 8 × `d_model` latents, 50 full-batch steps. Before you
# run it, guess the L0, the number of active latents per token. The text below the cell explains FVU and dead latents.


# %%
def original_loss(x, x_hat, h):
    return nn.functional.mse_loss(x_hat, x) + 1e-3 * h.abs().mean()


torch.manual_seed(0)
first_batch = train_last.without_sinks()[: sizes.batch_size]
original_sae = SAE(d_model, 8 * d_model).to(setting.device)
full_batch = sae.TrainConfig(
    steps=50, batch_size=len(first_batch), normalize=False, unit_norm_decoder=False, warmup=0, decay=0
)
sae.train(original_sae, first_batch, original_loss, full_batch, progress="original")
original_metrics = sae.evaluate(original_sae, test_last)
print(original_metrics)

# %% [markdown]
# <details><summary>Did you guess its L0?</summary>
#
# The latents are hardly sparse: hundreds of them are active on every token, whereas 32 are enough for the SAE further
# below. Many fire on most tokens, so they can't have one meaning. There was a penalty, but it was far too weak to
# matter.
#
# </details>
#
# ## Task 2.3: a trained SAE within bounds (1 point)
#
# **What you learn**: the trade-off between sparsity and reconstruction. **What to expect**: your first λ is wrong, and
# the next one is better.
#
# Train your `SAE` with your `sae_loss` on the middle layer, so that on held-out lines:
#
# - **FVU ≤ 0.35**. The *fraction of variance unexplained* is Σ‖x − x̂‖² / Σ‖x − mean‖². A perfect reconstruction has 0,
#   and the mean alone has 1;
# - **L0 ≤ 128** active latents per token;
# - at most **25%** dead latents, which never fire.
#
# `sae.train` runs the training loop. It scales activations to a mean norm of √d_in, shuffles them, and keeps decoder
# rows at norm 1. Call it as `sae.train(module, activations, loss_fn, sae.TrainConfig(steps=…, batch_size=…, lr=…))`. It
# calls `loss_fn(x, x_hat, h)` with three arguments, so wrap your four-argument `sae_loss` in a function that fixes λ.
#
# You choose λ, the number of steps and the learning rate. Any other architecture of your own is welcome, too. Store the
# module in `my_sae` and the return value of `sae.train` in `my_history`. Half a minute of training is enough on two
# cores.
#
# The grader takes your dictionary and the latents' activations on lines that aren't in this notebook, and computes the
# three metrics from them. So a reconstruction has to be a sum of dictionary rows and a bias. The grader has two more
# conditions, which the check here doesn't test:
#
# - latents that fire on more than half of the tokens make up at most half of L0;
# - the reconstructions span clearly more dimensions than there are active latents per token (L0).
#
# An SAE that fails them is a dense code in a small subspace, as principal components are. If the reference solution
# does worse on your model, the bounds are looser: 1.25 times its metrics are enough.
#
# <details><summary>Hint</summary>
#
# Start with λ between 0.5 and 5 and with 4 × `d_model` latents, fewer than the reference has, because dense training is
# slow. If L0 is too high, increase λ. If FVU is too high, decrease λ or train for more steps. The progress bar shows
# both.
#
# </details>

# %% task="2.3" points=1
torch.manual_seed(0)
### BEGIN SOLUTION
my_sae = SAE(d_model, 4 * d_model).to(setting.device)
precision = "bf16" if setting.dtype == torch.bfloat16 else "fp32"  # the faster one on this hardware
my_config = sae.TrainConfig(steps=sizes.relu_steps, batch_size=sizes.batch_size, lr=3e-3, precision=precision)
my_history = sae.train(my_sae, train_middle, lambda x, x_hat, h: sae_loss(x, x_hat, h, 1.3), my_config, "my SAE")
### END SOLUTION
print(sae.evaluate(my_sae, test_middle))

# %% task="2.3" role="check"
checks.task_2_3(model, my_sae, test_middle, quick)

# %% [markdown]
# ## The reference: TopK
#
# TopK needs no penalty: it keeps the k largest latents and sets the rest to 0 (Gao et al. 2024). So L0 is k by design,
# and nothing shrinks the latents that remain. Expect a lower FVU than yours at a fraction of the L0. Train it on the
# middle layer first, then on the original's last layer.

# %%
torch.manual_seed(0)
config = sae.TrainConfig(steps=sizes.steps, batch_size=sizes.batch_size, lr=3e-3)
reference = sae.TopK(d_model, 8 * d_model, k=32).to(setting.device)
history = sae.train(reference, train_middle, config=config, progress="TopK, middle layer")
middle_metrics = sae.evaluate(reference, test_middle)
print(middle_metrics)

# %%
last_reference = sae.TopK(d_model, 8 * d_model, k=32).to(setting.device)
last_history = sae.train(last_reference, train_last, config=config, progress="TopK, last layer")
last_metrics = sae.evaluate(last_reference, test_last)
print(last_metrics)

# %% [markdown]
# How much does the reconstruction error harm the model? Replace the activation by its reconstruction and let the model
# predict the next token on held-out lines.
#
# - *ΔCE* is the increase of the cross-entropy, in nats. The number after "of" is the cross-entropy of the unchanged
#   model.
# - *KL* says how far the predictions have moved, whatever the next token is.
# - *Recovered* (loss recovered) compares ΔCE with the ΔCE of replacing every activation by the mean. It looks too good,
#   because the mean activation is a very weak baseline.
#
# With the default budget (`full`), expect a few tenths for ΔCE and KL. On text that the model wrote itself the two are
# nearly equal. Text that the model didn't write surprises it anyway, and there ΔCE can be half the KL. So never compare
# ΔCE across texts.

# %%
held_out_lines = [line for i, line in enumerate(lines) if i % 10 == 9][: sizes.prompts // 2]
replacement = sae.replacement(model, reference, held_out_lines, middle_name, context=min(256, model.cfg.n_ctx))
print(replacement)

# %% [markdown]
# Now see how L0 and FVU develop during training. A ReLU SAE starts dense, and the penalty makes it sparser. TopK has
# its final L0 from the first step.

# %%
plots.training({"my SAE, middle layer": my_history, "TopK, middle layer": history, "TopK, last layer": last_history})

# %% [markdown]
# How often do latents fire? For TopK, expect a hill between one token in a thousand and one in a hundred. For the
# original's SAE, expect a peak at the right end: latents that fire on nearly everything.

# %%
my_metrics = sae.evaluate(my_sae, test_middle)
densities = {
    "original, last layer": original_metrics.density,
    "my SAE, middle layer": my_metrics.density,
    "TopK, middle layer": middle_metrics.density,
}
plots.density(densities)

# %% [markdown]
# ### The frontier
#
# FVU alone says little, and so does L0, because you can improve one at the expense of the other. So train TopK at
# several k, each for a sixth of the reference's steps, and plot both. Lower left is better. Expect a falling line. The
# reference lies below it because it trained longer. Your own SAE lies to the right: it needs more latents for its FVU.

# %%
frontier_config = sae.TrainConfig(steps=sizes.steps // 6, batch_size=sizes.batch_size, lr=3e-3)
frontier = []
for k in (8, 32, 96):
    torch.manual_seed(0)
    candidate = sae.TopK(d_model, 8 * d_model, k=min(k, d_model)).to(setting.device)
    sae.train(candidate, train_middle, config=frontier_config, progress=f"TopK, k = {k}")
    frontier.append(sae.evaluate(candidate, test_middle))

# %%
plots.frontier({"TopK, a sixth of the steps": frontier}, {"reference": middle_metrics, "my SAE": my_metrics})

# %% [markdown]
# ### How sinks flatter the FVU
#
# Train the same architecture again, for fewer steps and with the sinks left in the training data. Then evaluate this
# one SAE twice on the same lines, with and without the sinks. (These are training lines, since the held-out lines may
# contain no sink at all.) Expect the first FVU to look clearly better than the second. Only the second is about text.

# %%
torch.manual_seed(0)
naive = sae.TopK(d_model, 8 * d_model, k=32).to(setting.device)
naive_config = sae.TrainConfig(steps=sizes.steps // 5, batch_size=sizes.batch_size, lr=3e-3)
_ = sae.train(naive, train_middle.values, config=naive_config, progress="with sinks")

# %%
subset = train_middle[: sizes.tokens // 4]
with_sinks, without_sinks = sae.evaluate(naive, subset, keep_sinks=True), sae.evaluate(naive, subset)
print(f"the same SAE: FVU {with_sinks.fvu:.3f} with the sinks, {without_sinks.fvu:.3f} without")

# %% [markdown]
# ## Do latents mean anything?
#
# A good FVU doesn't tell you. So ask a question that a rule can decide: is this token a month, a digit, a food word,
# the first word of a sentence? For each of these labels, find the best single latent. A latent predicts the label on
# every token where its activation is above a threshold. Eight thresholds are tried, and the best one counts. The score
# is F1; 1 is perfect.
#
# For comparison, find the best single coordinate of the residual stream in the same way, with either sign. We call it a
# *neuron* for short, but it isn't a neuron of an MLP. Nothing says that the model uses these axes, so it is a weak
# baseline.

# %%
labels = latents.token_labels(model, test_middle)
names, truth = labels.frequent(at_least=20)
print(len(names), "labels with at least 20 tokens:", ", ".join(names[:8]), "…")

# %%
kept = ~test_middle.is_sink
latent_f1, best_latents = latents.best_f1(latents.encoder(reference), test_middle.values[kept], truth[:, kept])
neuron_f1, _ = latents.best_f1(lambda x: x, test_middle.values[kept], truth[:, kept], both_signs=True)
plots.label_scores(names, latent_f1, neuron_f1, "middle layer: F1 of the best single feature")

# %% [markdown]
# Now the same for the last layer, where the model is about to predict. Expect lower scores: there the next token
# matters more than the current one.

# %%
last_f1, _ = latents.best_f1(latents.encoder(last_reference), test_last.values[kept], truth[:, kept])
last_neuron_f1, _ = latents.best_f1(lambda x: x, test_last.values[kept], truth[:, kept], both_signs=True)
print(f"mean F1, middle layer: latents {latent_f1.mean():.2f}, neurons {neuron_f1.mean():.2f}")
print(f"mean F1, last layer:   latents {last_f1.mean():.2f}, neurons {last_neuron_f1.mean():.2f}")

# %% [markdown]
# Was that fair? We took the best of 4,608 latents and scored it on the very tokens that it was chosen on. With so many
# to choose from, some fit by chance, and there are more latents than neurons. So choose on one half of the held-out
# lines and score on the other. The predictor is a logistic regression on one feature or on five (a *k-sparse probe*).
#
# Expect latents to be far ahead in F1 and behind in AUROC. AUROC measures how well all tokens are ranked. On most
# tokens a latent is exactly 0, so it can't rank them, but a neuron always can.

# %%
first_half = (test_middle.text_ids[kept] // 10) % 2 == 0
known = truth[:, kept]
enough = torch.minimum((known & first_half).sum(1), (known & ~first_half).sum(1)) >= 5
fit, score = ((test_middle.values[kept][half], known[enough][:, half]) for half in (first_half, ~first_half))

# %%
probes = {}
for k in (1, 5):
    for kind, encode in (("latents", latents.encoder(reference)), ("neurons", lambda x: x)):
        scores = latents.sparse_probe(encode, fit, score, k)
        probes[f"{k} {kind}"] = scores.f1.mean().item()
        means = f"mean F1 {scores.f1.mean():.2f}, mean AUROC {scores.auroc.mean():.2f}"
        print(f"{k} {kind}: {means} ({int(enough.sum())} labels)")

# %% [markdown]
# The next cell saves the numbers above for `make run`. You don't need to change it.

# %%
label_figures = {
    "labels": len(names),
    "middle: labels where latent beats neuron": int((latent_f1 > neuron_f1).sum()),
    "middle: mean F1 of latents": latent_f1.mean(),
    "middle: mean F1 of neurons": neuron_f1.mean(),
    "last: labels where latent beats neuron": int((last_f1 > last_neuron_f1).sum()),
    "last: mean F1 of latents": last_f1.mean(),
    "last: mean F1 of neurons": last_neuron_f1.mean(),
}
report(
    "2.3",
    original_sae=original_metrics.figures(),
    reference_middle=middle_metrics.figures(),
    reference_delta_ce=replacement.delta,
    reference_kl=replacement.kl,
    reference_ce_recovered=replacement.recovered,
    frontier=[marks.figures() for marks in frontier],
    reference_last=last_metrics.figures(),
    naive_fvu_with_sinks=with_sinks.fvu,
    naive_fvu_without_sinks=without_sinks.fvu,
    sink_share_of_variance=sink_share,
    labels=label_figures,
    sparse_probe_f1=probes,
)

# %% [markdown]
# ## Task 2.4: top contexts (0.5 points)
#
# **What you learn**: how to inspect a latent. **What to expect**: traps. The original fell into two of them.
#
# Return the indices of the `k` tokens on which a latent fires most strongly, strongest first. Three rules apply:
#
# - **At most one token per line** (`text_ids`). Otherwise five hits in one paragraph look like a pattern.
# - **Only activations above 0.** A dead latent has no contexts. If you sort its zeros, you get five random tokens,
#   which is what the original printed for its dead latents.
# - **No special tokens** (`special_ids`), because they aren't text. If a line's strongest token is special, its
#   strongest ordinary token counts.
#
# <details><summary>Hint</summary>
#
# Go through `latent.argsort(descending=True)` and remember which lines you have seen. Stop at the first zero.
#
# </details>


# %% task="2.4" points=0.5
def top_contexts(
    latent: Float[Tensor, " n"],
    text_ids: Int[Tensor, " n"],
    token_ids: Int[Tensor, " n"],
    special_ids: set[int],
    k: int = 5,
) -> list[int]:
    """Return the rows of the k strongest activations: one per line, above 0, no special tokens."""
    ### BEGIN SOLUTION
    chosen, seen_lines = [], set()
    for row in latent.argsort(descending=True).tolist():
        if latent[row] <= 0 or len(chosen) == k:
            break
        line_id = int(text_ids[row])
        if line_id not in seen_lines and int(token_ids[row]) not in special_ids:
            seen_lines.add(line_id)
            chosen.append(row)
    return chosen
    ### END SOLUTION


# %% task="2.4" role="check"
checks.task_2_4(top_contexts)

# %% [markdown]
# ## Read the latents
#
# You will look at twelve latents in three groups:
#
# - latents 0, 1 and 2, as in the original. They are a fair sample, because nobody chose them;
# - five chosen by a rule: those that are furthest ahead of the best neuron on a label (punctuation and digits
#   excluded);
# - four drawn at random from the latents that fire in several lines and are neither rare nor active everywhere.

# %%
punctuation = ("comma", "end of a sentence", "bracket", "quote", "hyphen or dash", "digit")
gain = latent_f1 - neuron_f1
ranked = [i for i in gain.argsort(descending=True).tolist() if names[i] not in punctuation]
best_for = {}
for i in ranked:
    best_for.setdefault(int(best_latents[i]), i)
labelled = list(best_for)[:5]

# %%
stats = latents.latent_stats(reference, test_middle)
usable = ((stats.density > 0.001) & (stats.density < 0.02) & (stats.lines >= 5)).nonzero()[:, 0]
drawn = usable[torch.randperm(len(usable), generator=torch.Generator().manual_seed(1))[:4]].tolist()

# %% [markdown]
# One pass over the harvested tokens gives the activations of all twelve, and your function picks the contexts. In each
# row, the token with the highest activation is in brackets, and that activation is shown at the end. The darker a
# token, the more the latent fires on it, relative to the other rows of this latent. Expect a few seconds.

# %%
special_ids = hooks.special_ids(model)
looked_at = [0, 1, 2, *labelled, *drawn]
activity = latents.latent_values(reference, middle, looked_at)
activity[middle.is_sink] = 0  # sinks are excluded here, too


def contexts_of(latent_index: int, k: int = 5):
    values = activity[:, looked_at.index(latent_index)]
    rows = top_contexts(values, middle.text_ids, middle.token_ids, special_ids, k)
    return [latents.context(model, middle, values, row) for row in rows]


# %% [markdown]
# Latents 0, 1 and 2. An empty list means a dead latent.

# %%
plots.contexts({f"latent {i}": contexts_of(i) for i in range(3)})

# %% [markdown]
# Five latents chosen by a rule. Cover the titles and guess. Some titles may surprise you: F1 counts all tokens above a
# threshold, while each list below shows only the five strongest. The strongest tokens needn't be the ones that carry
# the label.

# %%
titles = {i: f"latent {i} (best for {names[best_for[i]]!r}, F1 {latent_f1[best_for[i]]:.2f})" for i in labelled}
plots.contexts({title: contexts_of(i) for i, title in titles.items()})

# %% [markdown]
# Four latents that no rule chose. Most of an SAE's latents are of this kind. What do *they* mean? Change the seed to
# draw others.

# %%
plots.contexts({f"latent {i}": contexts_of(i) for i in drawn or [0]})

# %% [markdown]
# Top contexts, too, make a latent look better than it is, because they show it only at its strongest. The browser below
# adds three things: random examples from the whole range of activations, the tokens that a latent promotes through the
# unembedding, and its nearest latents. Search for a word or a label, and move the slider with the arrow keys.
# `latents.html` contains the same pages and opens in any web browser.

# %%
browsed = list(dict.fromkeys([*looked_at, *usable[:60].tolist()]))
latent_pages = latents.pages(model, reference, test_middle, browsed, labels)
print(latents.write_dashboard("latents.html", latent_pages, len(test_middle)))

# %%
latents.Browser(latent_pages).show()

# %% [markdown]
# It is easy to fit a story to contexts that you have already seen. A test can prove the story wrong. Write a sentence
# in which the latent should fire if you are right, and one in which it should stay silent. Of the twelve latents, the
# output shows those that fire at all, one per row. Change the sentence as often as you like.

# %%
my_sentence = "So happy! The oldest house in town is the most beautiful, so that people pay in gold coins to see it."


def fires_on(text: str):
    activations = harvest(model, [text], middle_name, progress=False)
    values = latents.latent_values(reference, activations, looked_at)
    rows = {}
    for latent_index, column in zip(looked_at, values.T, strict=True):
        if column.max() > 0:
            rows[f"latent {latent_index}"] = [latents.context(model, activations, column, int(column.argmax()))]
    return rows


plots.contexts(fires_on(my_sentence))

# %% [markdown]
# ## Task 2.5: what three latents mean (1 point, written)
#
# Choose three latents. At least one must come from the first or third group, whose latents weren't chosen by a label.
# The next cell says what to write.

# %% [markdown] task="2.5" points=1 role="written"
# For each latent, write:
#
# - its number;
# - your **claim**: what it means, in one sentence (on which tokens it fires, and in which contexts);
# - **evidence for** the claim: quote two contexts;
# - **evidence against** it, or a test that could have proven you wrong: a context that doesn't fit, or a token on which
#   it should have fired and didn't (`fires_on`);
# - how sure you are.
#
# It is a valid finding that a latent has no clear meaning, if you show why.
#
# <!-- BEGIN SOLUTION -->
# *(Numbers depend on the run; these are readings of the figures above, for smollm2 and the text `written`.)*
#
# **Latent 3289** fires on superlatives. For: "This is too bad. The[ worst] part was when the director", "I do not want
# anything but the[ best] for your family". Against: four of its five strongest contexts are "worst", so it could be a
# latent for bad things. My test: "The[ oldest] house in town", which is neither good nor bad. Its activation there is
# 34.6, two thirds of its maximum, so it doesn't need a bad mood. I can't rule out that it has several meanings and I
# saw only the strongest. I am fairly sure.
#
# **Latent 1092**, which wasn't chosen by a label, fires on materials. For: "made from high-quality[ materials]", "sheet
# of paper from raw[ material]". Against: all five contexts have this one word, so it may fire only on the word. My
# test: a sentence without the word. There it fires on "[ coins]", after "gold", with an activation of 12.7, less than
# half of its maximum. It also fires a little on "people", which I can't explain. So it isn't the word alone, and my
# claim becomes "the word, and faintly what things are made of". I am sure of the first half and unsure of the second.
#
# **Latent 3966**, which wasn't chosen by a label either, has no clear meaning. "under the[ guidance] of a Polish
# teacher" and "nothing but an[ excuse] for the crap" would fit the claim "a noun followed by a preposition". But in
# "yelling[ at] her team" it fires on the preposition, and "glor[ification] of" is only the end of a word. It was silent
# on my sentence, but my sentence contains no such noun, so that proves nothing. I wouldn't name it.
# <!-- END SOLUTION -->

# %% [markdown] task="2.5" role="rubric"
# **Rubric (1 point): a third for each of the three latents**
#
# - 0.1: a claim that could be wrong, in one sentence, about tokens and, where that matters, their contexts.
# - 0.1: evidence for: two quoted contexts from the student's own run that fit the claim.
# - 0.13: evidence against: a counterexample, or a test that would have shown the claim to be false, and its result.
#   Restating the supporting evidence in other words earns 0.
# - An unclear latent, shown to be unclear, gets full marks. A confident story about a dead latent gets none.

# %% [markdown]
# ## Bonus 2.6: steer with a latent (1 point)
#
# **What you learn**: whether a latent is a cause or only a correlate. **What to expect**: a model that can't stop
# writing one thing, such as words on one topic, or commas.
#
# A latent's decoder row is a direction of the residual stream. Add it while the model writes, as in notebook 1. Choose
# a label (`data.labels.LABELS` lists them all), a latent and a coefficient. The share of texts with a word of that
# label must **rise by at least 0.3**, at a perplexity ratio of at most 3. Store your choice in `bonus_label`,
# `bonus_latent` and `bonus_coefficient`. The grader steers again by itself, with the decoder row of `reference` that
# you name. If the reference solution does worse on your model, the bound is looser: 60% of its rise is enough.
#
# <details><summary>Hint</summary>
#
# A decoder row has norm 1, so the coefficient is the norm of the push. Start at about half of `norms.median()`, the
# median norm of the activations above. `names` holds the labels whose best latent is known. One of these latents is
# `best_latents[names.index("food word")]`. But the latent that predicts a label best needn't be the one that causes it.
# `latents.promoted_tokens(model, reference.W_dec[i])` shows which tokens a direction raises in the output. Try several
# latents and read the texts.
#
# </details>


# %% task="2.6" points=1 bonus=true
def make_latent_hooks(module, latent_index: int, coefficient: float) -> list[tuple]:
    """Return one hook on `middle_name` that adds coefficient × the latent's decoder row at the last position."""
    ### BEGIN SOLUTION
    push = coefficient * module.W_dec[latent_index].detach()

    def push_latent(resid, hook):
        resid[:, -1, :] += push.to(resid)
        return resid

    return [(middle_name, push_latent)]
    ### END SOLUTION


### BEGIN SOLUTION
# A latent that predicts a label needn't cause it: it fires on the word, not before it. What counts is which tokens its
# direction promotes. So take, for each label, the latent that promotes the largest number of the label's words through
# the unembedding. Try, on trial prompts, the 20 latents that promote the most words, and keep the one that raises its
# label's share the most.
raised = [[token for token, _ in high] for high, _ in latents.promoted_by_each(model, reference.W_dec.detach(), k=10)]
carries = {token: torch.tensor(data.labels.label_tokens([token]).any(1)) for tokens in raised for token in tokens}
counts = torch.stack([torch.stack([carries[token] for token in tokens]).sum(0) for tokens in raised])  # [d_sae labels]
most, latent_of = counts.max(0)
coefficient = 0.6 * norms.median().item()
grid = [(data.labels.LABELS[i], int(latent_of[i]), coefficient) for i in most.argsort(descending=True).tolist()[:20]]
trial_sets = [[], *(make_latent_hooks(reference, latent, c) for _, latent, c in grid)]
trial_prompts = data.TRIAL_PROMPTS[: sizes.trial]
plain, *pushed = hooks.generate_many(model, trial_prompts, trial_sets, sizes.new_tokens, progress="try latents")


def gain_of(option, texts):
    broken = steering.perplexity(texts) > 2.5 * steering.perplexity(plain)
    return -broken + checks.label_share(model, texts, option[0]) - checks.label_share(model, plain, option[0])


(bonus_label, bonus_latent, bonus_coefficient), _ = max(zip(grid, pushed, strict=True), key=lambda pair: gain_of(*pair))
### END SOLUTION
print(f"label {bonus_label!r}, latent {bonus_latent}, coefficient {bonus_coefficient:.0f}")

# %%
prompts = data.HELD_OUT_PROMPTS[: sizes.prompts]
hook_sets = [[], make_latent_hooks(reference, bonus_latent, bonus_coefficient)]
unsteered, steered = hooks.generate_many(model, prompts, hook_sets, sizes.new_tokens, progress="steer")
for before, after in list(zip(unsteered, steered, strict=True))[:5]:
    print(f"{before.prompt} …\n   unsteered:{before.text!r}\n   steered:  {after.text!r}")

# %% task="2.6" role="check"
checks.task_2_6(model, unsteered, steered, bonus_label, quick)

# %% [markdown]
# ## Bonus 2.7: beat the reference (1 point)
#
# Train an SAE that explains more of the variance of the middle layer on held-out lines than `reference` does, with no
# more active latents per token: a lower FVU at an L0 that is no higher. Train longer or wider, improve the schedule, or
# change the architecture. Anything is allowed except training on held-out lines. Store it in `bonus_sae`. The grader
# compares the two on lines that neither has seen.

# %% task="2.7" points=1 bonus=true
### BEGIN SOLUTION
import copy

bonus_sae = copy.deepcopy(reference)  # train the same SAE further; larger batches mean less noise
second_round = sae.TrainConfig(steps=max(10, sizes.steps // 4), batch_size=2 * sizes.batch_size, lr=3e-3, seed=1)
sae.train(bonus_sae, train_middle, config=second_round, progress="second round")
### END SOLUTION
print(sae.evaluate(bonus_sae, test_middle))

# %% task="2.7" role="check"
checks.task_2_7(model, bonus_sae, reference, test_middle, quick)
