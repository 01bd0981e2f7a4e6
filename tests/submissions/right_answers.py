"""Right answers to single tasks, written differently from the solution: ``(task, what is different, source)``."""

from __future__ import annotations

from tests.submissions.books import changed, stub

ANSWERS: list[tuple[str, str, str]] = [
    ("1.1", "one batch and a mask", '''def collect_average_residuals(model, sentences):
    lengths = torch.tensor([model.to_tokens(s).shape[1] for s in sentences])
    tokens = model.to_tokens(sentences)
    _, cache = model.run_with_cache(tokens, names_filter=lambda n: "resid_pre" in n)
    mask = (torch.arange(tokens.shape[1]) < lengths[:, None]) & (torch.arange(tokens.shape[1]) > 0)
    acts = torch.stack([cache[f"blocks.{i}.hook_resid_pre"] for i in range(model.cfg.n_layers)]).float()
    return (acts * mask[None, :, :, None]).sum(2).div((lengths - 1)[None, :, None]).mean(1)
'''),
    ("1.1", "float64 and a helper in a separate cell", '''def mean_of(cache, layer):
    return cache["blocks.%d.hook_resid_pre" % layer][0, 1:].double().mean(0)
# %%
def collect_average_residuals(m, texts):
    out = [torch.zeros(m.cfg.d_model, dtype=torch.float64) for _ in range(m.cfg.n_layers)]
    for t in texts:
        c = m.run_with_cache(m.to_tokens(t))[1]
        out = [o + mean_of(c, i) / len(texts) for i, o in enumerate(out)]
    return torch.stack(out)
'''),
    ("1.1", "hooks, numpy, warnings and progress bars", '''import sys, warnings
import numpy as np
from tqdm import tqdm

def collect_average_residuals(model, sentences):
    warnings.warn("this is slow")
    print("working", file=sys.stderr)
    found = np.zeros((model.cfg.n_layers, model.cfg.d_model))
    for sentence in tqdm(sentences):
        seen = {}
        def keep(resid, hook):
            seen[int(hook.name.split(".")[1])] = resid[0, 1:].mean(0).detach().cpu().numpy()
        model.run_with_hooks(model.to_tokens(sentence), fwd_hooks=[(lambda name: name.endswith("hook_resid_pre"), keep)])
        for layer, value in seen.items():
            found[layer] += value / len(sentences)
    return found
'''),
    ("1.1", "written for a GPU", '''device = torch.device("cuda:0")
# %%
def collect_average_residuals(model, sentences):
    model = model.to("cuda")
    total = torch.zeros(model.cfg.n_layers, model.cfg.d_model, device=device)
    for sentence in sentences:
        _, cache = model.run_with_cache(model.to_tokens(sentence).cuda())
        for layer in range(model.cfg.n_layers):
            total[layer] += cache[f"blocks.{layer}.hook_resid_pre"][0, 1:].to(device).float().mean(dim=0)
    torch.cuda.empty_cache()
    return total / torch.tensor(len(sentences), device="cuda")
'''),
    ("1.1", "in half precision", changed("1.1", ("return total / len(sentences)", "return (total / len(sentences)).bfloat16()"))),
    ("1.1", "a list of rows", changed("1.1", ("return total / len(sentences)", "return [row for row in total / len(sentences)]"))),
    ("1.2", "partial functions and new tensors", '''from functools import partial

def _push(resid, hook, vector=None, by=0.0):
    return torch.cat([resid[:, :-1], resid[:, -1:] + by * vector], dim=1)

def make_steering_hooks(v, c, layers=None):
    layers = list(range(v.shape[0])) if layers is None else layers
    return tuple(("blocks." + str(l) + ".hook_resid_pre", partial(_push, vector=v[l], by=c)) for l in layers)
# %%
def generate_with_steering(model, prompt, vectors, coefficient=0.0, layers=None, max_new_tokens=20):
    hooks_ = list(make_steering_hooks(vectors, coefficient, layers))
    ids = model.to_tokens(prompt)[0].tolist()
    start = len(ids)
    with model.hooks(fwd_hooks=hooks_), torch.no_grad():
        while len(ids) - start < max_new_tokens:
            nxt = int(model(torch.tensor([ids]))[0, -1].argmax())
            ids.append(nxt)
            if nxt == model.tokenizer.eos_token_id:
                break
    return model.tokenizer.decode(ids[1:])
'''),
    ("1.2", "a callable class", '''class Pusher:
    def __init__(self, vector):
        self.vector = vector
    def __call__(self, resid, hook=None):
        resid[..., -1, :] = resid[..., -1, :] + self.vector.to(resid.device, resid.dtype)

def make_steering_hooks(vectors, coefficient, layers=None):
    chosen = range(len(vectors)) if layers is None else layers
    return [[f"blocks.{layer}.hook_resid_pre", Pusher(vectors[layer] * coefficient)] for layer in chosen]
''' + "\n\ndef generate_with_steering" + changed("1.2").split("def generate_with_steering")[1]),
    ("1.3", "a number read off the plot", "best_layers = layers\nbest_coefficient = 0.3"),
    ("1.3", "numpy numbers, metadata gone", "import numpy as np\nbest_coefficient, best_layers = np.float32(0.3), np.arange(n_layers)"),
    ("1.3", "other steering vectors", '''def unit(v):
    return v / v.norm(dim=-1, keepdim=True)
# %%
steering_vectors = unit(collect_average_residuals(model, list(data.POSITIVE)) - collect_average_residuals(model, list(data.NEGATIVE)))
steering_vectors = steering_vectors * (positive_averages - negative_averages).norm(dim=-1, keepdim=True)
# %%
best_coefficient = coefficients[-1]
best_layers = list(range(model.cfg.n_layers))
'''),
    ("1.1", "a name that a later cell rebinds", "def middle(resid):\n    return resid[0, 1:].float().mean(0)\n# %%\n" + changed("1.1", ('cache[f"blocks.{layer}.hook_resid_pre"][0, 1:].float().mean(dim=0)', 'middle(cache[f"blocks.{layer}.hook_resid_pre"])')) + "\n# %%\nchecks.task_1_1(collect_average_residuals)\n# %%\ndef middle(resid):\n    return resid.mean(dim=(0, 1))"),
    ("1.2", "the answer is overwritten after its check", changed("1.2") + "\n# %%\nchecks.task_1_2(make_steering_hooks, generate_with_steering)\n# %%\nmake_steering_hooks = lambda *a, **k: []"),
    ("2.1", "methods added by setattr and by a decorator", changed("2.1", ("return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)", "raise NotDone('2.1')"), ("return h @ self.W_dec + self.b_dec", "raise NotDone('2.1')")) + """
# %%
def encode(self, x):
    return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)
setattr(SAE, 'encode', encode)
# %%
def add_to(cls):
    return lambda function: setattr(cls, function.__name__, function)
# %%
@add_to(SAE)
def decode(self, h):
    return h @ self.W_dec + self.b_dec
"""),
    ("2.1", "einsum and F.relu", changed("2.1", ("torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)", "nn.functional.relu(torch.einsum('...i,ij->...j', x - self.b_dec, self.W_enc) + self.b_enc)"), ("h @ self.W_dec + self.b_dec", "nn.functional.linear(h, self.W_dec.T, self.b_dec)"))),
    ("2.1", "methods added later", changed("2.1", ("return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)", "raise NotDone('2.1')")) + '''
# %%
def encode(self, x):
    return ((x - self.b_dec) @ self.W_enc + self.b_enc).clamp(min=0)

SAE.encode = encode
'''),
    ("2.1", "a base class and double precision inside", '''class Base(nn.Module):
    def forward(self, x):
        latents = self.encode(x)
        return [self.decode(latents), latents]
# %%
class SAE(Base):
''' + "    def __init__" + changed("2.1").split("    def __init__")[1].split("    def forward")[0].replace("torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)", "torch.relu((x.double() - self.b_dec.double()) @ self.W_enc.double() + self.b_enc.double()).float()")),
    ("2.2", "F.mse_loss", '''def sae_loss(x, x_hat, h, l1_coefficient):
    mse = nn.functional.mse_loss(x_hat, x, reduction="none").sum(dim=1)
    return torch.mean(mse + l1_coefficient * torch.norm(h, p=1, dim=1))
'''),
    ("2.2", "two star imports", "from torch.nn.functional import *\n# %%\nfrom math import *\n# %%\ndef sae_loss(x, x_hat, h, c):\n    return mse_loss(x_hat, x, reduction='sum') / len(x) + c * h.abs().sum() / len(x)"),
    ("2.2", "an edited stub after the answer", changed("2.2") + "\n# %%\n# my notes\n" + stub("2.2")),
    ("2.2", "under a magic", "%%time\n" + changed("2.2")),
    ("2.2", "sums divided by the number of tokens", '''def l1(h): return h.abs().sum() / len(h)
# %%
def sae_loss(a, b, latents, lam):
    """My loss."""
    error = ((a - b) ** 2).sum() / a.shape[0]
    return (error + lam * l1(latents)).reshape(1)
'''),
    ("2.3", "a hyperparameter that the bonus rebinds", "lam = 1.3\n# %%\ndef my_loss(x, x_hat, h):\n    return ((x - x_hat) ** 2).sum(-1).mean() + lam * h.abs().sum(-1).mean()\ntorch.manual_seed(0)\nmy_sae = SAE(d_model, 4 * d_model)\nmy_history = sae.train(my_sae, train_middle, my_loss, sae.TrainConfig(steps=150, batch_size=sizes.batch_size, lr=3e-3))\n# %%\nchecks.task_2_3(model, my_sae, test_middle, quick)\n# %%\nlam = 500.0"),
    ("2.3", "another architecture", '''torch.manual_seed(3)
my_sae = sae.TopK(d_model, 4 * d_model, k=min(40, d_model // 4))
my_history = sae.train(my_sae, train_middle, config=sae.TrainConfig(steps=sizes.relu_steps * 2, batch_size=sizes.batch_size, lr=3e-3))
'''),
    ("2.3", "trained on a GPU", '''with torch.device("cuda"):
    my_sae = sae.TopK(d_model, 4 * d_model, k=min(40, d_model // 4)).cuda()
my_sae.to(torch.device("cuda", 0))
my_history = sae.train(my_sae, train_middle, config=sae.TrainConfig(steps=sizes.relu_steps * 2, batch_size=sizes.batch_size, lr=3e-3))
'''),
    ("2.3", "made in one cell, trained in another", '''my_sae = sae.TopK(d_model, 2 * d_model, k=d_model // 8)
# %%
my_history = sae.train(my_sae, train_middle, config=sae.TrainConfig(steps=100, batch_size=sizes.batch_size, lr=3e-3))
# %%
sae.train(my_sae, train_middle, config=sae.TrainConfig(steps=50, batch_size=sizes.batch_size, lr=1e-3))
'''),
    ("2.3", "a custom module, frozen after training", '''class Little(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
    def encode(self, x):
        return self.inner.encode(x)
    def decode(self, h):
        return self.inner.decode(h)

inner = sae.TopK(d_model, 4 * d_model, k=d_model // 8)
sae.train(inner, train_middle, config=sae.TrainConfig(steps=150, batch_size=sizes.batch_size, lr=3e-3))
my_sae = Little(inner).eval().requires_grad_(False)
'''),
    ("2.4", "a dict of the best of each line", '''def top_contexts(latent, text_ids, token_ids, special_ids, k=5):
    best = {}
    for i, (value, line, token) in enumerate(zip(latent.tolist(), text_ids.tolist(), token_ids.tolist())):
        if value > 0 and token not in special_ids and (line not in best or value > latent[best[line]]):
            best[line] = i
    return sorted(best.values(), key=lambda i: -float(latent[i]))[:k]
'''),
    ("2.4", "tensors all the way", '''def top_contexts(latent, text_ids, token_ids, special_ids, k=5):
    special = torch.tensor([int(t) in special_ids for t in token_ids])
    values = latent.clone().float()
    values[special] = 0
    rows = []
    while len(rows) < k and values.max() > 0:
        row = values.argmax()
        rows.append(row)
        values[text_ids == text_ids[row]] = 0
    return torch.stack(rows) if rows else torch.empty(0, dtype=torch.long)
'''),
    ("2.6", "a new tensor, numpy numbers", changed("2.6", ("        resid[:, -1, :] += push.to(resid)\n        return resid", "        pushed = resid.clone()\n        pushed[:, -1] = pushed[:, -1] + push\n        return pushed")) + "\nimport numpy as np\nbonus_latent, bonus_coefficient = np.int64(bonus_latent), np.float64(bonus_coefficient)"),
    ("2.6", "a hook that looks at its name", changed("2.6", ("        resid[:, -1, :] += push.to(resid)", "        assert hook.name\n        resid[:, -1, :] += push.to(resid)"))),
    ("2.7", "longer training from the start", '''torch.manual_seed(1)
bonus_sae = sae.TopK(d_model, 8 * d_model, k=reference.k)
bonus_history = sae.train(bonus_sae, train_middle, config=sae.TrainConfig(steps=4 * sizes.steps, batch_size=2 * sizes.batch_size, lr=3e-3))
'''),
]  # fmt: skip
