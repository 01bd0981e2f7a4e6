"""VADER sentiment scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from helpers.sentiment.few_shot import check_texts


def vader(texts: Sequence[str]) -> Float[Tensor, " n"]:
    """Return VADER's compound score, −1 to 1, from a word list and rules (Hutto and Gilbert 2014)."""
    check_texts(texts)
    return torch.tensor([_vader().polarity_scores(text)["compound"] for text in texts])


@lru_cache(maxsize=1)
def _vader():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


VADER_NEUTRAL = 0.05  # VADER's authors call compound scores within ±0.05 neutral


def shares(scores: Float[Tensor, " n"], neutral: float = 0.0) -> tuple[float, float]:
    """Return the share of scores above ``neutral`` and the share below ``-neutral``."""
    return (scores > neutral).float().mean().item(), (scores < -neutral).float().mean().item()
