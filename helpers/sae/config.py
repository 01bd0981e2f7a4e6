"""Training settings of an SAE, and the history of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from helpers.sae.base import SAEError

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run, which sees ``steps * batch_size`` tokens.

    ``normalize`` scales activations to a mean norm of sqrt(d_in) and starts a new SAE's ``b_dec`` at their mean.
    Biases and thresholds are scaled in step, and back at the end. This is exact if the latents scale with them
    (ReLU, TopK). A module for which it isn't exact, or without ``b_enc`` and ``b_dec``, is trained unscaled.

    ``tie`` helps a short run to recover a dictionary of truly sparse features (0.1 at a learning rate of 1e-2:
    99.9% of 1,024 directions instead of 86%, ``benchmarks/sae_synthetic.py``). It hurts on a language model's
    activations: smollm2's middle layer, 500 steps, FVU 0.163 without it and 0.185 with it.
    """

    steps: int = 800
    batch_size: int = 2048
    lr: float = 2e-3
    seed: int = 0
    warmup: float = 0.05  # share of the steps in which the learning rate rises from 0
    decay: float = 0.3  # share of the steps in which the learning rate falls back to 0
    sparsity_warmup: float = 0.1  # share of the steps in which a sparsity penalty rises from 0
    clip: float = 1.0  # largest gradient norm, in units of sqrt(d_in)
    unit_norm_decoder: bool = True  # rows of W_dec stay at norm 1 (Bricken et al. 2023), a trained SAE's at theirs
    tie: float = 0.0  # how far each step pulls the encoder towards the decoder's transpose; 1 is all the way
    tied_for: float = 0.7  # share of the steps in which ``tie`` applies
    normalize: bool = True
    dead_after: float = 0.1  # a latent is dead if it hasn't fired for this share of the run's tokens
    # Shares of the steps after which dead latents are resampled if the SAE has no AuxK. Needs ``normalize``:
    # at another scale, thousands of resampled latents at once swamp what was learnt.
    resample: tuple[float, ...] = (0.25, 0.5)
    precision: str = "fp32"  # "bf16": products in bf16, weights and optimizer in fp32
    log_every: int = 10
    save_every: int = 100  # steps between checkpoints

    def __post_init__(self):
        for name in ("steps", "batch_size", "lr", "log_every", "save_every"):
            if not getattr(self, name) > 0:
                raise SAEError(f"TrainConfig({name}={getattr(self, name)}): choose a number above 0.")
        if not 0 <= self.tie <= 1:
            raise SAEError(f"TrainConfig(tie={self.tie}): choose a share from 0 to 1.")
        if self.precision not in PRECISIONS:
            raise SAEError(f"TrainConfig(precision={self.precision!r}): choose 'fp32' or 'bf16'.")

    def lr_factor(self, step: int) -> float:
        """Return the learning rate at a step, relative to ``lr``: a rise, a plateau, a fall to 0."""
        rising = (step + 1) / max(1.0, self.warmup * self.steps)
        falling = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(1.0, rising, falling)

    def pressure(self, step: int) -> float:
        """Return the share of the sparsity penalty that counts at a step."""
        return min(1.0, (step + 1) / max(1.0, self.sparsity_warmup * self.steps))

    def resamples_at(self, step: int) -> bool:
        return step in {round(share * self.steps) for share in self.resample} - {0}


@dataclass
class History:
    """History of a run, one entry per logged step; ``l0`` and ``dead_fraction`` are measured on training tokens."""

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    fvu: list[float] = field(default_factory=list)
    l0: list[float] = field(default_factory=list)
    dead_fraction: list[float] = field(default_factory=list)

    def log(self, **values) -> None:
        for name, value in values.items():
            getattr(self, name).append(value)
