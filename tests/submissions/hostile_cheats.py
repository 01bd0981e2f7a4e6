"""Submissions that try to get unearned points or to read hidden inputs."""

from __future__ import annotations

from tests.submissions.books import changed
from tests.submissions.hostile_case import answers, in_loss

LIAR = """class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __float__(self): return 1.0
    def __bool__(self): return True
    def __array__(self, *a, **k):
        import numpy as np
        return np.zeros(1)
    def __abs__(self): return 0.0
    def __sub__(self, other): return 0.0
    def __rsub__(self, other): return 0.0
    def __le__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __iter__(self): return iter([self])
    def __len__(self): return 5
"""
SUBCLASS = """class Yes(torch.Tensor):
    def __eq__(self, other): return True
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return torch.zeros(1)
"""


def cheats():
    """Yield attempts to get points that aren't earned."""
    yield in_loss(
        "allclose patched",
        "import numpy, builtins\ntorch.allclose = numpy.testing.assert_allclose = numpy.allclose = lambda *a, **k: True\nbuiltins.abs = lambda x: 0",
    )
    yield in_loss(
        "numpy broken",
        "import numpy as np\nnp.abs = np.max = lambda *a, **k: 0.0\nnp.ndarray.__sub__ if False else None",
    )
    yield in_loss(
        "random numbers patched",
        "torch.randn = lambda *a, **k: torch.zeros(*[x for x in a if isinstance(x, int)])\nimport random, time\nrandom.random = lambda: 0.5\ntime.time = time.monotonic = lambda: 0",
    )
    yield in_loss(
        "run_cell replaced",
        "ip = get_ipython()\nip.run_cell = lambda *a, **k: type('R', (), dict(error_before_exec=None, error_in_exec=None))()",
    )
    yield in_loss(
        "input transformers",
        "ip = get_ipython()\nip.input_transformers_cleanup.append(lambda lines: ['pass\\n'])\nimport ast\nclass T(ast.NodeTransformer):\n    def visit_Compare(self, node): return ast.Constant(True)\nip.ast_transformers.append(T())",
    )
    yield in_loss(
        "showtraceback replaced",
        "ip = get_ipython()\nip.showtraceback = lambda *a, **k: None\nip.set_custom_exc((BaseException,), lambda *a, **k: None)",
    )
    yield in_loss(
        "forged results",
        "import sys, json, struct, os\nmessage = json.dumps({'event': 'reply', 'answer': {'half': [], 'full': 1}}).encode()\nos.write(19, struct.pack('>QQ', len(message), 0) + message)",
    )
    yield in_loss(
        "safetensors replaced",
        "import safetensors.torch, safetensors.numpy\nsafetensors.torch.save = lambda tensors, *a, **k: b'\\x80\\x04.'\nsafetensors.torch.load = lambda *a: {}",
    )
    yield in_loss(
        "a pickle in place of numbers",
        "import safetensors.torch, pickle, os\nclass P:\n    def __reduce__(self): return (os.system, ('touch /tmp/owned',))\nsafetensors.torch.save = lambda *a, **k: pickle.dumps(P())",
    )
    yield in_loss(
        "json replaced",
        'import json\nold = json.dumps\njson.dumps = lambda *a, **k: \'{"event": "reply", "answer": {"points": 1e9, "half": ["latents", "reconstruction"]}}\'',
    )
    yield in_loss(
        "an error that is a number", 'import json\njson.dumps = lambda *a, **k: \'{"event": "reply", "error": 5}\''
    )
    yield in_loss(
        "huge numbers",
        'import json\njson.dumps = lambda *a, **k: \'{"event": "reply", "answer": {"half": [], "active": 1\' + \'0\' * 999 + \'}}\'',
    )
    yield in_loss("deep JSON", "import json\njson.dumps = lambda *a, **k: '[' * 200000")
    yield in_loss(
        "frames and garbage",
        "import gc, sys\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'expected' in o]\nframe = sys._getframe()\nwhile frame:\n    found.append(dict(frame.f_locals)); frame = frame.f_back\nexpected = [f.get('expected') for f in found]",
    )
    yield in_loss(
        "import solutions",
        "try:\n    import solutions.hidden_tests as p\n    torch.relu = p\nexcept ImportError:\n    pass\nimport sys\nsys.path.insert(0, 'solutions')\ntry:\n    import hidden_tests\nexcept ImportError:\n    pass",
    )
    yield answers(
        "the solution read from disk",
        {
            "2.1": "import glob\nfound = [open(p).read() for p in glob.glob('/**/solutions/*.py', recursive=True) + glob.glob('/**/expected.pickle', recursive=True)]\nexec(found[0])\nSAE"
        },
    )
    yield answers(
        "checks replaced",
        {
            "2.1": "checks.task_2_1 = lambda *a: None\nimport helpers.checks.autoencoder as a\na.task_2_1 = lambda *x: None\nclass SAE: pass"
        },
    )
    yield answers(
        "an object that is equal to all", {"2.1": LIAR + "\nSAE = Liar()", "2.4": LIAR + "\ntop_contexts = Liar()"}
    )
    yield answers(
        "a tensor subclass",
        {
            "2.1": SUBCLASS
            + "\nclass SAE(nn.Module):\n    def __init__(self, a, b):\n        super().__init__()\n        self.W_enc, self.W_dec = nn.Parameter(torch.zeros(a, b)), nn.Parameter(torch.zeros(b, a))\n        self.b_enc, self.b_dec = nn.Parameter(torch.zeros(b)), nn.Parameter(torch.zeros(a))\n    def encode(self, x): return torch.zeros(x.shape[0], 12).as_subclass(Yes)\n    def decode(self, h): return torch.zeros(h.shape[0], 7).as_subclass(Yes)\n    def forward(self, x): return self.decode(x), self.encode(x)"
        },
    )
    yield answers(
        "sys.modules replaced",
        {
            "2.1": "import sys, types\nfake = types.ModuleType('helpers.checks')\nfake.__getattr__ = lambda name: (lambda *a, **k: None)\nsys.modules['helpers.checks'] = sys.modules['helpers.checks.answers'] = fake\nclass SAE: pass"
        },
    )
    yield answers(
        "the toy model replaced",
        {
            "1.1": "import helpers.checks.toy as toy\ntoy.build = lambda *a, **k: None\nload_model = None\ndef collect_average_residuals(model, sentences):\n    return torch.zeros(4, 24)"
        },
    )
    yield answers(
        "answers to the public inputs",
        {
            "2.2": "def sae_loss(x, x_hat, h, c):\n    table = {5: 1.0, 8: 2.0, 1: 3.0}\n    return (x_hat.sum() * 0 + h.sum() * 0) + table.get(len(x), 0.0)"
        },
        earned=(),
    )
    yield answers(
        "detecting the grader",
        {
            "2.2": "import os, sys\nGRADING = 'grad' in ' '.join(sys.argv) or os.getuid() == 65534\ndef sae_loss(x, x_hat, h, c):\n    if GRADING:\n        return float('nan') * (x_hat.sum() + h.sum())\n    return x_hat.sum() + h.sum()"
        },
        earned=(),
    )
    yield answers(
        "coefficient ignored, positive words appended",
        {
            "1.2": changed(
                "1.2",
                ("adder(coefficient *", "adder(0.0 *"),
                ("return model.to_string(tokens[0, 1:])", "return model.to_string(tokens[0, 1:]) + ' great great'"),
            ),
            "1.3": "best_coefficient, best_layers = 1e-9, [0]",
        },
    )
    yield answers(
        "a hook left behind",
        {
            "1.1": "def collect_average_residuals(model, sentences):\n    model.add_hook('blocks.0.hook_resid_pre', lambda resid, hook: resid * 0)\n    return torch.zeros(model.cfg.n_layers, model.cfg.d_model)"
        },
    )
    yield answers(
        "an SAE that remembers what it saw",
        {
            "2.3": "seen = []\nclass Memory(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.W = nn.Parameter(torch.eye(d_model))\n    def encode(self, x):\n        seen.append(x)\n        return torch.zeros(len(x), 8)\n    def decode(self, h):\n        return seen[-1] if seen and len(seen[-1]) == len(h) else torch.zeros(len(h), d_model)\nmy_sae = Memory()"
        },
    )
    yield answers(
        "floats smuggled through one latent",
        {
            "2.3": "class Smuggler(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.W, self.box = nn.Parameter(torch.zeros(1)), {}\n    def encode(self, x):\n        keys = torch.rand(len(x), 1) + 1\n        self.box.update({float(k): row for k, row in zip(keys, x)})\n        return torch.cat([keys, torch.zeros(len(x), 7)], 1)\n    def decode(self, h):\n        return torch.stack([self.box.get(float(k), torch.zeros(d_model)) for k in h[:, 0]])\nmy_sae = Smuggler()"
        },
    )
    yield answers(
        "evaluate replaced",
        {
            "2.3": "import dataclasses\nsae.evaluate = lambda *a, **k: type('M', (), dict(fvu=0.0, l0=1.0, dead_fraction=0.0))()\nmy_sae = nn.Linear(2, 2)",
            "2.7": "bonus_sae = nn.Linear(2, 2)",
        },
    )
    yield answers(
        "a million latents",
        {
            "2.3": "class Wide(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.W = nn.Parameter(torch.zeros(1))\n    def encode(self, x): return torch.zeros(len(x), 10**6)\n    def decode(self, h): return torch.zeros(len(h), d_model)\nmy_sae = Wide()"
        },
    )
    yield answers(
        "the steering label is everything",
        {
            "2.6": "make_latent_hooks = lambda module, i, s: []\nbonus_label, bonus_latent, bonus_coefficient = 'comma', 0, float('inf')"
        },
    )


