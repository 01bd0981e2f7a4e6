"""TopK sparse autoencoder (Gao et al. 2024, "Scaling and evaluating sparse autoencoders")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from helpers.sae.sparse import decode_sparse, encode_at
from helpers.settings import bf16_is_fast


class SAEError(ValueError):
    """Sizes, activations or files that an SAE can't work with; the message says why."""


@dataclass(frozen=True)
class Step:
    """What one training step of a reference architecture gives back to the loop."""

    loss: Float[Tensor, ""]
    x_hat: Float[Tensor, "n d_in"]
    fired: Bool[Tensor, "d_sae"]
    l0: float


class TopK(nn.Module):
    """z = TopK(W_enc(x − b_dec) + b_enc), x̂ = W_dec z + b_dec, with z ≥ 0 and at most ``k`` entries above 0.

    Args:
        d_in: width of the activations.
        d_sae: number of latents.
        k: latents that may be active per token.

    Raises:
        SAEError: sizes below 1, or ``k`` above ``d_sae``.
    """

    architecture = "topk"
    aux_coefficient = 1 / 32  # of the AuxK loss, as in the paper

    def __init__(self, d_in: int, d_sae: int, k: int = 32):
        super().__init__()
        if min(d_in, d_sae, k) < 1 or k > d_sae:
            raise SAEError(f"TopK(d_in={d_in}, d_sae={d_sae}, k={k}): all at least 1, and k at most d_sae.")
        self.d_in, self.d_sae, self.k = d_in, d_sae, k
        directions = nn.functional.normalize(torch.randn(d_sae, d_in), dim=-1)
        self.W_dec = nn.Parameter(directions.clone())
        # The encoder starts as the decoder's transpose, and lies in memory latent by latent, so that
        # the rows of the few active latents can be gathered.
        self.W_enc = nn.Parameter(directions.clone().T)
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_in))

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Latent activations: at most ``k`` of them above 0, the others exactly 0."""
        pre = (x - self.b_dec) @ self.W_enc + self.b_enc
        top = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())

    def decode(self, z: Float[Tensor, "... d_sae"]) -> Float[Tensor, "... d_in"]:
        return z @ self.W_dec + self.b_dec

    def forward(self, x: Float[Tensor, "... d_in"]) -> tuple[Float[Tensor, "... d_in"], Float[Tensor, "... d_sae"]]:
        """Reconstruction and latents."""
        z = self.encode(x)
        return self.decode(z), z

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, "d_sae"]) -> Step:
        """Squared error per token plus AuxK, which has dead latents explain what the others left over.

        Only active latents are decoded and back-propagated; gradients equal those of the dense forward.
        """
        chosen, pre = self._choose(x)
        z = encode_at(x, self.W_enc, self.b_enc, self.b_dec, chosen).relu()
        x_hat = decode_sparse(chosen, z, self.W_dec) + self.b_dec
        error = x - x_hat
        loss = error.pow(2).sum(-1).mean()
        if dead.any():
            loss = loss + self.aux_coefficient * self._auxk(x, error.detach(), pre, dead)
        active = z.detach() > 0
        fired = torch.zeros(self.d_sae, dtype=torch.bool, device=x.device)
        fired[chosen[active]] = True
        return Step(loss, x_hat.detach(), fired, active.float().sum(-1).mean().item())

    @torch.no_grad()
    def _choose(self, x) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n d_sae"]]:
        """The k latents with the largest pre-activations; in bf16 where that is fast, since only order counts."""
        dtype = torch.bfloat16 if bf16_is_fast(x.device.type) else x.dtype
        pre = (x - self.b_dec).to(dtype) @ self.W_enc.to(dtype) + self.b_enc.to(dtype)
        return pre.topk(self.k, dim=-1, sorted=False).indices, pre

    def _auxk(self, x, error, pre, dead) -> Float[Tensor, ""]:
        k = min(max(1, self.d_in // 2), int(dead.sum()), 256)
        chosen = pre.masked_fill(~dead, -math.inf).topk(k, dim=-1, sorted=False).indices
        z = encode_at(x, self.W_enc, self.b_enc, self.b_dec, chosen).relu()
        return (error - decode_sparse(chosen, z, self.W_dec)).pow(2).sum(-1).mean()
