"""A module is saved as what it computes, or refused if SAELens' layout can't express it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from helpers import sae
from helpers.sae.base import SAEError
from tests.sae.test_formats import D_IN, D_SAE, X, topk, weights


class Student(nn.Module):
    """A student's module; subclasses choose the activation."""

    def __init__(self):
        super().__init__()
        for name, value in weights().items():
            setattr(self, name, nn.Parameter(value))

    def encode(self, x):
        return self.act((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, z):
        return z @ self.W_dec + self.b_dec

    def act(self, values):
        return values.relu()


class StudentTopK(Student):
    k = 4

    def act(self, values):
        return topk(values, self.k)


class StudentJumpReLU(Student):
    threshold = torch.full((D_SAE,), 0.7)

    def act(self, values):
        return values * (values > self.threshold)


class OneThreshold(StudentJumpReLU):
    threshold = torch.tensor(0.7)


class WithoutInputBias(StudentTopK):
    def encode(self, x):
        return self.act(x @ self.W_enc + self.b_enc)


class StrayK(Student):
    k = 3  # not used by ReLU


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Student, "standard"), (StudentTopK, "topk"), (StudentJumpReLU, "jumprelu"), (OneThreshold, "jumprelu"),
        (WithoutInputBias, "topk"), (StrayK, "standard"),
    ],
)  # fmt: skip
def test_a_students_module_comes_back_as_what_it_computes(tmp_path, kind, written):
    module = kind()
    folder = sae.save(module, tmp_path)
    assert json.loads((folder / "cfg.json").read_text())["architecture"] == written
    with torch.no_grad():
        assert torch.allclose(sae.load(folder).encode(X), module.encode(X), atol=1e-5)


class Leaky(Student):
    def act(self, values):
        return nn.functional.leaky_relu(values)


class HiddenK(Student):
    def act(self, values):
        return topk(values, 4)


class OtherDecoder(Student):
    def decode(self, z):
        return z @ self.W_dec


class Changed(sae.TopK):
    """One of ours with another activation."""

    def __init__(self):
        super().__init__(D_IN, D_SAE, 4)

    def encode(self, x):
        return super().encode(x) ** 2


@pytest.mark.parametrize("kind", [Leaky, HiddenK, OtherDecoder, Changed])
def test_a_module_that_the_layout_cannot_express_is_refused(tmp_path, kind):
    with pytest.raises(SAEError, match=f"{kind.__name__} computes neither"):
        sae.save(kind(), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_saving_leaves_the_module_as_it_was(tmp_path):
    module = StudentTopK().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    sae.save(module, tmp_path)
    assert module.training and all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert load_file(tmp_path / "sae_weights.safetensors")["W_enc"].shape == (D_IN, D_SAE)
