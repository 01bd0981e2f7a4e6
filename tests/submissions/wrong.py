"""Wrong answers, each with the feedback that it must get: ``(task, what is wrong, source, regular expression)``."""

from __future__ import annotations

from tests.submissions.books import changed
from tests.submissions.wrong_sources import LATE, PADDED, PCA, SAMPLED, STALE, sae_class

HELP_11 = ('cache[f"blocks.{layer}.hook_resid_pre"][0, 1:].float().mean(dim=0)', "return total / len(sentences)")
_READ, _RETURN = HELP_11
_ADD, _PAIR = (
    "resid[:, -1, :] += push.to(resid)",
    '(f"blocks.{layer}.hook_resid_pre", adder(coefficient * vectors[layer]))',
)
_LOOP = "logits = model.run_with_hooks(tokens, fwd_hooks=steering_hooks)"
_ENC, _DEC = "torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)", "h @ self.W_dec + self.b_dec"
_ERR, _L1 = "(x - x_hat).pow(2).sum(-1).mean()", "h.abs().sum(-1).mean()"
_SUM = "squared_error + l1_coefficient * sparsity"
_CHOICE = "best_coefficient = max(fluent_coefficients, key=curve.shift)"


def _residuals():
    def case(what, word, *pairs):
        return ("1.1", what, changed("1.1", *pairs), word)

    yield case("BOS in the mean", "BOS is averaged in", (_READ, _READ.replace("[0, 1:]", "[0]")))
    yield case(
        "BOS counted", "still counted in the division", (".mean(dim=0)", ".sum(dim=0) / sentence_tokens.shape[1]")
    )
    yield case("last token", "only the last token", (_READ, _READ.replace("[0, 1:]", "[0, -1:]")))
    yield case("first token", "only the first token", (_READ, _READ.replace("[0, 1:]", "[0, 1:2]")))
    yield case("summed tokens", "summed, not averaged", (".mean(dim=0)", ".sum(dim=0)"))
    yield case("summed sentences", "divide by their number", (_RETURN, "return total"))
    yield case("last word dropped", "the last token dropped", (_READ, _READ.replace("[0, 1:]", "[0, :-1]")))
    yield case(
        "resid_post",
        "hook_resid_post",
        (_READ, _READ.replace("resid_pre", "resid_post")),
        ('endswith("hook_resid_pre")', 'endswith("hook_resid_post")'),
    )
    yield case("only the last sentence", "only the last sentence", ("total[layer] +=", "total[layer] ="))
    yield case(
        "only the first sentence",
        "only the first sentence",
        (_RETURN, "return total"),
        ("        for layer", "        if total.any():\n            return total\n        for layer"),
    )
    yield case("layers reversed", "reverse order", (_RETURN, "return total.flip(0) / len(sentences)"))
    yield case("unit length", "normalised to length 1", (_RETURN, "return total / total.norm(dim=-1, keepdim=True)"))
    yield case("twice as long", "2 times as long", (_RETURN, "return 2 * total / len(sentences)"))
    yield case(
        "three layers, always",
        "model.cfg.n_layers",
        ("range(model.cfg.n_layers)", "range(3)"),
        ("torch.zeros(model.cfg.n_layers", "torch.zeros(3"),
    )
    yield case("no return", "return statement", (_RETURN, "total / len(sentences)"))
    yield case(
        "hooks left on",
        "hooks",
        (_RETURN, "model.add_hook('blocks.0.hook_resid_pre', lambda resid, hook: 2 * resid)\n    " + _RETURN),
    )
    yield case("model changed", "weights", (_RETURN, "model.W_U.mul_(1.5)\n    " + _RETURN))
    yield ("1.1", "padding averaged", PADDED, "padding")
    yield ("1.1", "a sum outside", STALE, "second call")


