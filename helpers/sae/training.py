"""Training loop for any sparse autoencoder with ``encode`` and ``decode``, including a student's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from helpers.caching.activations import Activations
from helpers.sae import checkpoints
from helpers.sae.base import Architecture, SAEError, Step, dense_step
from helpers.sae.batches import Rows, Shuffled
from helpers.sae.config import History, TrainConfig
from helpers.sae.resampling import can_resample, resample
from helpers.sae.rescaling import can_rescale, is_trained, rescale

# (x, x_hat, latents) -> a scalar, or a pair (error, sparsity penalty); the penalty is warmed up
LossFn = Callable[[Tensor, Tensor, Tensor], Tensor | tuple[Tensor, Tensor]]
SCALE_ROWS = 256  # tokens on which a change of unit is tried
RESAMPLE_ROWS = 8192  # tokens that dead latents are resampled from


def train(
    module: nn.Module,
    activations: Activations | Float[Tensor, "n d_in"],
    loss_fn: LossFn | None = None,
    config: TrainConfig | None = None,
    progress: str | None = "train",
    checkpoint: str | Path | None = None,
) -> History:
    """Train ``module`` in place with Adam on shuffled minibatches. A trained or loaded SAE is trained further.

    Args:
        module: anything with ``encode(x) -> latents`` and ``decode(latents) -> x_hat``.
        activations: rows to reconstruct; the sinks of :class:`Activations` are excluded. A memory-mapped tensor
            stays on disk.
        loss_fn: ``loss_fn(x, x_hat, latents)`` returns a scalar, or a pair (error, penalty) whose penalty is warmed
            up from 0. ``None`` uses the module's own ``training_step``.
        progress: title of the progress bar; ``None`` shows no bar.
        checkpoint: a file that is written every ``config.save_every`` steps and deleted at the end. If it exists,
            training resumes from it. On a CPU the final weights equal those of an uninterrupted run.

    Returns:
        The :class:`History` of the run.

    Raises:
        SAEError: the module has no loss or no ``encode``/``decode``; the activations hold NaN, have another width
            or are all alike; a TopK has more latents than there are tokens; the checkpoint is broken or of
            another run. Also if the loss or gradient became NaN; the module then keeps its last good weights.
    """
    config = config or TrainConfig()
    rows = Rows(activations)
    _check(module, rows, loss_fn)
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        return _Run(module, rows, loss_fn, config, device, Path(checkpoint) if checkpoint else None).loop(progress)


def _check(module, rows: Rows, loss_fn) -> None:
    for name in ("encode", "decode"):
        if not callable(getattr(module, name, None)):
            raise SAEError(
                f"{type(module).__name__} has no method {name!r}: an SAE needs encode(x) and decode(latents)."
            )
    if loss_fn is None and not hasattr(module, "training_step"):
        raise SAEError(f"{type(module).__name__} has no training_step: pass loss_fn(x, x_hat, latents).")
    width = getattr(module, "W_dec", rows.values).shape[-1]
    if width != rows.width:
        raise SAEError(f"The SAE is {width} wide, the activations {rows.width}: build the SAE with d_in={rows.width}.")
    if not rows.mean_norm:
        raise SAEError("All activations are zero: there is nothing to learn.")
    if not rows.variance:
        raise SAEError("All rows of the activations are alike: there is nothing to learn.")
    if hasattr(module, "k") and len(rows) < module.W_dec.shape[0]:
        raise SAEError(
            f"{len(rows)} tokens for {module.W_dec.shape[0]} latents: each latent could memorise one token. "
            "Harvest more tokens, or use fewer latents."
        )


class _Run:
    """State of one training run."""

    def __init__(self, module, rows: Rows, loss_fn, config: TrainConfig, device, checkpoint: Path | None):
        self.module, self.rows, self.loss_fn, self.config = module, rows, loss_fn, config
        self.device, self.checkpoint = device, checkpoint
        self.generator = torch.Generator().manual_seed(config.seed)
        self.batches = Shuffled(rows, config.batch_size, self.generator)
        scale, sample = rows.mean_norm / math.sqrt(rows.width), rows[torch.arange(min(SCALE_ROWS, len(rows)))]
        self.normalized = config.normalize and can_rescale(module, sample.to(device, torch.float32), scale)
        self.scale = scale if self.normalized else 1.0
        self.variance = rows.variance / self.scale**2
        self.optimizer = torch.optim.Adam(module.parameters(), lr=config.lr, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, config.lr_factor)
        self.keeps_norms = config.unit_norm_decoder and hasattr(module, "W_dec")
        # Decoder rows of a trained SAE keep their norms, because other norms would change what it computes.
        self.row_norms = torch.ones((), device=device)
        if self.keeps_norms and is_trained(module):
            self.row_norms = module.W_dec.detach().norm(dim=-1, keepdim=True)
        # Tokens since each latent last fired. Without W_dec, the first step says how many latents there are.
        self.silent = torch.zeros(module.W_dec.shape[0] if hasattr(module, "W_dec") else 0, device=device)
        self.history, self.first = History(), 0
        self.about = checkpoints.describe(module, rows, loss_fn, config) if checkpoint else {}

    def loop(self, progress: str | None) -> History:
        self._begin()
        bar = tqdm(total=self.config.steps, initial=self.first, desc=progress, disable=progress is None)
        try:
            for i in range(self.first, self.config.steps):
                self._step(i, bar)
                bar.update()
                if self.checkpoint and (i + 1) % self.config.save_every == 0:
                    checkpoints.write_checkpoint(self.checkpoint, self._state(i + 1))
        finally:
            bar.close()
            self._restore_unit()  # also after an error or interrupt, so that the module stays usable
        if self.checkpoint:
            self.checkpoint.unlink(missing_ok=True)
        return self.history

    def _begin(self) -> None:
        if self.checkpoint and self.checkpoint.is_file():
            self._restore(checkpoints.read_checkpoint(self.checkpoint, self.about))
            return
        new = not is_trained(self.module)
        if self.normalized and not (new and isinstance(self.module, Architecture)):
            rescale(self.module, 1 / self.scale)
        if self.normalized and new:
            with torch.no_grad():
                self.module.b_dec.copy_(self.rows.mean / self.scale)

    def _step(self, i: int, bar) -> None:
        if self.config.resamples_at(i) and self.normalized and can_resample(self.module):
            self._resample()
        x = (self.batches.next() / self.scale).to(self.device, torch.float32)
        step = self._forward(x, self.config.pressure(i))
        self._expect_finite(step.loss, "loss", i)
        self._update(step, i)
        if i % self.config.log_every == 0 or i + 1 == self.config.steps:
            self._log(i, x, step, bar)

    def _forward(self, x, pressure: float) -> Step:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            if self.loss_fn is None:
                return self.module.training_step(x, self._dead(), pressure)
            latents = self.module.encode(x)
            x_hat = self.module.decode(latents)
            loss = self.loss_fn(x, x_hat, latents)
        if isinstance(loss, tuple):
            loss = loss[0] + pressure * loss[1]
        return dense_step(loss, x_hat, latents)

    def _expect_finite(self, value: Tensor, name: str, i: int) -> None:
        if not torch.isfinite(value):
            raise SAEError(
                f"The {name} became {value.item()} at step {i}; the weights of step {i - 1} are kept. "
                f"Try a smaller lr than {self.config.lr}."
            )

    def _dead(self) -> Bool[Tensor, " d_sae"]:
        return self.silent > self.config.dead_after * self.config.steps * self.batches.size

    def _update(self, step: Step, i: int) -> None:
        self.optimizer.zero_grad()
        step.loss.backward()
        if self.keeps_norms:
            _remove_parallel_gradient(self.module.W_dec, self.row_norms)
        self._clip(i)
        self.optimizer.step()
        self.schedule.step()
        if self.keeps_norms:
            with torch.no_grad():
                self.module.W_dec /= self.module.W_dec.norm(dim=-1, keepdim=True).clamp(min=1e-12) / self.row_norms
                if self.config.tie and i < self.config.tied_for * self.config.steps:
                    self.module.W_enc.lerp_(self.module.W_dec.T, self.config.tie)
        if not len(self.silent):
            self.silent = torch.zeros(len(step.fired), device=self.device)
        self.silent += self.batches.size
        self.silent[step.fired] = 0

    def _clip(self, i: int) -> None:
        """Rescale gradients only if they are too long: multiplying all of them by 1 takes as long as Adam."""
        parameters = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        self._expect_finite(norm, "gradient", i)
        limit = self.config.clip * math.sqrt(self.rows.width)
        if norm > limit:
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)

    def _resample(self) -> None:
        dead = self._dead()
        drawn = torch.randint(len(self.rows), (min(RESAMPLE_ROWS, len(self.rows)),), generator=self.generator)
        x = (self.rows[drawn] / self.scale).to(self.device, torch.float32)
        if resample(self.module, self.optimizer, dead, x, self.generator):
            self.silent[dead] = 0

    def _log(self, i: int, x, step: Step, bar) -> None:
        fvu = (x - step.x_hat).pow(2).sum(-1).mean().item() / self.variance
        dead = self._dead().float().mean().item()
        self.history.log(step=i, loss=step.loss.item(), fvu=fvu, l0=step.l0, dead_fraction=dead)
        bar.set_postfix(loss=f"{step.loss.item():.3g}", FVU=f"{fvu:.3f}", L0=f"{step.l0:.0f}", dead=f"{dead:.1%}")

    def _restore_unit(self) -> None:
        """Turn the SAE of x / s into one of x, which computes the same, s times as large."""
        if self.normalized:
            rescale(self.module, self.scale)
        self.module.trained = True

    def _state(self, step: int) -> dict:
        return {
            "about": self.about,
            "step": step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "batches": self.batches.state_dict(),
            "silent": self.silent,
            "row_norms": self.row_norms,
            "history": asdict(self.history),
            "random": torch.random.get_rng_state(),
        }

    def _restore(self, state: dict) -> None:
        self.first = state["step"]
        for name in ("module", "optimizer", "schedule", "batches"):
            getattr(self, name).load_state_dict(state[name])
        self.silent, self.row_norms = (state[name].to(self.device) for name in ("silent", "row_norms"))
        self.history = History(**state["history"])
        torch.random.set_rng_state(state["random"])


@torch.no_grad()
def _remove_parallel_gradient(W_dec: nn.Parameter, row_norms: Tensor) -> None:
    """Remove the gradient along each row, which only works against the norm constraint (Bricken et al. 2023)."""
    assert W_dec.grad is not None
    along = (W_dec.grad * W_dec).sum(-1, keepdim=True) / row_norms**2
    W_dec.grad.addcmul_(along, W_dec, value=-1)
