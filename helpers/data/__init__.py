"""Texts of the homework: lines to harvest, sentences to steer with, labels that a rule decides."""

from helpers.data import labels
from helpers.data.contrast import NEGATIVE, POSITIVE, PROMPTS, TRIAL_PROMPTS
from helpers.data.texts import TextError, documents, lines

__all__ = ["NEGATIVE", "POSITIVE", "PROMPTS", "TRIAL_PROMPTS", "TextError", "documents", "labels", "lines"]
