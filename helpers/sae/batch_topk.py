"""BatchTopK (Bussmann, Leask and Nanda 2024): k latents per token on average, more where a token needs more."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from helpers.kernels.sparse_latents import Active
from helpers.sae.base import Step
from helpers.sae.topk import TopK

REMEMBERED = 20  # batches: enough to average out noise, few enough to follow activations that still change
MOST = 4  # a token gets at most MOST * k latents, which bounds the search; few tokens come near it


class BatchTopK(TopK):
    """TopK SAE that keeps the n·k largest pre-activations of a training batch of n tokens.

    Outside training, a token's latents must not depend on its batch, so a latent is active above ``threshold``.
    The threshold is a running mean of each batch's smallest kept activation, and 0 before training.
    """

    architecture = "batchtopk"
    biases = ("b_enc", "b_dec", "threshold")
    threshold: Float[Tensor, ""]
    batches: Int[Tensor, ""]

    def __init__(self, d_in: int, d_sae: int, k: int = 32):
        super().__init__(d_in, d_sae, k)
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Return the pre-activations above the threshold, the others exactly 0."""
        pre = self.pre_activations(x)
        return pre * (pre > self.threshold)

    @torch.no_grad()
    def _choose(self, x: Float[Tensor, "n d_in"]) -> Active:
        top = self._scores(x).topk(min(MOST * self.k, self.d_sae), dim=-1, sorted=False)
        best = top.values.flatten().topk(self.k * len(x), sorted=False).indices
        kept = torch.zeros(top.values.numel(), dtype=torch.bool, device=x.device)
        kept = kept.index_fill_(0, best, True).view_as(top.values)
        counts = kept.sum(-1)
        return Active(top.indices[kept], counts.cumsum(0) - counts, self.d_sae)

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, " d_sae"], pressure: float = 1.0) -> Step:
        """Return the step of :class:`TopK`, and update the threshold."""
        step = super().training_step(x, dead, pressure)
        self._update_threshold(step.latents)
        return step

    def _update_threshold(self, z: Float[Tensor, " m"]) -> None:
        """Average over the first ``REMEMBERED`` batches, then keep a running mean over about as many."""
        active = z[z > 0]
        if len(active):
            self.batches += 1
            self.threshold += (active.min() - self.threshold) / min(REMEMBERED, int(self.batches))
