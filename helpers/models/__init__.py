"""Load the language model that the homework studies, from a package, the hub or a folder."""

from helpers.models.loading import load_model
from helpers.models.smollm2 import SMOLLM2_INSTALL, SMOLLM2_SHA256, ModelError, smollm2_folder

__all__ = ["SMOLLM2_INSTALL", "SMOLLM2_SHA256", "ModelError", "load_model", "smollm2_folder"]
