"""How much worse the model predicts if an SAE's reconstructions replace its activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from helpers.caching.activations import mark_sinks
from helpers.caching.harvesting import batches, read_batch
from helpers.caching.tokens import tokenise
from helpers.hooks.hook_points import check_names
from helpers.kernels.fused import fused


@dataclass(frozen=True)
class Replacement:
    """Cross-entropy and KL divergence in nats per token, before and after activations are replaced.

    BOS and sinks keep their own activation. Only predictions made at replaced tokens are counted.

    On text that the model wrote itself, ΔCE is about as large as the KL: the next token was drawn from the very
    distribution that the reconstruction disturbs. On other text the model is often wrong anyway, so disturbed
    predictions are right nearly as often: smollm2's ΔCE is half its KL on WikiText.

    Attributes:
        ce: cross-entropy of the next token under the unchanged model.
        ce_replaced: the same, with reconstructions.
        ce_mean: the same, with the mean activation.
        kl: from the unchanged model's predictions to those with reconstructions.
        tokens: number of counted predictions.
        sinks_left_out: number of tokens excluded as attention sinks.
    """

    ce: float
    ce_replaced: float
    ce_mean: float
    kl: float
    tokens: int
    sinks_left_out: int

    @property
    def delta(self) -> float:
        """ΔCE: the increase in cross-entropy in nats per token, 0 if the reconstruction is perfect."""
        return self.ce_replaced - self.ce

    @property
    def recovered(self) -> float:
        """1 − ΔCE / ΔCE of the mean activation. It looks too good, since the mean is a very bad activation."""
        return 1 - self.delta / (self.ce_mean - self.ce)

    def __str__(self) -> str:
        return (
            f"ΔCE {self.delta:.3f} nats of {self.ce:.3f}, KL {self.kl:.3f}, recovered {self.recovered:.3f} "
            f"({self.tokens} tokens, {self.sinks_left_out} sinks left out)"
        )


@torch.inference_mode()
def replacement(
    model, module, texts: Sequence[str], hook_name: str, context: int | None = None, progress: str | None = "replace"
) -> Replacement:
    """Return ΔCE and KL of an SAE at a hook point on lines of text, which should be held out.

    Args:
        module: anything with ``encode`` and ``decode``.
        context: maximum number of tokens per line; longer lines are cut. ``None`` takes the model's context.

    Raises:
        HarvestError: there are no lines, or one isn't text.
        HookError: the model doesn't have the hook point.
    """
    check_names(model, [hook_name])
    rows = [row for row in tokenise(model, texts, context or model.cfg.n_ctx, too_long="cut").rows if len(row) > 2]
    mean = _mean(model, rows, hook_name)

    def reconstruct(x):
        return module.decode(module.encode(x.float())).to(x.dtype)

    sums, tokens, sinks = torch.zeros(4, dtype=torch.float64), 0, 0
    for indices in tqdm(batches(rows), desc=progress, disable=progress is None):
        ids = torch.nn.utils.rnn.pad_sequence([rows[i] for i in indices], batch_first=True)
        lengths = torch.tensor([len(rows[i]) for i in indices], device=ids.device)
        places = torch.arange(ids.shape[1], device=ids.device)
        real = (places >= 1) & (places < lengths[:, None])
        sink = _sinks(model, ids, real, hook_name)
        replaced = real & ~sink
        counted = replaced[:, :-1] & (places[1:] < lengths[:, None])  # only where there is a next token to predict
        clean, with_sae, with_mean = (
            _log_probs(model, ids, counted, hook_name, change and _hook(change, replaced))
            for change in (None, reconstruct, lambda x: mean.to(x.dtype).expand_as(x))
        )
        truth = ids[:, 1:][counted]
        losses = [F.nll_loss(log_probs, truth, reduction="sum") for log_probs in (clean, with_sae, with_mean)]
        sums[:3] += torch.stack(losses).cpu()
        sums[3] += F.kl_div(with_sae, clean, log_target=True, reduction="sum").item()
        tokens += int(counted.sum())
        sinks += int(sink.sum())
    ce, ce_replaced, ce_mean, kl = (sums / tokens).tolist()
    return Replacement(ce, ce_replaced, ce_mean, kl, tokens, sinks)


def _hook(change: Callable[[Tensor], Tensor], where: Bool[Tensor, "batch pos"]):
    def replace(value, hook):
        value = value.clone()
        value[where] = change(value[where])
        return value

    return replace


def _sinks(model, ids, real, hook_name: str) -> Bool[Tensor, "batch pos"]:
    sink = torch.zeros_like(real)
    sink[real] = mark_sinks(read_batch(model, ids, [hook_name])[hook_name][real])
    return sink


def _mean(model, rows: list[Int[Tensor, " pos"]], hook_name: str, batches_read: int = 4) -> Float[Tensor, " d_model"]:
    """Return the mean activation of a few batches, sinks excluded: enough for a baseline."""
    parts = batches(rows)
    values = []
    for indices in parts[:: max(1, len(parts) // batches_read)]:
        ids = torch.nn.utils.rnn.pad_sequence([rows[i] for i in indices], batch_first=True)
        resid = read_batch(model, ids, [hook_name])[hook_name].float()
        values += [resid[row, 1 : len(rows[i])] for row, i in enumerate(indices)]
    stacked = torch.cat(values)
    return stacked[~mark_sinks(stacked)].mean(0)


def _log_probs(
    model, ids, counted: Bool[Tensor, "batch pos_minus_1"], hook_name: str, hook
) -> Float[Tensor, "counted d_vocab"]:
    with model.hooks(fwd_hooks=[(hook_name, hook)] if hook else []), fused(model):
        return model.original_model(ids, use_cache=False).logits[:, :-1][counted].float().log_softmax(-1)
