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
# A residual stream has a few hundred dimensions and seems to hold thousands of things at once: a single one of its
# coordinates answers to many unrelated ones. A *sparse autoencoder* (SAE) writes each activation as a sum of a few directions
# out of a large dictionary. If it works, each dictionary entry, called a *latent*, means one thing that a person can
# name. You will build one, train it, see how it can look good and be useless, and read its latents.
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
# With `HOMEWORK_TEXT=written` (the default) the text was written by smollm2 itself: encyclopaedia articles, reviews,
# news, letters, recipes and more. It reads like English and **its facts are wrong**; what counts here is that the
# model meets the words it knows. `HOMEWORK_TEXT=wikitext` takes WikiText-2 from the hub, as *the original* did: the earlier
# homework that this one reworks.

# %%
lines = list(dict.fromkeys(data.lines(setting.text)))  # each once: a line in both parts of a split would be a leak
print(len(lines), "lines")
for line in lines[:3]:
    print("·", line[:110])

# %% [markdown]
# Now the activations: one row per token, at two points of the model. The original took the last layer; the middle
# layer, where the model has read but not yet decided what to say, is usually richer. One run gives both, line by
# line until there are enough tokens. Expect a minute or two on two cores.
#
# `text_ids` is the original's token → sentence map: it says which line each row came from.

# %%
middle_name = f"blocks.{n_layers // 2}.hook_resid_pre"
last_name = f"blocks.{n_layers - 1}.hook_resid_pre"
harvested = harvest(
    model, lines, [middle_name, last_name], context=min(256, model.cfg.n_ctx), too_long="cut", max_tokens=sizes.tokens
)
middle, last = harvested[middle_name], harvested[last_name]
print(f"{len(middle)} tokens × {d_model}; row 100 is token {middle.positions[100]} of line {middle.text_ids[100]}")

# %% [markdown]
# ### A few tokens hold far too much of the variance
#
# BOS is left out. But in some models a few ordinary tokens, mostly first words, behave like BOS: *attention sinks*, told
# here by their norm, which is more than 5 times the median and may be dozens of times. Expect a flat curve, and in the
# upper left corner a handful of red dots.

# %%
norms = middle.values.norm(dim=-1)
plots.sinks(norms, middle.is_sink, title=middle_name)

# %%
centred = (middle.values - middle.values.mean(0)).pow(2).sum(-1)
sink_share = (centred[middle.is_sink].sum() / centred.sum()).item()
print(f"{int(middle.is_sink.sum())} of {len(middle)} tokens are sinks; they hold {sink_share:.0%} of the variance")

# %% [markdown]
# This is how a good number can lie. An SAE that spends one latent on the sinks explains a good part of the variance (the
# share above; on other texts and models it can be more than half) and has understood nothing. So training and figures leave
# the sinks out.
#
# Every tenth line is held out: nothing is trained on it, and what is measured is measured on it, where nothing else is said.

# %%
train_middle, test_middle = middle.split(held_out=0.1)
train_last, test_last = last.split(held_out=0.1)
print(len(train_middle), "tokens to train on,", len(test_middle), "held out")

# %% [markdown]
# ## Task 2.1: the forward pass (1 point)
#
# **What you learn**: what an SAE is: two matrices, two biases, one ReLU. **What to expect**: a few lines.
#
# h = ReLU((x − b_dec) W_enc + b_enc),  x̂ = h W_dec + b_dec
#
# The decoder's bias is subtracted first, so that it can hold the mean activation and the latents describe what
# differs from it. The constructor is given: decoder rows of norm 1, the encoder begins as the decoder's transpose.
#
# <details><summary>Hint</summary>
#
# `forward` returns the reconstruction first and the latents second. With `@` the same code serves `[d_in]`,
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
        """Reconstruction and latents, in this order."""
        ### BEGIN SOLUTION
        h = self.encode(x)
        return self.decode(h), h
        ### END SOLUTION


# %% task="2.1" role="check"
checks.task_2_1(SAE)

