"""The homework's texts: lines to harvest, contrast sentences, prompts, and rule-based token labels."""

from helpers.data import labels
from helpers.data.contrast import NEGATIVE, POSITIVE, PROMPTS, TRIAL_PROMPTS
from helpers.data.texts import TextError, documents, lines

__all__ = ["NEGATIVE", "POSITIVE", "PROMPTS", "TRIAL_PROMPTS", "TextError", "documents", "labels", "lines"]
