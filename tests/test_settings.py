"""The three environment variables, and what follows from them."""

from __future__ import annotations

import pytest
import torch

from helpers import settings as settings_module
from helpers.settings import FULL, FULL_GPU, QUICK, SettingsError, settings

NAMES = ("HOMEWORK_MODEL", "HOMEWORK_TEXT", "HOMEWORK_BUDGET")


@pytest.fixture
def machine(monkeypatch):
    """Return ``machine(gpu, bf16)``, which fakes a machine with or without each; no variable is set."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def fake(gpu: bool, bf16: bool):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(
            settings_module, "bf16_is_fast", lambda device: bf16 and device == ("cuda" if gpu else "cpu")
        )
        return monkeypatch

    return fake


def test_defaults_are_smollm2_written_and_full(machine):
    machine(gpu=False, bf16=False)
    actual = settings()
    assert (actual.model, actual.text, actual.budget) == ("smollm2", "written", "full")
    assert (actual.device, actual.dtype, actual.sizes) == ("cpu", torch.float32, FULL)


@pytest.mark.parametrize(
    ("gpu", "budget", "sizes"),
    [(False, "full", FULL), (False, "quick", QUICK), (True, "full", FULL_GPU), (True, "quick", QUICK)],
)
def test_sizes_follow_budget_and_device(machine, gpu, budget, sizes):
    machine(gpu, bf16=True).setenv("HOMEWORK_BUDGET", budget)
    actual = settings()
    assert (actual.sizes, actual.device, actual.dtype) == (sizes, "cuda" if gpu else "cpu", torch.bfloat16)


def test_variables_are_read_each_time(machine):
    patch = machine(gpu=False, bf16=False)
    patch.setenv("HOMEWORK_MODEL", "gpt2")
    patch.setenv("HOMEWORK_TEXT", "wikitext")
    assert (settings().model, settings().text) == ("gpt2", "wikitext")
    patch.setenv("HOMEWORK_MODEL", "")  # empty counts as unset
    assert settings().model == "smollm2"
    line = str(settings())
    assert "HOMEWORK_MODEL=smollm2" in line and "HOMEWORK_TEXT=wikitext" in line and "HOMEWORK_BUDGET=full" in line
    assert "cpu" in line and "float32" in line


@pytest.mark.parametrize("budget", ["Quick", "half", "0"])
def test_an_unknown_budget_is_refused(machine, budget):
    machine(gpu=False, bf16=False).setenv("HOMEWORK_BUDGET", budget)
    with pytest.raises(SettingsError, match=f"HOMEWORK_BUDGET='{budget}': choose 'full'.*'quick'"):
        settings()


def test_quick_is_smaller_everywhere():
    for name in QUICK.__dataclass_fields__:
        assert getattr(QUICK, name) <= getattr(FULL, name) <= getattr(FULL_GPU, name), name


@pytest.mark.parametrize(
    ("instructions", "maker", "amx", "fast"),
    [
        (False, "AuthenticAMD", False, False),
        (True, "AuthenticAMD", False, True),
        (True, "GenuineIntel", False, False),
        (True, "GenuineIntel", True, True),
    ],
)
def test_bf16_is_fast_on_some_processors(monkeypatch, instructions, maker, amx, fast):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr("helpers.kernels.hardware.processor", lambda: f"vendor_id : {maker}")
    assert settings_module.bf16_is_fast.__wrapped__("cpu") is fast
    assert settings_module.bf16_is_fast.__wrapped__("mps") is False
