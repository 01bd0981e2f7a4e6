"""Latents: what each one responds to, and how well it matches a rule label."""

from helpers.latents.browser import Browser
from helpers.latents.contexts import Context, LatentError, context
from helpers.latents.dashboard import write_dashboard
from helpers.latents.encoding import LatentStats, encode_sparse, encoder, latent_stats, latent_values
from helpers.latents.label_scores import ProbeScores, auroc, best_f1, best_label, sparse_probe
from helpers.latents.latent_pages import SORTS, Page, find, pages
from helpers.latents.logit_lens import promoted_by_each, promoted_tokens
from helpers.latents.token_labels import TokenLabels, token_labels

__all__ = [
    "SORTS", "Browser", "Context", "LatentError", "LatentStats", "Page", "ProbeScores", "TokenLabels", "auroc",
    "best_f1", "best_label", "context", "encode_sparse", "encoder", "find", "latent_stats", "latent_values",
    "pages", "promoted_by_each", "promoted_tokens", "sparse_probe", "token_labels", "write_dashboard",
]  # fmt: skip