def _steering():
    def case(what, word, *pairs):
        return ("1.2", what, changed("1.2", *pairs), word)

    generate = "def generate_with_steering" + changed("1.2").split("def generate_with_steering")[1]
    yield case("sign", "sign is wrong", (_ADD, _ADD.replace("+=", "-=")))
    yield case("all positions", "all positions are steered", (_ADD, _ADD.replace(":, -1, :", ":, :, :")))
    yield case("first position", "first position is steered", (_ADD, _ADD.replace("-1", "0")))
    yield ("1.2", "late binding", LATE + "\n\n" + generate, "bind the vector early")
    yield case(
        "no coefficient", "the coefficient is missing", ("adder(coefficient * vectors[layer])", "adder(vectors[layer])")
    )
    yield case("squared", "its square is added", ("adder(coefficient *", "adder(coefficient * coefficient *"))
    yield case(
        "layers ignored",
        "`layers` is ignored",
        ("range(len(vectors)) if layers is None else layers", "range(len(vectors))"),
    )
    yield case(
        "resid_post",
        "hook_resid_pre, before it",
        ('f"blocks.{layer}.hook_resid_pre", adder', 'f"blocks.{layer}.hook_resid_post", adder'),
    )
    yield case("last position only", "Return the whole stream", ("return resid\n", "return resid[:, -1]\n"))
    yield case("replaced", "replaced by the vector", (_ADD, "resid[:, -1, :] = push.to(resid)"))
    yield case("first text only", "first text of a batch", (_ADD, _ADD.replace("[:, -1, :]", "[0, -1, :]")))
    yield case("unsteered", "unsteered model", (_LOOP, "logits = model(tokens)"))
    yield case("BOS in the text", "begins with BOS", ("tokens[0, 1:]", "tokens[0]"))
    yield case(
        "continuation only",
        "doesn't begin with the prompt",
        ("model.to_string(tokens[0, 1:])", "model.to_string(tokens[0, 6:])"),
    )
    yield case("beyond the end", "continues after", ("if next_token == model.tokenizer.eos_token_id", "if False"))
    yield ("1.2", "sampled", SAMPLED, "argmax")
    yield case("one token less", "tokens: write 10", ("range(max_new_tokens)", "range(max_new_tokens - 1)"))
    yield case(
        "steered once",
        "only the first new token",
        (_LOOP, "logits = model.run_with_hooks(tokens, fwd_hooks=steering_hooks)\n        steering_hooks = []"),
    )


def _choices():
    def case(what, word, line, before=""):
        return ("1.3", what, before + changed("1.3", (_CHOICE, line)).split("low, high")[0], word)

    yield case("negative", "isn't a positive number", "best_coefficient = -0.2")
    yield case("tiny", "larger coefficient", "best_coefficient = 1e-7")
    yield case(
        "broken text",
        "falls apart",
        "best_coefficient = 300.0",
        "steering_vectors = torch.randn(n_layers, d_model) * 1.0\n",
    )
    yield case("a word", "raises", "best_coefficient = 'large'")
    yield case(
        "reversed",
        "sign reversed",
        "best_coefficient = 0.3",
        "steering_vectors = negative_averages - positive_averages\n",
    )
    yield case("no such layer", "aren't layers", "best_coefficient = 0.3\nbest_layers = [99]")


def _autoencoder():
    def case(what, word, *pairs):
        return ("2.1", what, changed("2.1", *pairs), word)

    yield case("bias not subtracted", "doesn't subtract", (_ENC, _ENC.replace("(x - self.b_dec)", "x")))
    yield case("no ReLU", "lacks the ReLU", (_ENC, "(x - self.b_dec) @ self.W_enc + self.b_enc"))
    yield case("no encoder bias", "forgets the encoder's bias", (_ENC, "torch.relu((x - self.b_dec) @ self.W_enc)"))
    yield case("absolute", "absolute value", (_ENC, _ENC.replace("torch.relu", "torch.abs")))
    yield case("tied", "W_dec.T", (_ENC, _ENC.replace("self.W_enc", "self.W_dec.T")))
    yield case("no decoder bias", "decode forgets", (_DEC, "h @ self.W_dec"))
    yield case("encoder in decode", "W_enc.T", (_DEC, "h @ self.W_enc.T + self.b_dec"))
    yield case("order", "latents first", ("return self.decode(h), h", "return h, self.decode(h)"))
    yield case("x itself", "returns x itself", ("return self.decode(h), h", "return x.clone(), h"))
    yield case(
        "detached", "no gradient reaches", ("return self.decode(h), h", "return self.decode(h.detach()), h.detach()")
    )
    yield case("two dimensions only", "raises", (_DEC, "torch.mm(h, self.W_dec) + self.b_dec"))


def _loss():
    def case(what, word, *pairs):
        return ("2.2", what, changed("2.2", *pairs), word)

    yield case("mean of squares", "averaged over all entries", (_ERR, "(x - x_hat).pow(2).mean()"))
    yield case("L1 mean", "d_sae times too weak", (_L1, "h.abs().mean()"))
    yield case("no coefficient", "l1_coefficient is missing", (_SUM, "squared_error + sparsity"))
    yield case("both weighted", "multiplies both terms", (_SUM, "l1_coefficient * (squared_error + sparsity)"))
    yield case("L2", "squared (L2)", (_L1, "h.pow(2).sum(-1).mean()"))
    yield case("subtracted", "subtracted", (_SUM, "squared_error - l1_coefficient * sparsity"))
    yield case("root", "root of the squared error is taken", (_ERR, "(x - x_hat).pow(2).sum(-1).sqrt().mean()"))
    yield case("summed", "grows with the batch", (_ERR, "(x - x_hat).pow(2).sum()"))
    yield case("a number", "no gradient flows", (_SUM, "(squared_error + l1_coefficient * sparsity).item()"))
    yield case("L0", "(L0)", (_L1, "(h != 0).float().sum(-1).mean()"))


