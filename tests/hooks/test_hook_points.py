"""An edit at a hook point does what a forward pass written by hand does, or the hook point is refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from helpers import harvest, hooks, load_model, sae
from helpers.hooks import HookError, check_names
from helpers.kernels.fused import fused
from tests import families, tiny

PROMPT = "the food was great . i think that"
LAYER = 1
STREAM = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
TEXTS = [PROMPT, "my room is horrible . we hate it", "on monday we went to the city ."]


@pytest.fixture(scope="module", params=["gpt2", "llama", "qwen3", "gemma3"])
def pair(request, tiny_folder, tmp_path_factory):
    """The bridge, and Hugging Face's own model of the same folder."""
    if request.param == "gpt2":
        folder = tiny_folder
    elif request.param == "llama":
        folder = tiny.random_llama(tmp_path_factory.mktemp("llama"))
    else:
        folder = families.random_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, device="cpu"), AutoModelForCausalLM.from_pretrained(folder).eval()


def delta(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def by_hand(hf, tokens, point: str, change) -> torch.Tensor:
    """Return the last log-probabilities of a forward pass with ``change`` applied at ``point`` of block ``LAYER``."""
    captured: dict[str, dict] = {}
    gpt2 = hasattr(hf, "transformer")
    blocks = hf.transformer.h if gpt2 else hf.model.layers
    handles = []
    if not gpt2:  # rotary positions and masks, as the model itself passes them
        for i, block in enumerate(blocks):
            keep = lambda m, args, kwargs, i=i: captured.__setitem__(i, kwargs)  # noqa: E731 (a one-line hook)
            handles.append(block.self_attn.register_forward_pre_hook(keep, with_kwargs=True))
        hf(tokens)
    for handle in handles:
        handle.remove()

    def at(name, i, value):
        return change(value) if (name, i) == (point, LAYER) else value

    if gpt2:
        resid = hf.transformer.wte(tokens) + hf.transformer.wpe(torch.arange(tokens.shape[1]))
    else:
        resid = hf.model.embed_tokens(tokens)
    for i, block in enumerate(blocks):
        resid = at("resid_pre", i, resid)
        if gpt2:
            attn_out = block.attn(block.ln_1(resid))[0]
            mlp = lambda x, block=block: block.mlp(block.ln_2(x))  # noqa: E731
        else:
            given = {k: v for k, v in captured[i].items() if k not in ("hidden_states", "past_key_values")}
            attn_out = block.self_attn(hidden_states=block.input_layernorm(resid), **given)[0]
            if hasattr(block, "pre_feedforward_layernorm"):  # Gemma
                attn_out = block.post_attention_layernorm(attn_out)
                mlp = lambda x, b=block: b.post_feedforward_layernorm(b.mlp(b.pre_feedforward_layernorm(x)))  # noqa: E731
            else:
                mlp = lambda x, block=block: block.mlp(block.post_attention_layernorm(x))  # noqa: E731
        mid = at("resid_mid", i, resid + at("attn_out", i, attn_out))
        resid = at("resid_post", i, mid + at("mlp_out", i, mlp(mid)))
    final = hf.transformer.ln_f if gpt2 else hf.model.norm
    return hf.lm_head(final(resid))[0, -1].log_softmax(-1)


def test_the_forward_pass_by_hand_equals_the_model(pair):
    model, hf = pair
    tokens = model.to_tokens(PROMPT)
    plain = by_hand(hf, tokens, "nowhere", None)
    assert torch.allclose(plain, hf(tokens).logits[0, -1].log_softmax(-1), atol=1e-5)
    assert torch.allclose(plain, model(tokens)[0, -1].log_softmax(-1), atol=1e-3)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("point", STREAM)
def test_an_edit_of_the_stream_reaches_the_output(pair, point, in_place):
    model, hf = pair
    tokens, push = model.to_tokens(PROMPT), delta(model.cfg.d_model)

    def added(value):
        value = value.clone()
        value[:, -1] += push
        return value

    def hook(value, hook):
        if in_place:
            value[:, -1] += push
            return None
        return added(value)

    name = f"blocks.{LAYER}.hook_{point}"
    expected = by_hand(hf, tokens, point, added)
    assert (expected - by_hand(hf, tokens, "nowhere", None)).abs().max() > 0.1
    found = model.run_with_hooks(tokens, fwd_hooks=[(name, hook)])[0, -1].log_softmax(-1)
    assert torch.allclose(found, expected, atol=1e-3)
    with torch.no_grad(), model.hooks(fwd_hooks=[(name, hook)]), fused(model):
        assert torch.allclose(model.original_model(tokens).logits[0, -1].log_softmax(-1), expected, atol=1e-3)


@pytest.mark.parametrize("point", STREAM)
def test_generation_writes_the_token_that_the_forward_pass_by_hand_predicts(pair, point):
    model, hf = pair
    tokens, written = model.to_tokens(PROMPT), []
    for seed in range(4):
        push = 10 * delta(model.cfg.d_model, seed)

        def hook(value, hook, push=push):
            value[:, -1] += push
            return value

        def added(value, push=push):
            value = value.clone()
            value[:, -1] += push
            return value

        (row,) = hooks.generate_many(model, [PROMPT], [[(f"blocks.{LAYER}.hook_{point}", hook)]], 1)
        expected = by_hand(hf, tokens, point, added).argmax().item()
        written.append(expected)
        assert row[0].token_ids == ((expected,) if expected != model.tokenizer.eos_token_id else ())
    assert len(set(written)) > 1


def test_every_other_hook_point_changes_the_output_or_is_refused(pair):
    model, _ = pair
    tokens = model.to_tokens(PROMPT)
    plain = model(tokens)
    refused = []
    for name in model.hook_dict:
        if name in ("embed.hook_in", "pos_embed.hook_in") or (name.startswith("blocks") and f".{LAYER}." not in name):
            continue
        try:
            check_names(model, [name])
        except HookError as error:
            assert name.split(".")[-1] in str(error)
            refused.append(name)
            continue

        def hook(value, hook):
            return value + 0.5 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))

        changes = []
        with torch.no_grad(), model.hooks(fwd_hooks=[(name, hook)]):
            changes.append((model.original_model(tokens).logits - plain).abs().max().item())
            with fused(model):
                changes.append((model.original_model(tokens).logits - plain).abs().max().item())
        if name != "rotary_emb.hook_in":  # only its shape is used
            assert changes[0] > 1e-3, name
        assert changes[0] == pytest.approx(changes[1], rel=1e-2, abs=1e-3), name
    assert f"blocks.{LAYER}.hook_mlp_in" in refused
    assert not {f"blocks.{LAYER}.hook_{point}" for point in STREAM} & set(refused)


