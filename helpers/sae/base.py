"""What all architectures share: four weights, decoding, and what a training step gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class SAEError(ValueError):
    """Sizes, activations or files that an SAE can't work with; the message says why."""


@dataclass(frozen=True)
class Step:
    """What one training step of a reference architecture gives back to the loop."""

    loss: Float[Tensor, ""]
    x_hat: Float[Tensor, "n d_in"]
    fired: Bool[Tensor, " d_sae"]
    latents: Float[Tensor, "..."]  # all of them, or only the chosen ones

    @property
    def l0(self) -> float:
        """Active latents per token; counted only when asked for, since counting millions takes a while."""
        return (self.latents > 0).sum().item() / len(self.x_hat)


class Architecture(nn.Module):
    """A dictionary of ``d_sae`` directions in a space of ``d_in``; subclasses say which of them are active.

    The decoder begins with random rows of norm 1 and the encoder as its transpose.

    Raises:
        SAEError: sizes below 1.
    """

    architecture: ClassVar[str]
    biases: ClassVar[tuple[str, ...]] = ("b_enc", "b_dec")  # what has the unit of the activations

    def __init__(self, d_in: int, d_sae: int):
        super().__init__()
        if min(d_in, d_sae) < 1:
            raise SAEError(f"{type(self).__name__}(d_in={d_in}, d_sae={d_sae}): both must be at least 1.")
        self.d_in, self.d_sae = d_in, d_sae
        directions = nn.functional.normalize(torch.randn(d_sae, d_in), dim=-1)
        self.W_dec = nn.Parameter(directions.clone())
        # The encoder lies in memory latent by latent, so that the rows of a few active latents can be gathered.
        self.W_enc = nn.Parameter(directions.clone().T)
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_in))

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        raise NotImplementedError

    def pre_activations(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """π = (x − b_dec) W_enc + b_enc."""
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def decode(self, z: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_in"]:
        """x̂ = z W_dec + b_dec."""
        return z @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "... d_in"]) -> tuple[Float[Tensor, "... d_in"], Float[Tensor, "... d_sae"]]:
        """Reconstruction and latents."""
        z = self.encode(x)
        return self.decode(z), z

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, " d_sae"], pressure: float = 1.0) -> Step:
        """Loss of one batch. ``dead`` are the latents to revive; ``pressure`` scales the sparsity penalty, if any."""
        raise NotImplementedError

    @torch.no_grad()
    def scale_(self, factor: float) -> None:
        """Make an SAE of x / factor one of x: biases and thresholds grow, and so do the latents."""
        for name in self.biases:
            getattr(self, name).mul_(factor)


def dense_step(loss: Float[Tensor, ""], x_hat: Float[Tensor, "n d_in"], z: Float[Tensor, "n d_sae"]) -> Step:
    """The step of an architecture that computes all its latents."""
    z = z.detach()
    return Step(loss, x_hat.detach(), z.amax(0) > 0, z)
