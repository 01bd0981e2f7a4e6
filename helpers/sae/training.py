"""One training loop for any sparse autoencoder with ``encode`` and ``decode``, the student's included."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers.caching import Activations
from helpers.sae.topk import SAEError, Step

LossFn = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x, x_hat, latents) -> scalar


@dataclass(frozen=True)
class TrainConfig:
    """How long and how to train. Tokens seen are ``steps * batch_size``.

    ``normalize`` scales activations to a mean norm of sqrt(d_in) and starts ``b_dec`` at their mean; the
    scale is folded back into the biases at the end, which is exact for latents that are positively
    homogeneous in the biases (ReLU, TopK). A module without ``b_enc`` and ``b_dec`` is trained unscaled.
    """

    steps: int = 800
    batch_size: int = 2048
    lr: float = 2e-3
    seed: int = 0
    warmup: float = 0.05  # share of the steps in which the learning rate rises from 0
    decay: float = 0.3  # share of the steps in which it falls to 0 again
    clip: float = 1.0  # largest norm of the gradient
    unit_norm_decoder: bool = True  # rows of W_dec stay at norm 1 (Bricken et al. 2023)
    normalize: bool = True
    dead_after: float = 0.1  # a latent is dead when it hasn't fired for this share of all tokens of the run
    log_every: int = 10

    def __post_init__(self):
        for name in ("steps", "batch_size", "lr", "log_every"):
            if not getattr(self, name) > 0:
                raise SAEError(f"TrainConfig({name}={getattr(self, name)}): it must be above 0.")


@dataclass
class History:
    """What happened, one entry per logged step; ``l0`` and ``dead_fraction`` are of the training tokens."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    fvu: list[float] = field(default_factory=list)
    l0: list[float] = field(default_factory=list)
    dead_fraction: list[float] = field(default_factory=list)

    def log(self, **values) -> None:
        for name, value in values.items():
            getattr(self, name).append(value)


def train(
    module: nn.Module,
    activations: Activations | Float[Tensor, "n d_in"],
    loss_fn: LossFn | None = None,
    config: TrainConfig | None = None,
    progress: str | None = "train",
) -> History:
    """Train ``module`` in place with Adam on shuffled minibatches.

    Args:
        module: anything with ``encode(x) -> latents`` and ``decode(latents) -> x_hat``.
        activations: rows to reconstruct; of :class:`Activations` the sinks are left out.
        loss_fn: ``loss_fn(x, x_hat, latents)``; ``None`` uses the reference architecture's own
            ``training_step``.
        progress: title of the progress bar; ``None`` shows none.

    Returns:
        The :class:`History` of the run.

    Raises:
        SAEError: no loss, no ``encode``/``decode``, activations with NaN or of another width, or a
            loss that became NaN; then the module keeps its last good weights.
    """
    config = config or TrainConfig()
    data = _rows(activations)
    _check(module, data, loss_fn)
    generator = torch.Generator().manual_seed(config.seed)
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        return _Run(module, data, loss_fn, config, generator, device).loop(progress)


def _rows(activations) -> Float[Tensor, "n d_in"]:
    rows = activations.without_sinks().values if isinstance(activations, Activations) else activations
    if rows.ndim != 2 or not len(rows):
        raise SAEError(f"The activations have shape {list(rows.shape)}: give at least one row, [n d_in].")
    if not torch.isfinite(rows).all():
        raise SAEError("The activations hold NaN or infinity: harvest them again, in fp32 or bf16.")
    return rows


def _check(module, data, loss_fn) -> None:
    for name in ("encode", "decode"):
        if not callable(getattr(module, name, None)):
            raise SAEError(f"{type(module).__name__} has no method {name!r}: an SAE needs encode(x) and decode(latents).")
    if loss_fn is None and not hasattr(module, "training_step"):
        raise SAEError(f"{type(module).__name__} brings no loss of its own: pass loss_fn(x, x_hat, latents).")
    width = getattr(module, "W_dec", data).shape[-1]
    if width != data.shape[-1]:
        raise SAEError(f"The SAE is {width} wide and the activations {data.shape[-1]}: build it with d_in={data.shape[-1]}.")


