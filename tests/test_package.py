"""The package ``helpers``: its public names, and that TransformerLens is imported only for a model."""

from __future__ import annotations

import subprocess
import sys

import pytest

import helpers
from helpers.caching.activations import Activations
from helpers.caching.harvesting import harvest
from helpers.models.loading import load_model


def test_public_names():
    assert (helpers.Activations, helpers.harvest, helpers.load_model) == (Activations, harvest, load_model)
    assert helpers.data.__name__ == "helpers.data"
    with pytest.raises(AttributeError, match="no attribute 'harvst'"):
        helpers.harvst  # noqa: B018
    assert set(helpers.__all__) == {"Activations", "data", "harvest", "load_model"}


@pytest.mark.parametrize("module", ["helpers", "grading.release.run", "grading.release.build"])
def test_modules_without_a_model_dont_import_transformer_lens(module):
    code = f"import sys, {module}; sys.exit('transformer_lens' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