# %% [markdown]
# ## Task 2.2: the loss (0.5 points)
#
# **What you learn**: that a mean over the wrong axis weakens a penalty unseen. **What to expect**: one or two lines.
#
# loss = mean over tokens of ‖x − x̂‖²  +  λ · mean over tokens of ‖h‖₁
#
# Both norms are **sums** over their vector: over `d_in` entries, and over `d_sae` latents.
#
# <details><summary>Hint</summary>
#
# First over the last axis, then over what is left. The L1 norm is a sum of absolute values.
#
# </details>


# %% task="2.2" points=0.5
def sae_loss(
    x: Float[Tensor, "n d_in"], x_hat: Float[Tensor, "n d_in"], h: Float[Tensor, "n d_sae"], l1_coefficient: float
) -> Float[Tensor, ""]:
    """Squared error per token plus the weighted L1 norm of the latents per token."""
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
# The original used `mse(x, x_hat) + 1e-3 * h.abs().mean()`: both terms are means over *all entries*. The error is then
# divided by `d_model`, and the penalty by the number of latents, 8 times as large: in the loss of 2.2 that is λ = 1e-3 / 8.
# And its activations weren't scaled: a squared error grows with their length squared, an L1 norm only with their
# length, so the longer they are, the less the same λ counts. Guess the L0 (active latents per token) before you run the
# cell: the last layer, 8 × `d_model` latents, 50 full-batch steps, as in the original. FVU and dead latents are
# explained below it.


# %%
def original_loss(x, x_hat, h):
    return nn.functional.mse_loss(x_hat, x) + 1e-3 * h.abs().mean()


few = train_last.without_sinks()[: sizes.batch_size]
original_sae = SAE(d_model, 8 * d_model).to(setting.device)
whole = sae.TrainConfig(steps=50, batch_size=len(few), normalize=False, unit_norm_decoder=False, warmup=0, decay=0)
sae.train(original_sae, few, original_loss, whole, progress="original")
original_marks = sae.evaluate(original_sae, test_last)
print(original_marks)

# %% [markdown]
# <details><summary>Did you guess its L0?</summary>
#
# Hardly sparse: hundreds of its latents are active on every token, where 32 will do below, and many fire on most tokens,
# so those can't mean one thing. The penalty was there, but far too weak to be heard.
#
# </details>
#
# ## Task 2.3: a trained SAE within bounds (1 point)
#
# **What you learn**: the trade between sparsity and reconstruction. **What to expect**: a first λ that is wrong,
# then a better one. Train your `SAE` with your `sae_loss` on the middle layer so that on held-out lines
#
# - **FVU ≤ 0.35**, the fraction of variance unexplained: Σ‖x − x̂‖² / Σ‖x − mean‖², 0 is perfect and 1 is what the mean
#   alone gets;
# - **L0 ≤ 128** active latents per token;
# - at most **25%** dead latents, which never fire.
#
# `sae.train` runs the loop: it scales activations to a mean norm of √d_in, shuffles, and keeps decoder rows at norm 1.
# It is called `sae.train(module, activations, loss_fn, sae.TrainConfig(steps=…, batch_size=…, lr=…))`, and calls
# `loss_fn(x, x_hat, h)` with three arguments: wrap your four-argument `sae_loss` in a function that fixes λ.
# You choose λ, steps and learning rate; any other architecture of your own is welcome too. Leave the module in `my_sae`
# and what `sae.train` returns in `my_history`. Half a minute of training is enough on two cores.
#
# The grader takes your dictionary and what is active on lines that aren't in this notebook, and computes the three figures
# from them: a reconstruction has to be a sum of dictionary rows and a bias. Two more things it asks for, which the check here
# doesn't: latents that fire on more than half of the tokens may make up at most half of L0, and the reconstructions must
# spread over clearly more dimensions than L0. Else it is a dense code in a small subspace, as principal components are.
# On a model on which our own SAE is worse, 1.25 times its figures are enough.
#
# <details><summary>Hint</summary>
#
# Begin with λ between 0.5 and 5, and with fewer latents than the reference has (4 × `d_model`): dense training is slow.
# L0 too high: λ up. FVU too high: λ down, or more steps. The progress bar shows both.
#
# </details>

