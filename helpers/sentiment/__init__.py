"""Sentiment scores of texts: smollm2 as the judge, VADER as a second opinion."""

from helpers.sentiment.few_shot import SentimentError
from helpers.sentiment.lexicon import VADER_NEUTRAL, shares, vader
from helpers.sentiment.llm_judge import asked, calibrate, is_smollm2, judge, judge_model

__all__ = [
    "VADER_NEUTRAL", "SentimentError", "asked", "calibrate", "is_smollm2", "judge", "judge_model", "shares",
    "vader",
]  # fmt: skip
