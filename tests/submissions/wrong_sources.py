"""Longer sources of wrong answers."""

from __future__ import annotations

from tests.submissions.books import changed

RETURN = "return total / len(sentences)"
LATE = """def make_steering_hooks(vectors, coefficient, layers=None):
    hooks = []
    for layer in range(len(vectors)) if layers is None else layers:
        def hook(resid, hook):
            resid[:, -1, :] += coefficient * vectors[layer]
            return resid
        hooks.append((f"blocks.{layer}.hook_resid_pre", hook))
    return hooks
"""
PADDED = """def collect_average_residuals(model, sentences):
    tokens = model.to_tokens(sentences)
    _, cache = model.run_with_cache(tokens)
    rows = [cache[f"blocks.{l}.hook_resid_pre"][:, 1:].mean(1).mean(0) for l in range(model.cfg.n_layers)]
    return torch.stack(rows)
"""
STALE = "totals = {}\n\n\n" + changed(
    "1.1",
    (
        RETURN,
        "totals[total.shape] = totals.get(total.shape, 0) + total / len(sentences)\n    return totals[total.shape]",
    ),
)
SAMPLED = changed(
    "1.2", ("logits[0, -1].argmax()", "torch.distributions.Categorical(logits=logits[0, -1].float()).sample()")
)


def sae_class(encode: str = "torch.randn(len(x), 64).relu()", rows: str = "torch.eye(d_model)", more: str = "") -> str:
    """Return the source of an SAE module with a fixed dictionary."""
    return f"""class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Parameter({rows}, requires_grad=False)

    def encode(self, x):
        return {encode}

    def decode(self, h):
        return h @ self.rows


my_sae = Mine()
{more}
"""


PCA = sae_class("(x - mean) @ self.rows.T", "torch.linalg.svd(centred, full_matrices=False).Vh[:d_model // 2]").replace(
    "class Mine",
    "mean = train_middle.values[:2000].mean(0)\ncentred = train_middle.values[:2000] - mean\n\n\nclass Mine",
    1,
)
