"""Gated SAE (Rajamanoharan et al. 2024, "Improving Dictionary Learning with Gated Sparse Autoencoders")."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from helpers.sae.base import Architecture, Step, dense_step


class Gated(Architecture):
    """SAE in which one path decides which latents are active and another how strongly; both share ``W_enc``.

    π_gate = (x − b_dec) W_enc + b_gate, z = 1[π_gate > 0] · ReLU((x − b_dec)(W_enc · exp(r_mag)) + b_mag).
    The loss is ‖x − x̂‖² + ``sparsity`` · ‖ReLU(π_gate)‖₁ + ‖x − x̂_frozen(ReLU(π_gate))‖² (the paper's equation 8).
    The last term decodes without a gradient to the decoder, so that it trains the gates.
    """

    architecture = "gated"
    biases = ("b_gate", "b_mag", "b_dec")

    def __init__(self, d_in: int, d_sae: int, sparsity: float = 1.0):
        super().__init__(d_in, d_sae)
        self.sparsity = sparsity
        del self.b_enc
        self.b_gate, self.b_mag = nn.Parameter(torch.zeros(d_sae)), nn.Parameter(torch.zeros(d_sae))
        self.r_mag = nn.Parameter(torch.zeros(d_sae))

    def _paths(self, x) -> tuple[Float[Tensor, "... d_sae"], Float[Tensor, "... d_sae"]]:
        shared = (x - self.b_dec) @ self.W_enc
        return shared + self.b_gate, torch.relu(shared * self.r_mag.exp() + self.b_mag)

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Return the magnitude of each latent with an open gate, the others exactly 0."""
        gate, magnitude = self._paths(x)
        return magnitude * (gate > 0)

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, " d_sae"], pressure: float = 1.0) -> Step:
        gate, magnitude = self._paths(x)
        z, opening = magnitude * (gate > 0), gate.relu()
        x_hat = self.decode(z)
        x_hat_of_gates = opening @ self.W_dec.detach() + self.b_dec.detach()
        loss = (x - x_hat).pow(2).sum(-1).mean() + (x - x_hat_of_gates).pow(2).sum(-1).mean()
        return dense_step(loss + pressure * self.sparsity * opening.sum(-1).mean(), x_hat, z)
