"""SAELens reads SAEs saved here, and its SAEs load here.

Skipped unless SAELens' own environment exists, since installing it takes minutes: ``make bench`` creates it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peers import PEERS, environment, is_there
from helpers import sae

pytestmark = pytest.mark.slow
SAELENS = next(peer for peer in PEERS if peer.name == "sae-lens")

READ = """
import sys, numpy as np, torch
from sae_lens import SAE
for folder in sys.argv[2:]:
    module = SAE.load_from_disk(folder)
    x = torch.from_numpy(np.load(sys.argv[1]))
    with torch.no_grad():
        latents = module.encode(x)
        np.savez(folder + "/saelens.npz", latents=latents.numpy(), x_hat=module.decode(latents).numpy())
"""

WRITE = """
import sys, numpy as np, torch
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
torch.manual_seed(3)
x = torch.from_numpy(np.load(sys.argv[1]))
sizes = dict(d_in=x.shape[1], d_sae=40, dtype="float32", device="cpu")
for name, kind, config in (
    ("topk", TopKSAE, TopKSAEConfig(**sizes, k=5)),
    ("rescaled", TopKSAE, TopKSAEConfig(**sizes, k=5, rescale_acts_by_decoder_norm=True)),
    ("jumprelu", JumpReLUSAE, JumpReLUSAEConfig(**sizes)),
    ("gated", GatedSAE, GatedSAEConfig(**sizes)),
    ("standard", StandardSAE, StandardSAEConfig(**sizes, apply_b_dec_to_input=False)),
):
    module = kind(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.rand_like(parameter))
        latents = module.encode(x)
        np.savez(f"{sys.argv[2]}/{name}.npz", latents=latents.numpy(), x_hat=module.decode(latents).numpy())
    module.save_model(f"{sys.argv[2]}/{name}")
"""


@pytest.fixture(scope="module")
def python():
    if not is_there(SAELENS):
        pytest.skip("sae-lens has no environment yet: run make bench to create it")
    return environment(SAELENS)


@pytest.fixture
def x(tmp_path):
    found = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)) * 3 + 1
    np.save(tmp_path / "x.npy", found.numpy())
    return found


def run(python, code: str, *arguments) -> None:
    done = subprocess.run([str(python), "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def trained(name: str, x):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind = getattr(sae, name)
        module = kind(12, 40) if name in ("JumpReLU", "Gated") else kind(12, 40, 5)
    sae.train(module, x, config=sae.TrainConfig(steps=50, batch_size=50), progress=None)
    return module


def compare(module, x, file: Path) -> None:
    expected = np.load(file)
    with torch.no_grad():
        latents, x_hat = module.encode(x), module(x)[0]
    assert (latents > 0).any()
    for name, value in (("latents", latents), ("x_hat", x_hat)):
        assert np.abs(value.numpy() - expected[name]).max() < 1e-5 * max(1, np.abs(expected[name]).max())


def test_saelens_reads_saved_saes(python, x, tmp_path):
    modules = {name: trained(name, x) for name in ("TopK", "BatchTopK", "Matryoshka", "JumpReLU", "Gated")}
    folders = [
        sae.save(module, tmp_path / name, "smollm2", "blocks.15.hook_resid_pre") for name, module in modules.items()
    ]
    run(python, READ, tmp_path / "x.npy", *folders)
    for name, module in modules.items():
        compare(module, x, tmp_path / name / "saelens.npz")


def test_saes_saved_by_saelens_load(python, x, tmp_path):
    run(python, WRITE, tmp_path / "x.npy", tmp_path)
    for name in ("topk", "rescaled", "jumprelu", "gated", "standard"):
        assert json.loads((tmp_path / name / "cfg.json").read_text())["architecture"] in (
            "topk",
            "jumprelu",
            "gated",
            "standard",
        )
        compare(sae.load(tmp_path / name), x, tmp_path / f"{name}.npz")