def _trained():
    train = "my_history = None\n"
    yield ("2.3", "identity", sae_class("x"), "dense|L0 is")
    yield (
        "2.3",
        "twice the identity",
        sae_class("torch.cat([x, -x], -1)", "torch.cat([torch.eye(d_model), -torch.eye(d_model)]) / 2"),
        "L0 is",
    )
    yield ("2.3", "principal components", PCA, "dense|L0 is")
    yield ("2.3", "all dead", sae_class("torch.zeros(len(x), d_model)"), "FVU is")
    yield ("2.3", "untrained", "torch.manual_seed(0)\nmy_sae = SAE(d_model, 4 * d_model)\n" + train, "FVU is")
    yield (
        "2.3",
        "half dead",
        sae_class("torch.cat([x, 0 * x], -1)", "torch.cat([torch.eye(d_model)] * 2)"),
        "never fire|L0 is",
    )
    yield ("2.3", "not a number", sae_class("x * float('nan')"), "NaN")
    overflow = sae_class(
        "torch.zeros(len(x), 4).index_fill(0, torch.tensor([0]), 1e19)",
        "torch.full((4, d_model), 1e19) * torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])",
    )
    yield ("2.3", "infinity minus infinity", overflow, "isn't finite|NaN|FVU is")
    yield ("2.3", "no module", "my_sae = None\n" + train, "raises")


def _contexts():
    def case(what, word, *pairs):
        return ("2.4", what, changed("2.4", *pairs), word)

    yield case("repeats", "more than once", ("if line_id not in seen_lines and", "if"))
    yield case("zeros", "dead latent", ("latent[row] <= 0 or ", ""))
    yield case("special tokens", "special token is among", (" and int(token_ids[row]) not in special_ids", ""))
    yield case("ascending", "ascending", ("descending=True", "descending=False"))
    yield case("five, always", "`k` is ignored", ("len(chosen) == k", "len(chosen) == 5"))
    yield case("values", "activations are returned", ("return chosen", "return [float(latent[row]) for row in chosen]"))
    yield case(
        "special lines dropped",
        "strongest token is special",
        (
            "if line_id not in",
            "seen = line_id in seen_lines\n        if int(token_ids[row]) in special_ids:\n            seen_lines.add(line_id)\n        if not seen and line_id not in",
        ),
    )
    yield case("tensors in a set", "more than once", ("line_id = int(text_ids[row])", "line_id = text_ids[row]"))


def _bonus():
    def case(what, word, *pairs):
        return ("2.6", what, changed("2.6", *pairs), word)

    choice = "(bonus_label, bonus_latent, bonus_coefficient), _ = max(zip(grid, pushed, strict=True), key=lambda pair: gain_of(*pair))"
    yield case("no push", "rises by", (choice, "bonus_label, bonus_latent, bonus_coefficient = names[0], 3, 0.0"))
    yield case(
        "no such latent",
        "isn't a latent",
        (choice, "bonus_label, bonus_latent, bonus_coefficient = names[0], 10**6, 5.0"),
    )
    yield case(
        "no such label",
        "isn't one of the labels",
        (choice, "bonus_label, bonus_latent, bonus_coefficient = 'joy', 3, 5.0"),
    )
    yield case("all positions", "what the hook adds", ("resid[:, -1, :] += push.to(resid)", "resid += push.to(resid)"))
    yield case(
        "another layer",
        "middle layer",
        ("return [(middle_name, push_latent)]", 'return [("blocks.0.hook_resid_pre", push_latent)]'),
    )
    more = "import copy\nbonus_sae = copy.deepcopy(reference)\n"
    yield ("2.7", "the reference itself", more, "must be smaller")
    yield ("2.7", "more latents", more + "bonus_sae.k = 2 * bonus_sae.k\n", "may not be larger")
    yield ("2.7", "decoder halved", more + "bonus_sae.W_dec.data *= 0.5\n", "must be smaller")
    yield ("2.7", "dense", PCA.replace("my_sae", "bonus_sae"), "be")


def wrong() -> list[tuple[str, str, str, str]]:
    """Return all wrong answers."""
    parts = (_residuals, _steering, _choices, _autoencoder, _loss, _trained, _contexts, _bonus)
    return [case for part in parts for case in part()]


def by_task() -> dict[str, list[str]]:
    """Return the sources of wrong answers by task."""
    found: dict[str, list[str]] = {}
    for task, _, source, _ in wrong():
        found.setdefault(task, []).append(source)
    return found