# %% task="2.3" points=1
torch.manual_seed(0)
### BEGIN SOLUTION
my_sae = SAE(d_model, 4 * d_model).to(setting.device)
precision = "bf16" if setting.dtype == torch.bfloat16 else "fp32"  # the hardware's faster one
my_config = sae.TrainConfig(steps=sizes.relu_steps, batch_size=sizes.batch_size, lr=3e-3, precision=precision)
my_history = sae.train(my_sae, train_middle, lambda x, x_hat, h: sae_loss(x, x_hat, h, 1.3), my_config, "my SAE")
### END SOLUTION
print(sae.evaluate(my_sae, test_middle))

# %% task="2.3" role="check"
checks.task_2_3(model, my_sae, test_middle, quick)

# %% [markdown]
# ## The reference: TopK
#
# Instead of a penalty, keep the k largest latents and drop the rest (Gao et al. 2024): L0 is k by construction, and
# nothing shrinks the latents that stay. Expect a lower FVU than yours at a fraction of the L0. First the middle
# layer, then the original's last layer.

# %%
torch.manual_seed(0)
config = sae.TrainConfig(steps=sizes.steps, batch_size=sizes.batch_size, lr=3e-3)
reference = sae.TopK(d_model, 8 * d_model, k=32).to(setting.device)
history = sae.train(reference, train_middle, config=config, progress="TopK, middle layer")
middle_marks = sae.evaluate(reference, test_middle)
print(middle_marks)

# %%
last_reference = sae.TopK(d_model, 8 * d_model, k=32).to(setting.device)
last_history = sae.train(last_reference, train_last, config=config, progress="TopK, last layer")
last_marks = sae.evaluate(last_reference, test_last)
print(last_marks)

# %% [markdown]
# What does the error cost the model? Put the reconstruction in the place of the activation and let the model predict
# the next token on held-out lines: ΔCE is the loss that it adds, in nats, and behind "of" stands the unchanged model's own
# loss. *KL* says how far the predictions have moved, whatever the next token is. Expect some tenths for both, with the usual
# budget of a class. On text that the model wrote itself the two are nearly alike; somebody else's text surprises it anyway,
# and there ΔCE can be half the KL: never compare ΔCE across texts. *Recovered* compares with what the mean activation
# costs; it flatters, since the mean is a terrible activation.