@pytest.mark.parametrize("use", ["generate", "harvest", "replacement"])
@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ("blocks.1.hook_attn_in", "use_attn_in"),  # must be switched on
        ("blocks.1.attn.qkv.hook_out", "never calls"),
        ("blocks.1.hook_resid_pree", "Did you mean 'blocks.1.hook_resid_pre'"),
    ],
)
def test_a_point_without_effect_is_refused_everywhere(tiny_model, use, point, reason):
    with pytest.raises(HookError, match=reason):
        if use == "generate":
            hooks.generate(tiny_model, PROMPT, [(point, lambda value, hook: value)])
        elif use == "harvest":
            harvest(tiny_model, TEXTS, point, progress=False)
        else:
            sae.replacement(tiny_model, Zero(64), TEXTS, point, progress=None)


class Zero(nn.Module):
    """The worst SAE: it decodes to zeros."""

    def __init__(self, width: int):
        super().__init__()
        self.W_dec = nn.Parameter(torch.zeros(1, width))

    def encode(self, x):
        return torch.zeros(*x.shape[:-1], 1)

    def decode(self, z):
        return z @ self.W_dec


def test_the_worst_sae_looks_bad_at_every_point_of_the_stream(tiny_model):
    found = {
        point: sae.replacement(tiny_model, Zero(64), TEXTS, f"blocks.1.hook_{point}", progress=None).delta
        for point in ("resid_pre", "resid_mid", "resid_post")
    }
    assert found["resid_mid"] > 0.5 * min(found["resid_pre"], found["resid_post"]) > 0.5


@pytest.mark.parametrize("family", ["qwen3", "pythia"])
def test_texts_start_with_bos_where_transformer_lens_would_leave_it_out(tmp_path, family):
    model = load_model(families.random_model(tmp_path, family), device="cpu")
    words = PROMPT.split()
    assert [token.strip() for token in model.to_str_tokens(PROMPT)] == ["<bos>", *words]
    rows = harvest(model, [PROMPT], "blocks.1.hook_resid_pre", progress=False)
    assert [model.tokenizer.decode([i]).strip() for i in rows.token_ids] == words
    assert hooks.generate(model, PROMPT, max_new_tokens=2).startswith(PROMPT)


def test_blocks_that_read_one_stream_twice_have_no_resid_mid(tmp_path):
    model = load_model(families.random_model(tmp_path, "pythia"), device="cpu")
    with pytest.raises(HookError, match=r"no hook point 'blocks.1.hook_resid_mid'"):
        hooks.generate(model, PROMPT, [("blocks.1.hook_resid_mid", lambda value, hook: value)])