class _Run:
    """State of one training run."""

    def __init__(self, module, data, loss_fn, config: TrainConfig, generator, device):
        self.module, self.data, self.loss_fn, self.config = module, data, loss_fn, config
        self.generator, self.device = generator, device
        self.scale = self._start_at_the_mean() if self._scalable() else 1.0
        self.variance = (data - data.mean(0)).pow(2).sum(-1).mean().item() / self.scale**2
        self.optimizer = torch.optim.Adam(module.parameters(), lr=config.lr, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._lr_factor)
        self.silent: Tensor | None = None  # tokens since each latent last fired

    def _scalable(self) -> bool:
        return self.config.normalize and all(hasattr(self.module, name) for name in ("b_enc", "b_dec"))

    def _start_at_the_mean(self) -> float:
        scale = self.data.norm(dim=-1).mean().item() / math.sqrt(self.data.shape[-1])
        if not scale:
            raise SAEError("All activations are zero: there is nothing to learn.")
        with torch.no_grad():
            self.module.b_dec.copy_(self.data.mean(0) / scale)
        return scale

    def _lr_factor(self, step: int) -> float:
        steps, config = self.config.steps, self.config
        rising = (step + 1) / max(1.0, config.warmup * steps)
        falling = (steps - step) / max(1.0, config.decay * steps)
        return min(1.0, rising, falling)

    def loop(self, progress: str | None) -> History:
        history, config = History(), self.config
        bar = tqdm(range(config.steps), desc=progress, disable=progress is None)
        try:
            for i in bar:
                x = self._batch()
                step = self._forward(x)
                if not torch.isfinite(step.loss):
                    raise SAEError(
                        f"The loss became {step.loss.item()} at step {i}; the weights of step {i - 1} are kept. "
                        f"Try a smaller lr than {config.lr}."
                    )
                self._update(step)
                if i % config.log_every == 0 or i + 1 == config.steps:
                    self._log(history, i, x, step, bar)
        finally:
            self._fold_scale()  # also after an error or an interrupt: the module stays usable
        return history

    def _batch(self) -> Float[Tensor, "batch d_in"]:
        """The next rows of a shuffled pass over the data; a new pass begins when one is used up."""
        size = min(self.config.batch_size, len(self.data))
        if not hasattr(self, "order") or self.cursor + size > len(self.order):
            self.order, self.cursor = torch.randperm(len(self.data), generator=self.generator), 0
        rows = self.order[self.cursor : self.cursor + size]
        self.cursor += size
        return (self.data[rows] / self.scale).to(self.device, torch.float32)

    def _forward(self, x) -> Step:
        if self.loss_fn is None:
            return self.module.training_step(x, self._dead())
        latents = self.module.encode(x)
        x_hat = self.module.decode(latents)
        active = latents.detach() > 0
        return Step(self.loss_fn(x, x_hat, latents), x_hat.detach(), active.any(0), active.float().sum(-1).mean().item())

    def _dead(self) -> Bool[Tensor, "d_sae"]:
        if self.silent is None:
            self.silent = torch.zeros(self.module.W_dec.shape[0], device=self.device)
        return self.silent > self.config.dead_after * self.config.steps * self.config.batch_size

    def _update(self, step: Step) -> None:
        self.optimizer.zero_grad()
        step.loss.backward()
        if self.config.unit_norm_decoder and hasattr(self.module, "W_dec"):
            _remove_parallel_gradient(self.module.W_dec)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip * math.sqrt(self.data.shape[-1]))
        self.optimizer.step()
        self.schedule.step()
        if self.config.unit_norm_decoder and hasattr(self.module, "W_dec"):
            with torch.no_grad():
                self.module.W_dec.copy_(nn.functional.normalize(self.module.W_dec, dim=-1))
        if self.silent is None:
            self.silent = torch.zeros(len(step.fired), device=self.device)
        self.silent += self.config.batch_size
        self.silent[step.fired] = 0

    def _log(self, history: History, i: int, x, step: Step, bar) -> None:
        fvu = (x - step.x_hat).pow(2).sum(-1).mean().item() / self.variance if self.variance else math.nan
        dead = self._dead().float().mean().item() if hasattr(self.module, "W_dec") else math.nan
        history.log(step=i, loss=step.loss.item(), fvu=fvu, l0=step.l0, dead_fraction=dead)
        bar.set_postfix(loss=f"{step.loss.item():.3g}", FVU=f"{fvu:.3f}", L0=f"{step.l0:.0f}", dead=f"{dead:.1%}")

    @torch.no_grad()
    def _fold_scale(self) -> None:
        """Weights learnt on x / s serve x itself once both biases are multiplied by s; latents grow by s."""
        if self.scale != 1.0:
            self.module.b_enc.mul_(self.scale)
            self.module.b_dec.mul_(self.scale)


@torch.no_grad()
def _remove_parallel_gradient(W_dec: nn.Parameter) -> None:
    """Along the row itself the gradient only fights the norm constraint (Bricken et al. 2023)."""
    W_dec.grad -= (W_dec.grad * W_dec).sum(-1, keepdim=True) * W_dec
