"""Base class of the architectures, and the result of a training step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class SAEError(ValueError):
    """Sizes, activations or files that an SAE can't use; the message says why."""


@dataclass(frozen=True)
class Step:
    """Result of one training step of a reference architecture."""

    loss: Float[Tensor, ""]
    x_hat: Float[Tensor, "n d_in"]
    fired: Bool[Tensor, " d_sae"]
    # Activations of all latents, or of the chosen ones only.
    latents: Float[Tensor, "..."]  # noqa: UP037 (the quotes are jaxtyping's)

    @property
    def l0(self) -> float:
        """Active latents per token. Counting millions is slow, so this is computed on request."""
        return (self.latents > 0).sum().item() / len(self.x_hat)


class Architecture(nn.Module):
    """Dictionary of ``d_sae`` directions in ``d_in`` dimensions; subclasses decide which of them are active.

    The decoder starts with random rows of norm 1, the encoder as the decoder's transpose.

    Raises:
        SAEError: a size is below 1.
    """

    architecture: ClassVar[str]
    biases: ClassVar[tuple[str, ...]] = ("b_enc", "b_dec")  # parameters in the unit of the activations
    trained = False  # whether the weights fit some activations, so that training continues from them

    def __init__(self, d_in: int, d_sae: int):
        super().__init__()
        if min(d_in, d_sae) < 1:
            raise SAEError(f"{type(self).__name__}(d_in={d_in}, d_sae={d_sae}): both must be at least 1.")
        self.d_in, self.d_sae = d_in, d_sae
        directions = nn.functional.normalize(torch.randn(d_sae, d_in), dim=-1)
        self.W_dec = nn.Parameter(directions.clone())
        # Store the encoder latent by latent, so that the rows of a few active latents can be gathered.
        self.W_enc = nn.Parameter(directions.clone().T)
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_in))

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Return the activation of every latent."""
        raise NotImplementedError

    def pre_activations(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Return π = (x − b_dec) W_enc + b_enc."""
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def decode(self, z: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_in"]:
        """Return x̂ = z W_dec + b_dec."""
        return z @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "... d_in"]) -> tuple[Float[Tensor, "... d_in"], Float[Tensor, "... d_sae"]]:
        """Return the reconstruction and the latents."""
        z = self.encode(x)
        return self.decode(z), z

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, " d_sae"], pressure: float = 1.0) -> Step:
        """Return the step of one batch. ``dead`` marks latents to revive; ``pressure`` scales a sparsity penalty."""
        raise NotImplementedError

    @torch.no_grad()
    def scale_(self, factor: float) -> None:
        """Convert an SAE of x / factor into one of x: biases, thresholds and latents grow by ``factor``."""
        scale_biases(self, self.biases, factor)


@torch.no_grad()
def scale_biases(module: nn.Module, names: Iterable[str], factor: float) -> None:
    """Multiply the parameters or buffers in the unit of the activations by ``factor``."""
    for name in names:
        getattr(module, name).mul_(factor)


def dense_step(loss: Float[Tensor, ""], x_hat: Float[Tensor, "n d_in"], z: Float[Tensor, "n d_sae"]) -> Step:
    """Return the step of an architecture that computes all its latents."""
    z = z.detach()
    return Step(loss, x_hat.detach(), z.amax(0) > 0, z)
