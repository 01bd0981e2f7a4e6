"""Run the student's functions, task by task, inside the sandbox.

Each function gets the student's names and the inputs, calls the student's code, and returns numbers and words.
This file holds no expected value, no input and no verdict. The inputs are in ``__init__.py``.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import torch

from helpers.checks import CheckFailed
from helpers.checks.answers import as_array
from helpers.checks.toy import build


def _numbers(**values):
    """Convert values to float32 tensors. ``half`` lists the names of those that had half precision."""
    arrays = {name.replace("_", " "): as_array(value) for name, value in values.items()}
    half = [name for name, (_, is_half) in arrays.items() if is_half]
    return {"half": half} | {name: torch.as_tensor(array.astype(np.float32)) for name, (array, _) in arrays.items()}


def _toy(given):
    return build(given["seed"], given["layers"], given["width"], given["architecture"])


# 1.1 --------------------------------------------------------------------------------------------------


def averages(student, given):
    """Call the function ``calls`` times; return the last averages, and the model's logits afterwards."""
    model = _toy(given)
    for _ in range(given["calls"]):
        value = student["collect_average_residuals"](model, list(given["sentences"]))
    after = model(model.to_tokens(given["sentences"][0]))
    return _numbers(averages=value, model_afterwards=after)


# 1.2 --------------------------------------------------------------------------------------------------


def _vectors(model, given):
    random = torch.Generator().manual_seed(given["seed"] + 1)
    return given["size"] * torch.randn(model.cfg.n_layers, model.cfg.d_model, generator=random)


def steered_logits(student, given):
    """Return logits with the student's hooks, ``[cases batch pos vocabulary]``, and without hooks afterwards."""
    model = _toy(given)
    vectors = _vectors(model, given)
    tokens = torch.cat([model.to_tokens(text) for text in given["texts"]])
    steered = []
    for coefficient, layers in given["cases"]:
        hooks = student["make_steering_hooks"](
            vectors.clone(), coefficient, *([] if layers is None else [list(layers)])
        )
        with model.hooks(fwd_hooks=list(hooks)):
            steered.append(model(tokens))
    return _numbers(logits=steered, model_afterwards=model(tokens))


def steered_texts(student, given):
    """Return the steered text for each prompt, coefficient and set of layers, without EOS."""
    model = _toy(given)
    vectors = _vectors(model, given)
    texts = []
    for prompt, coefficient, layers in given["cases"]:
        options = {"max_new_tokens": given["new_tokens"]} | ({} if layers is None else {"layers": list(layers)})
        text = student["generate_with_steering"](model, prompt, vectors.clone(), coefficient, **options)
        text = text.strip().removesuffix(model.tokenizer.eos_token)
        texts.append(" ".join(text.split()))
    return {"texts": texts}


# 1.3 --------------------------------------------------------------------------------------------------


def steering_outcome(student, given):
    """Return the student's coefficient, layers and steering vectors."""
    layers = [int(layer) for layer in student["best_layers"]]
    return {"coefficient": float(student["best_coefficient"]), "layers": layers} | _numbers(
        vectors=student["steering_vectors"]
    )


# 2.1 and 2.2 ------------------------------------------------------------------------------------------


