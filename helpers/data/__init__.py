"""The homework's texts: lines to harvest, contrast sentences, prompts, and rule-based token labels."""

from helpers.data import labels
from helpers.data.contrast import HELD_OUT_PROMPTS, NEGATIVE, POSITIVE, TRIAL_PROMPTS
from helpers.data.texts import TextError, documents, lines

__all__ = [
    "HELD_OUT_PROMPTS", "NEGATIVE", "POSITIVE", "TRIAL_PROMPTS", "TextError", "documents", "labels", "lines",
]  # fmt: skip
