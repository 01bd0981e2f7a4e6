"""TopK sparse autoencoder (Gao et al. 2024, "Scaling and evaluating sparse autoencoders")."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from helpers.kernels.hardware import bf16_is_fast
from helpers.kernels.sparse_latents import Active, decode_sparse, encode_at
from helpers.sae.base import Architecture, SAEError, Step


class TopK(Architecture):
    """SAE with z = TopK(W_enc(x − b_dec) + b_enc) and x̂ = W_dec z + b_dec; z ≥ 0 has at most ``k`` entries above 0.

    Args:
        d_in: width of the activations.
        d_sae: number of latents.
        k: maximum number of active latents per token.

    Raises:
        SAEError: a size is below 1, or ``k`` isn't from 1 to ``d_sae``.
    """

    architecture = "topk"
    aux_coefficient = 1 / 32  # weight of the AuxK loss, as in the paper

    def __init__(self, d_in: int, d_sae: int, k: int = 32):
        super().__init__(d_in, d_sae)
        if not 1 <= k <= d_sae:
            raise SAEError(f"{type(self).__name__}(d_sae={d_sae}, k={k}): choose k from 1 to d_sae.")
        self.k = k

    def encode(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_sae"]:
        """Return the latents: at most ``k`` of them above 0, the others exactly 0."""
        pre = self.pre_activations(x)
        top = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())

    def training_step(self, x: Float[Tensor, "n d_in"], dead: Bool[Tensor, " d_sae"], pressure: float = 1.0) -> Step:
        """Return the squared error per token plus AuxK, which trains dead latents on the remaining error.

        Only active latents are decoded and back-propagated. The gradients equal those of the dense forward pass.
        """
        active = self._choose(x)
        z = encode_at(x, self.W_enc, self.b_enc, self.b_dec, active).relu()
        loss, x_hat = self._error(x, active, z)
        if dead.any():
            loss = loss + self.aux_coefficient * self._auxk(x, (x - x_hat).detach(), dead)
        fired = torch.zeros(self.d_sae, dtype=torch.bool, device=x.device)
        fired[active.latents[z.detach() > 0]] = True
        return Step(loss, x_hat.detach(), fired, z.detach())

    def _error(self, x, active: Active, z) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_in"]]:
        """Return the squared error per token, and the reconstruction."""
        x_hat = decode_sparse(active, z, self.W_dec) + self.b_dec
        return (x - x_hat).pow(2).sum(-1).mean(), x_hat

    @torch.no_grad()
    def _scores(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_sae"]:
        """Return pre-activations to rank latents by: in bf16 where that is fast, since only the order matters."""
        dtype = torch.bfloat16 if bf16_is_fast(x.device.type) else x.dtype
        return F.linear((x - self.b_dec).to(dtype), self.W_enc.T.to(dtype), self.b_enc.to(dtype))

    def _choose(self, x: Float[Tensor, "n d_in"]) -> Active:
        """Return the ``k`` latents with the largest pre-activations of each token."""
        chosen = self._scores(x).topk(self.k, dim=-1, sorted=False).indices
        return Active(chosen.flatten(), torch.arange(0, chosen.numel(), self.k, device=x.device), self.d_sae)

    def _auxk(self, x, error, dead: Bool[Tensor, " d_sae"]) -> Float[Tensor, ""]:
        """Return ‖e − ê‖², with ê from the strongest dead latents. They are few, so dense products are fastest."""
        rows = dead.nonzero()[:, 0]
        k = min(max(1, self.d_in // 2), len(rows), 256)
        pre = (x - self.b_dec) @ self.W_enc.T[rows].T + self.b_enc[rows]
        top = pre.topk(k, dim=-1, sorted=False)
        z = torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
        return (error - z @ self.W_dec[rows]).pow(2).sum(-1).mean()