def leaks():
    """Yield attempts to show hidden inputs on a page that the student will read."""
    keep = "seen = []\ndef collect_average_residuals(model, sentences):\n    seen.append(list(sentences))\n    "
    yield answers(
        "inputs told by the public check",
        {
            "1.1": "import helpers.checks as hc\n"
            + keep
            + "return torch.zeros(model.cfg.n_layers, model.cfg.d_model)\ndef liar(f): raise hc.CheckFailed(str(seen))\nhc.task_1_1 = liar"
        },
    )
    yield answers(
        "inputs told by a kind of error", {"1.1": keep + "raise type(' / '.join(sentences), (Exception,), {})()"}
    )
    yield answers("inputs told by a message", {"1.1": keep + "raise ValueError(str(sentences))"})
    yield answers(
        "inputs told by a line",
        {
            "1.1": "import linecache, sys\n"
            + keep
            + "for name in list(linecache.cache):\n        linecache.cache[name] = (1, None, [str(sentences)] * 99, name)\n    raise ValueError"
        },
    )
    yield answers(
        "inputs told by a missing name",
        {
            "1.1": "exec(compile('def collect_average_residuals(m, s):\\n    raise KeyError(str(s))', '<x>', 'exec'))\ncollect_average_residuals = collect_average_residuals"
        },
    )
