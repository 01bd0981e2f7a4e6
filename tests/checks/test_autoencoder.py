"""Check of task 2.1: autoencoders written in different ways pass, and each mistake is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers.checks import NotDone, task_2_1


class Given(nn.Module):
    """What the notebook gives: the parameters."""

    def __init__(self, d_in, d_sae):
        super().__init__()
        self.W_enc = nn.Parameter(torch.zeros(d_in, d_sae))
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.W_dec = nn.Parameter(torch.zeros(d_sae, d_in))
        self.b_dec = nn.Parameter(torch.zeros(d_in))


class Right(Given):
    def encode(self, x):
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, h):
        return h @ self.W_dec + self.b_dec

    def forward(self, x):
        h = self.encode(x)
        return self.decode(h), h


class WithFunctional(Given):
    def encode(self, x):
        return nn.functional.linear(x - self.b_dec, self.W_enc.T, self.b_enc).clamp(min=0)

    def decode(self, h):
        return nn.functional.linear(h, self.W_dec.T, self.b_dec)

    def forward(self, x):
        return [self.decode(self.encode(x)), self.encode(x)]


class WithEinsum(Given):
    def __init__(self, d_in, d_sae):
        super().__init__(d_in, d_sae)
        self.relu = nn.ReLU()

    def encode(self, x):
        folded = self.b_enc - self.b_dec @ self.W_enc
        return self.relu(torch.einsum("...d,dh->...h", x, self.W_enc) + folded)

    def decode(self, h):
        return torch.einsum("...h,hd->...d", h, self.W_dec) + self.b_dec

    def forward(self, x):
        h = self.encode(x)
        return self.decode(h), h


class Half(Right):
    """In bfloat16 from end to end."""

    def __init__(self, d_in, d_sae):
        super().__init__(d_in, d_sae)
        self.to(torch.bfloat16)


@pytest.mark.parametrize("SAE", [Right, WithFunctional, WithEinsum])
def test_right_answers_pass(SAE, passes):
    passes(task_2_1, SAE)


def test_half_precision_passes(passes):
    passes(task_2_1, Half)


def wrong(**methods):
    """The right class with some methods replaced."""
    return type("SAE", (Right,), methods)


def in_place(self, x):
    x -= self.b_dec
    return torch.relu(x @ self.W_enc + self.b_enc)


def forward_without_bias(self, x):
    h = self.encode(x)
    return h @ self.W_dec, h


relu = torch.relu
WRONG = {
    "no b_dec": ({"encode": lambda s, x: relu(x @ s.W_enc + s.b_enc)}, "doesn't subtract the decoder's bias"),
    "plus b_dec": ({"encode": lambda s, x: relu((x + s.b_dec) @ s.W_enc + s.b_enc)}, "adds the decoder's bias"),
    "no b_enc": ({"encode": lambda s, x: relu((x - s.b_dec) @ s.W_enc)}, "forgets the encoder's bias"),
    "minus b_enc": ({"encode": lambda s, x: relu((x - s.b_dec) @ s.W_enc - s.b_enc)}, "subtracts the encoder's bias"),
    "no ReLU": ({"encode": lambda s, x: (x - s.b_dec) @ s.W_enc + s.b_enc}, "lacks the ReLU"),
    "abs": ({"encode": lambda s, x: ((x - s.b_dec) @ s.W_enc + s.b_enc).abs()}, "takes the absolute value"),
    "early ReLU": ({"encode": lambda s, x: relu((x - s.b_dec) @ s.W_enc) + s.b_enc}, "adds b_enc after the ReLU"),
    "tied encoder": ({"encode": lambda s, x: relu((x - s.b_dec) @ s.W_dec.T + s.b_enc)}, "uses the decoder's weights"),
    "two": ({"encode": lambda s, x: x @ s.W_enc + s.b_enc}, "besides, encode lacks the ReLU"),
    "sigmoid": ({"encode": lambda s, x: torch.sigmoid((x - s.b_dec) @ s.W_enc)}, "encode(x) isn't relu("),
    "decode without b_dec": ({"decode": lambda s, h: h @ s.W_dec}, "decode forgets the decoder's bias"),
    "decode minus b_dec": ({"decode": lambda s, h: h @ s.W_dec - s.b_dec}, "decode subtracts"),
    "tied decoder": ({"decode": lambda s, h: h @ s.W_enc.T + s.b_dec}, "decode uses the encoder's weights"),
    "decode with ReLU": ({"decode": lambda s, h: relu(h @ s.W_dec + s.b_dec)}, "decode ends with a ReLU"),
    "swapped": ({"forward": lambda s, x: (s.encode(x), s.decode(s.encode(x)))}, "`return x_hat, h`"),
    "x_hat alone": ({"forward": lambda s, x: s.decode(s.encode(x))}, "forward returns one tensor"),
    "three": ({"forward": lambda s, x: (s.decode(s.encode(x)), s.encode(x), x)}, "a tuple of 3"),
    "forward without b_dec": ({"forward": forward_without_bias}, "in forward, decode forgets"),
    "x back": ({"forward": lambda s, x: (x, s.encode(x))}, "returns x itself"),
    "other h": ({"forward": lambda s, x: (s.decode(s.encode(x)), (x - s.b_dec) @ s.W_enc)}, "call self.encode(x)"),
    "forward gives None": ({"forward": lambda s, x: None}, "forward returns None"),
    "in place": ({"encode": in_place}, "the argument of encode is changed"),
    "one dimension": (
        {"encode": lambda s, x: Right.encode(s, x).flatten(0, -2)},
        "encode of a tensor of shape [2, 3, 6]",
    ),
    "batch mean": ({"encode": lambda s, x: Right.encode(s, x).mean(0)}, "Every token has its own row"),
    "None": ({"encode": lambda s, x: None}, "gives None"),
    "NaN": ({"encode": lambda s, x: Right.encode(s, x) * float("nan")}, "holds NaN"),
    "detached": ({"decode": lambda s, h: Right.decode(s, h.detach())}, "no gradient reaches W_enc, b_enc"),
    "no gradients": ({"forward": torch.no_grad()(Right.forward)}, "no gradient reaches"),
    "transposed": ({"decode": lambda s, h: h @ s.W_dec.T}, "raised RuntimeError"),
}


@pytest.mark.parametrize("methods, name", WRONG.values(), ids=WRONG)
def test_mistake_is_named(methods, name, complaint):
    assert name in complaint(task_2_1, wrong(**methods))


def test_init_that_was_changed(complaint):
    class Linear(Right):
        def __init__(self, d_in, d_sae):
            super().__init__(d_in, d_sae)
            del self.b_dec

    class Swapped(Right):
        def __init__(self, d_in, d_sae):
            super().__init__(d_sae, d_in)

    assert "b_dec of SAE(6, 10) is missing" in complaint(task_2_1, Linear)
    assert "W_enc of SAE(6, 10) is a tensor of shape [10, 6]" in complaint(task_2_1, Swapped)


def test_object_instead_of_class(complaint):
    assert "not the class" in complaint(task_2_1, Right(4, 8))
    assert "pass the function itself" in complaint(task_2_1, None)


@pytest.mark.parametrize("method", ["encode", "decode", "forward"])
def test_open_task(method):
    def stub(self, x):
        raise NotDone("2.1")

    with pytest.raises(NotDone):
        task_2_1(wrong(**{method: stub}))


def test_works_where_the_notebook_has_switched_gradients_off(passes):
    with torch.no_grad():
        passes(task_2_1, Right)