def _sae(student, given):
    """Return the student's SAE with random weights, inputs ``x`` and latents ``h``."""
    module = student["SAE"](given["d_in"], given["d_sae"])
    random = torch.Generator().manual_seed(given["seed"])
    shapes = {"W_enc": ("d_in", "d_sae"), "b_enc": ("d_sae",), "W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}
    missing = [name for name in shapes if not hasattr(module, name)]
    if missing:
        raise AttributeError(f"SAE has no {missing[0]}")
    with torch.no_grad():
        for name, shape in shapes.items():
            getattr(module, name).copy_(torch.randn([given[size] for size in shape], generator=random))
    x = torch.randn(*given["batch"], given["d_in"], generator=random)
    h = torch.rand(*given["batch"], given["d_sae"], generator=random)
    return module, x, h


def encoded(student, given):
    module, x, _ = _sae(student, given)
    return _numbers(latents=module.encode(x))


def decoded(student, given):
    module, _, h = _sae(student, given)
    return _numbers(reconstruction=module.decode(h))


def forwarded(student, given):
    module, x, _ = _sae(student, given)
    x_hat, h = module(x)
    return _numbers(reconstruction=x_hat, latents=h)


def sae_gradients(student, given):
    module, x, _ = _sae(student, given)
    with torch.enable_grad():
        x_hat, h = module(x)
        loss = (x_hat - x).pow(2).sum() + h.abs().sum()
    parameters = [module.W_enc, module.b_enc, module.W_dec, module.b_dec]
    return _numbers(gradients=[gradient.flatten().norm() for gradient in torch.autograd.grad(loss, parameters)])


def _loss_inputs(n, d_in, d_sae, seed):
    random = torch.Generator().manual_seed(seed)
    x, x_hat = torch.randn(2, n, d_in, generator=random)
    h = torch.randn(n, d_sae, generator=random) * (torch.rand(n, d_sae, generator=random) < 0.6)
    return x, x_hat, h


def losses(student, given):
    """Return the loss of each case. A case holds n, d_in, d_sae, a seed and the coefficient."""
    values = [
        student["sae_loss"](*_loss_inputs(*sizes, seed), coefficient) for *sizes, seed, coefficient in given["cases"]
    ]
    return _numbers(losses=[torch.as_tensor(as_array(loss)[0]).reshape(()) for loss in values])


def loss_gradients(student, given):
    *sizes, seed, coefficient = given["case"]
    with torch.enable_grad():
        x, x_hat, h = (tensor.requires_grad_() for tensor in _loss_inputs(*sizes, seed))
        loss = student["sae_loss"](x, x_hat, h, coefficient)
    gradients = torch.autograd.grad(loss.sum(), [x_hat, h])
    return _numbers(gradient_of_the_error=gradients[0], gradient_of_the_sparsity=gradients[1])


# 2.3 and 2.7: the decoder is read before the student's code gets the hidden activations -------------------


@torch.no_grad()
def dictionary(student, given):
    """Return ``rows`` and ``bias`` of the decoder, found by activating one latent at a time."""
    module = student[given["name"]]
    weight = next(module.parameters(), torch.zeros(1))
    module.eval()
    n = module.encode(torch.zeros(1, given["d_in"]).to(weight)).shape[-1]
    if n > given["most"]:
        raise ValueError(f"the SAE has {n} latents; the grader accepts at most {given['most']}")
    bias = module.decode(torch.zeros(1, n).to(weight))[0]
    rows = [module.decode(part.to(weight)) - bias for part in torch.eye(n).split(512)]
    return {"rows": torch.cat(rows).float().cpu(), "bias": bias.float().cpu()}


@torch.no_grad()
def latents(student, given):
    """Return ``token``, ``latent`` and ``value`` of every active latent on the hidden activations, and their number."""
    module = student[given["name"]]
    weight = next(module.parameters(), torch.zeros(1))
    batches, start = [], 0
    for part in given["activations"].split(1024):
        active = module.encode(part.to(weight)).float().cpu()
        token, latent = active.nonzero(as_tuple=True)
        batches.append((token + start, latent, active[token, latent]))
        start += len(part)
    token, latent, value = (torch.cat(parts) for parts in zip(*batches, strict=True))
    most = given["most"]
    return {"token": token[:most].int(), "latent": latent[:most].int(), "value": value[:most], "active": len(token)}


# 2.4 --------------------------------------------------------------------------------------------------


def contexts(student, given):
    """Return the indices that the student's function chooses in each case."""
    chosen = []
    for case in given["cases"]:
        tensors = (torch.tensor(case["latent"]), torch.tensor(case["texts"]), torch.tensor(case["tokens"]))
        rows = student["top_contexts"](
            *tensors, set(case["special"]), **({} if case["k"] is None else {"k": case["k"]})
        )
        chosen.append([int(row) for row in (rows.tolist() if hasattr(rows, "tolist") else rows)])
    return {"rows": chosen}


# 2.6 --------------------------------------------------------------------------------------------------


def latent_push(student, given):
    """Return what the student's hooks add to a stream of zeros, and their hook points. ``rows`` is the decoder."""
    module = torch.nn.Module()
    module.W_dec = torch.nn.Parameter(given["rows"])
    pushed, names = [], []
    for index, coefficient in given["cases"]:
        stream = torch.zeros(2, 3, given["rows"].shape[1])
        for name, hook in student["make_latent_hooks"](module, index, coefficient):
            layer = int(str(name).split(".")[1]) if str(name).count(".") > 1 else -1
            result = hook(stream, hook=SimpleNamespace(name=str(name), ctx={}, layer=partial(int, layer)))
            stream = stream if result is None else result
            names.append(str(name))
        pushed.append(stream)
    return {"names": names} | _numbers(pushed=pushed)


def latent_choice(student, given):
    """Return the student's label, latent and coefficient."""
    return {
        "label": str(student["bonus_label"]),
        "latent": int(student["bonus_latent"]),
        "strength": float(student["bonus_coefficient"]),
    }


# The public check, whose inputs every student can see -----------------------------------


def public_check(student, given):
    """Return the message of the public check, or "" if it passes."""
    import helpers.checks as checks

    try:
        getattr(checks, given["check"])(*(student[name] for name in given["names"]))
    except CheckFailed as failed:
        return {"says": failed.message}
    return {"says": ""}
