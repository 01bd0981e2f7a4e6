"""The models that generation is tested on."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["tiny_model", "llama", "gpt2"])
def model(request):
    return request.getfixturevalue(request.param)