# %%
held_out_lines = [line for i, line in enumerate(lines) if i % 10 == 9][: sizes.prompts // 2]
cost = sae.replacement(model, reference, held_out_lines, middle_name, context=min(256, model.cfg.n_ctx))
print(cost)

# %% [markdown]
# L0 and FVU during training. A ReLU SAE begins dense and is pressed down; TopK has its L0 from the first step.

# %%
plots.training({"mine, middle layer": my_history, "TopK, middle layer": history, "TopK, last layer": last_history})

# %% [markdown]
# How often do latents fire? Expect a hill between one token in a thousand and one in a hundred for TopK, and for the
# original's SAE a heap at the right end: latents that fire on nearly everything.

# %%
my_marks = sae.evaluate(my_sae, test_middle)
plots.density(
    {"original, last layer": original_marks.density, "mine, middle": my_marks.density, "TopK, middle": middle_marks.density}
)

# %% [markdown]
# ### The frontier
#
# FVU alone says little, and so does L0: one can be bought with the other. So train TopK at several k, each for a
# sixth of the reference's steps, and look at both at once. Lower left is better. Expect a falling line, the
# reference below it since it trained longer, and your own SAE to the right: it pays for its FVU with more latents.

# %%
brief = sae.TrainConfig(steps=sizes.steps // 6, batch_size=sizes.batch_size, lr=3e-3)
frontier = []
for k in (8, 32, 96):
    torch.manual_seed(0)
    candidate = sae.TopK(d_model, 8 * d_model, k=min(k, d_model)).to(setting.device)
    sae.train(candidate, train_middle, config=brief, progress=f"TopK, k = {k}")
    frontier.append(sae.evaluate(candidate, test_middle))

# %%
plots.frontier({"TopK, a sixth of the steps": frontier}, {"reference": middle_marks, "mine": my_marks})

# %% [markdown]
# ### The lie, measured
#
# The same architecture once more, shorter, and with the sinks left in the training data. Then the same SAE is marked
# twice, on the same lines, with the sinks in the sums and without them. (Lines that it was trained on, since the held-out
# ones may have no sink at all.) Expect the first number to look clearly better than the second; only the second is about text.

# %%
torch.manual_seed(0)
naive = sae.TopK(d_model, 8 * d_model, k=32).to(setting.device)
short = sae.TrainConfig(steps=sizes.steps // 5, batch_size=sizes.batch_size, lr=3e-3)
_ = sae.train(naive, train_middle.values, config=short, progress="with sinks")

# %%
marked = train_middle[: sizes.tokens // 4]
flattered, honest = sae.evaluate(naive, marked, keep_sinks=True), sae.evaluate(naive, marked)
print(f"one SAE, two numbers: FVU {flattered.fvu:.3f} with the sinks, {honest.fvu:.3f} without")

# %% [markdown]
# ## Do latents mean anything?
#
# A good FVU doesn't say so. So ask something that a rule can decide: is this token a month, a digit, a food word, the
# first word of a sentence? For each of these labels, take the best single latent and see how well "it is above a
# threshold", the best of eight, predicts the label (F1: 1 is perfect). Beside it, found in the same way and with either
# sign, the best single coordinate of the residual stream. We call it a neuron for short. It isn't one of an MLP, and nothing
# says that the model uses these axes: a modest rival.

# %%
labels = latents.token_labels(model, test_middle)
names, truth = labels.frequent(at_least=20)
print(len(names), "labels with at least 20 tokens:", ", ".join(names[:8]), "…")

# %%
kept = ~test_middle.is_sink
latent_f1, best_latents = latents.best_f1(latents.encoder(reference), test_middle.values[kept], truth[:, kept])
neuron_f1, _ = latents.best_f1(lambda x: x, test_middle.values[kept], truth[:, kept], both_signs=True)
plots.label_scores(names, latent_f1, neuron_f1, "middle layer: which label does one feature know?")

# %% [markdown]
# The same for the last layer, where the model is about to speak. Expect lower figures: there the next word counts for more
# than the one just read.

# %%
last_f1, _ = latents.best_f1(latents.encoder(last_reference), test_last.values[kept], truth[:, kept])
last_neuron_f1, _ = latents.best_f1(lambda x: x, test_last.values[kept], truth[:, kept], both_signs=True)
print(f"mean F1, middle layer: latents {latent_f1.mean():.2f}, neurons {neuron_f1.mean():.2f}")
print(f"mean F1, last layer:   latents {last_f1.mean():.2f}, neurons {last_neuron_f1.mean():.2f}")

# %% [markdown]
# Fair? The best of 4,608 latents on the very tokens that it is scored on: with so many to choose from, some will fit by
# chance, and there are more latents than neurons. So choose on one half of the held-out lines and score on the other,
# with a logistic regression on one and on five features (a *k-sparse probe*). Expect latents far ahead in F1 and behind
# in AUROC: on most tokens a latent is exactly 0, so it can't rank those that it is silent on, and a neuron always can.

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
        print(f"{k} {kind}: mean F1 {scores.f1.mean():.2f}, AUROC {scores.auroc.mean():.2f} ({int(enough.sum())} labels)")

# %% [markdown]
# The next cell leaves the figures above in the notebook, for `make run`. Nothing to do.

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
    original_sae=original_marks.figures(),
    reference_middle=middle_marks.figures(),
    reference_delta_ce=cost.delta,
    reference_kl=cost.kl,
    reference_ce_recovered=cost.recovered,
    frontier=[marks.figures() for marks in frontier],
    reference_last=last_marks.figures(),
    naive_fvu_with_sinks=flattered.fvu,
    naive_fvu_without_sinks=honest.fvu,
    sink_share_of_variance=sink_share,
    labels=label_figures,
    sparse_probe_f1=probes,
)

# %% [markdown]
# ## Task 2.4: top contexts (0.5 points)
#
# **What you learn**: to look at a latent. **What to expect**: traps; the original fell into two of them.
#
# Return the indices of the `k` tokens on which a latent fires most strongly, strongest first,
#
# - **at most one per line** (`text_ids`), or five hits in one paragraph pass for a pattern;
# - **only activations above 0**: a dead latent has no contexts, and sorting its zeros gives five random tokens, which
#   is what the original printed for its dead latents;
# - **no special tokens** (`special_ids`), which stand for no text. If a line's strongest token is special, its
#   strongest ordinary one counts.
#
# <details><summary>Hint</summary>
#
# Walk through `latent.argsort(descending=True)` and remember which lines you have seen. Stop at the first zero.
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
    """Rows of the k strongest activations: one per line, above 0, no special tokens."""
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
# Twelve latents in three groups: 0, 1 and 2, as in the original, a fair sample since nobody chose them; five that a
# rule points to, where a latent is furthest ahead of the best neuron (punctuation and digits left out); and four drawn from
# those that are alive, neither rare nor everywhere, and fire in several lines.

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
# One pass gives their activations on every harvested token; your function picks the contexts. The peak token stands
# in brackets, its activation at the end of the row; the darker a token, the more the latent fires on it, within its latent's
# rows. Expect some seconds.

# %%
special_ids = hooks.special_ids(model)
looked_at = [0, 1, 2, *labelled, *drawn]
activity = latents.latent_values(reference, middle, looked_at)
activity[middle.is_sink] = 0


def contexts_of(latent_index: int, k: int = 5):
    values = activity[:, looked_at.index(latent_index)]
    rows = top_contexts(values, middle.text_ids, middle.token_ids, special_ids, k)
    return [latents.context(model, middle, values, row) for row in rows]


# %% [markdown]
# Latents 0, 1 and 2. An empty list is a dead latent.

# %%
plots.contexts({f"latent {i}": contexts_of(i) for i in range(3)})

# %% [markdown]
# Five that a rule points to. Cover the titles and guess. A title may surprise you: F1 is measured over all tokens above a
# threshold, and these are the five strongest. What fires hardest needn't be what the rule counts.

# %%
titles = {i: f"latent {i} (best for {names[best_for[i]]!r}, F1 {latent_f1[best_for[i]]:.2f})" for i in labelled}
plots.contexts({title: contexts_of(i) for i, title in titles.items()})

# %% [markdown]
# And four that no rule was asked about. Most of what an SAE finds is here. What do *they* mean? Change the seed to
# draw others.

# %%
plots.contexts({f"latent {i}": contexts_of(i) for i in drawn or [0]})

# %% [markdown]
# Top contexts flatter, too: they show a latent at its strongest only. The browser below adds random examples from the
# whole range of activations, the tokens that a latent promotes through the unembedding, and its nearest latents. Search
# for a word or a label, and step with the arrow keys on the slider. The same pages stand in `latents.html`, which opens
# in any browser.

# %%
some = list(dict.fromkeys([*looked_at, *usable[:60].tolist()]))
latent_pages = latents.pages(model, reference, test_middle, some, labels)
print(latents.write_dashboard("latents.html", latent_pages, len(test_middle)))

# %%
latents.Browser(latent_pages).show()

# %% [markdown]
# Contexts that were found can only agree with a story. A test can prove it wrong: write a sentence in which the latent
# should fire if you are right, and one in which it should stay silent. Expect a row for each of the twelve that fires at
# all; change the sentence as often as you like.

# %%
my_sentence = "So happy! The oldest house in town is the most beautiful, so that people pay in gold coins to see it."


def fires_on(text: str):
    found = harvest(model, [text], middle_name, progress=False)
    values = latents.latent_values(reference, found, looked_at)
    peaks = {i: int(values[:, column].argmax()) for column, i in enumerate(looked_at) if values[:, column].max() > 0}
    return {f"latent {i}": [latents.context(model, found, values[:, looked_at.index(i)], peak)] for i, peak in peaks.items()}


plots.contexts(fires_on(my_sentence))

# %% [markdown]
# ## Task 2.5: what three latents mean (1 point, written)
#
# Choose three latents, at least one of which no label pointed to. The next cell says what to write.

# %% [markdown] task="2.5" points=1 role="written"
# For each latent: its number; what you say it means, in one sentence (on which tokens, in which surroundings); **evidence for** (quote two contexts); and
# **evidence against** or a test that could have proven you wrong: a context that doesn't fit, a token on which it
# should have fired and didn't (`fires_on`). Say how sure you are. A latent without a clear meaning is a valid finding
# if you show why.
#
# <!-- BEGIN SOLUTION -->
# *(Numbers depend on the run; these are readings of the figures above, smollm2, text `written`.)*
#
# **Latent 3289** fires on superlatives. For: "This is too bad. The[ worst] part was when the director", "I do not want anything
# but the[ best] for your family". Against: four of its five strongest contexts are "worst", so it could be a latent for bad
# things. My test: "The[ oldest] house in town", which is neither. It fires there with 34.6, two thirds of its strongest, so
# the mood isn't what it needs. What I can't rule out is that it is several things and I saw the strongest. Fairly sure.
#
# **Latent 1092**, to which no label pointed, fires on materials. For: "made from high-quality[ materials]", "sheet of paper from
# raw[ material]". Against: all five contexts have this one word, so it may be the word and nothing else. My test: a sentence
# without it. In mine it fires on "[ coins]", behind "gold", with 12.7, less than half of its strongest, and a little on "people",
# which no story of mine explains. So it isn't the word alone, and my claim becomes "the word, and faintly what things are made
# of". Sure of the first half, unsure of the second.
#
# **Latent 3966**, to which no label pointed either, has no clear meaning. "under the[ guidance] of a Polish teacher" and "nothing
# but an[ excuse] for the crap" would be a noun whose preposition comes next, but in "yelling[ at] her team" it fires on
# the preposition, and "glor[ification] of" is the end of a word. In my sentence it was silent, which holds no such noun, so
# that says nothing. I wouldn't name it.
# <!-- END SOLUTION -->

# %% [markdown] task="2.5" role="rubric"
# **Rubric (1 point): for each of the three latents a third**
#
# - 0.1: a claim that could be wrong, in one sentence, about tokens and, where that matters, their surroundings.
# - 0.1: evidence for: two quoted contexts of the student's own run that fit the claim.
# - 0.13: evidence against: a counterexample, or a test that would have shown the claim false and its result. Repeating
#   the evidence for with other words is 0.
# - An unclear latent, shown to be unclear, gets full marks. A confident story about a dead latent gets none.

# %% [markdown]
# ## Bonus 2.6: steer with a latent (1 point)
#
# **What you learn**: whether a latent is a cause or only a correlate. **What to expect**: a model that can't leave one thing
# alone, a topic or a comma.
#
# A latent's decoder row is a direction of the residual stream. Add it while the model writes, as in notebook 1. Choose
# a label (`data.labels.LABELS` has them all), a latent and a strength, so that the share of texts with a word of that
# label **rises by at least 0.3**, at no more than 3 times the perplexity. Leave them in `bonus_label`, `bonus_latent`
# and `bonus_coefficient`. The grader steers by itself, with the row of `reference` that you name; where our own solution
# reaches less, 60% of its rise is enough.
#
# <details><summary>Hint</summary>
#
# A decoder row has norm 1, so the strength is the norm of the push: start at about half of `norms.median()`, the median norm
# of the activations from above. `names` holds the labels whose best latent is known, and
# `best_latents[names.index("food word")]` is one. But the latent that knows a label best needn't be the one that causes it.
# What a direction raises in the output, `features.promoted_tokens(model, reference.W_dec[i])` tells. Try several, and read the
# texts.
#
# </details>


# %% task="2.6" points=1 bonus=true
def make_latent_hooks(module, latent_index: int, strength: float) -> list[tuple]:
    """One hook on `middle_name` that adds strength × the latent's decoder row at the last position."""
    ### BEGIN SOLUTION
    direction = strength * module.W_dec[latent_index].detach()

    def push_latent(resid, hook):
        resid[:, -1, :] += direction.to(resid)
        return resid

    return [(middle_name, push_latent)]
    ### END SOLUTION


### BEGIN SOLUTION
# A latent that knows a label needn't cause it: it fires on the word, and what comes next is another matter. So take for each
# label the latent whose direction raises most of the label's words through the unembedding (what it does, not what it reads),
# try the 20 that raise most on a few other prompts, and keep what moves its label most.
raised = [[token for token, _ in high] for high, _ in latents.promoted_by_each(model, reference.W_dec.detach(), k=10)]
carries = {token: torch.tensor(data.labels.label_tokens([token]).any(1)) for tokens in raised for token in tokens}
counts = torch.stack([torch.stack([carries[token] for token in tokens]).sum(0) for tokens in raised])  # [d_sae labels]
most, latent_of = counts.max(0)
strength = 0.6 * norms.median().item()
grid = [(data.labels.LABELS[i], int(latent_of[i]), strength) for i in most.argsort(descending=True).tolist()[:20]]
trial_sets = [[], *(make_latent_hooks(reference, latent, strength) for _, latent, strength in grid)]
plain, *pushed = hooks.generate_many(model, data.TRIAL_PROMPTS[: sizes.trial], trial_sets, sizes.new_tokens, progress="try latents")


def gain_of(option, texts):
    too_dear = steering.perplexity(texts) > 2.5 * steering.perplexity(plain)
    return -too_dear + checks.label_share(model, texts, option[0]) - checks.label_share(model, plain, option[0])


(bonus_label, bonus_latent, bonus_coefficient), _ = max(zip(grid, pushed, strict=True), key=lambda pair: gain_of(*pair))
### END SOLUTION
print(f"label {bonus_label!r}, latent {bonus_latent}, strength {bonus_coefficient:.0f}")

# %%
prompts = data.PROMPTS[: sizes.prompts]
hook_sets = [[], make_latent_hooks(reference, bonus_latent, bonus_coefficient)]
unsteered, steered = hooks.generate_many(model, prompts, hook_sets, sizes.new_tokens, progress="steer")
for before, after in list(zip(unsteered, steered, strict=True))[:5]:
    print(f"{before.prompt} …\n   unsteered:{before.text!r}\n   steered:  {after.text!r}")

# %% task="2.6" role="check"
checks.task_2_6(model, unsteered, steered, bonus_label, quick)

# %% [markdown]
# ## Bonus 2.7: beat the reference (1 point)
#
# Train an SAE that explains more of the held-out middle layer than `reference` does, with no more active latents per
# token: a lower FVU at the same L0. Longer, wider, better scheduled, another architecture: anything goes, except
# training on held-out lines. Leave it in `bonus_sae`. The grader compares the two on lines that neither has seen.

# %% task="2.7" points=1 bonus=true
### BEGIN SOLUTION
import copy

bonus_sae = copy.deepcopy(reference)  # another round for the same SAE, with larger batches and so less noise
more = sae.TrainConfig(steps=max(10, sizes.steps // 4), batch_size=2 * sizes.batch_size, lr=3e-3, seed=1)
sae.train(bonus_sae, train_middle, config=more, progress="once more")
### END SOLUTION
print(sae.evaluate(bonus_sae, test_middle))

# %% task="2.7" role="check"
checks.task_2_7(model, bonus_sae, reference, test_middle, quick)
