"""Hostile and broken submissions: ``Hostile(name, put, earned)``.

``put(folder)`` writes the submission; ``earned`` are the tasks that it still solves, all others must get nothing. Code that
attacks stands in the cell of a task of its own, so that it runs; most of it beside a right answer to task 2.2, which a student
keeps whatever happens in another cell.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.submissions.books import FIRST, SECOND, book, changed, code, is_task, put, solutions

KEPT = ("2.2",)


@dataclass(frozen=True)
class Hostile:
    name: str
    put: Callable[[Path], None]
    earned: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("graded", "partly")


def _answers(
    name: str, answers: dict[str, str], earned: tuple[str, ...] = KEPT, statuses=("graded", "partly")
) -> Hostile:
    """Code in tasks of notebook 2 (or 1, by the tasks), beside a right 2.2."""

    def write(folder: Path) -> None:
        second = {task: source for task, source in answers.items() if task[0] == "2"}
        first = {task: source for task, source in answers.items() if task[0] == "1"}
        put(folder, book(SECOND, {"2.2": solutions()["2.2"], **second}, solved=False), SECOND)
        if first:
            put(folder, book(FIRST, first, solved=False), FIRST)

    return Hostile(name, write, earned, statuses)


def _in_loss(name: str, code_before: str, task: str = "2.1") -> Hostile:
    """Attack first, then an SAE that is wrong: it must lose 2.1, and 2.2 stays."""
    wrong = changed("2.1", ("torch.relu(", "torch.sigmoid("), ("h @ self.W_dec + self.b_dec", "2 * h @ self.W_dec"))
    return _answers(name, {task: code_before + "\n\n" + wrong})


def _file(name: str, raw: bytes | str, statuses=("unreadable",)) -> Hostile:
    return Hostile(name, lambda folder: (put(folder, raw, SECOND), None)[1], (), statuses)


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


def _cheats():
    """Ways to points that aren't earned."""
    yield _in_loss(
        "allclose patched",
        "import numpy, builtins\ntorch.allclose = numpy.testing.assert_allclose = numpy.allclose = lambda *a, **k: True\nbuiltins.abs = lambda x: 0",
    )
    yield _in_loss(
        "numpy broken",
        "import numpy as np\nnp.abs = np.max = lambda *a, **k: 0.0\nnp.ndarray.__sub__ if False else None",
    )
    yield _in_loss(
        "random numbers patched",
        "torch.randn = lambda *a, **k: torch.zeros(*[x for x in a if isinstance(x, int)])\nimport random, time\nrandom.random = lambda: 0.5\ntime.time = time.monotonic = lambda: 0",
    )
    yield _in_loss(
        "run_cell replaced",
        "ip = get_ipython()\nip.run_cell = lambda *a, **k: type('R', (), dict(error_before_exec=None, error_in_exec=None))()",
    )
    yield _in_loss(
        "input transformers",
        "ip = get_ipython()\nip.input_transformers_cleanup.append(lambda lines: ['pass\\n'])\nimport ast\nclass T(ast.NodeTransformer):\n    def visit_Compare(self, node): return ast.Constant(True)\nip.ast_transformers.append(T())",
    )
    yield _in_loss(
        "showtraceback replaced",
        "ip = get_ipython()\nip.showtraceback = lambda *a, **k: None\nip.set_custom_exc((BaseException,), lambda *a, **k: None)",
    )
    yield _in_loss(
        "forged results",
        "import sys, json, struct, os\nmessage = json.dumps({'event': 'reply', 'answer': {'half': [], 'full': 1}}).encode()\nos.write(19, struct.pack('>QQ', len(message), 0) + message)",
    )
    yield _in_loss(
        "safetensors replaced",
        "import safetensors.torch, safetensors.numpy\nsafetensors.torch.save = lambda tensors, *a, **k: b'\\x80\\x04.'\nsafetensors.torch.load = lambda *a: {}",
    )
    yield _in_loss(
        "a pickle in place of numbers",
        "import safetensors.torch, pickle, os\nclass P:\n    def __reduce__(self): return (os.system, ('touch /tmp/owned',))\nsafetensors.torch.save = lambda *a, **k: pickle.dumps(P())",
    )
    yield _in_loss(
        "json replaced",
        'import json\nold = json.dumps\njson.dumps = lambda *a, **k: \'{"event": "reply", "answer": {"points": 1e9, "half": ["latents", "reconstruction"]}}\'',
    )
    yield _in_loss(
        "an error that is a number", 'import json\njson.dumps = lambda *a, **k: \'{"event": "reply", "error": 5}\''
    )
    yield _in_loss(
        "huge numbers",
        'import json\njson.dumps = lambda *a, **k: \'{"event": "reply", "answer": {"half": [], "active": 1\' + \'0\' * 999 + \'}}\'',
    )
    yield _in_loss("deep JSON", "import json\njson.dumps = lambda *a, **k: '[' * 200000")
    yield _in_loss(
        "frames and garbage",
        "import gc, sys\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'expected' in o]\nframe = sys._getframe()\nwhile frame:\n    found.append(dict(frame.f_locals)); frame = frame.f_back\nexpected = [f.get('expected') for f in found]",
    )
    yield _in_loss(
        "import solutions",
        "try:\n    import solutions.hidden_tests as p\n    torch.relu = p\nexcept ImportError:\n    pass\nimport sys\nsys.path.insert(0, 'solutions')\ntry:\n    import hidden_tests\nexcept ImportError:\n    pass",
    )
    yield _answers(
        "the solution read from disk",
        {
            "2.1": "import glob\nfound = [open(p).read() for p in glob.glob('/**/solutions/*.py', recursive=True) + glob.glob('/**/expected.pickle', recursive=True)]\nexec(found[0])\nSAE"
        },
    )
    yield _answers(
        "checks replaced",
        {
            "2.1": "checks.task_2_1 = lambda *a: None\nimport helpers.checks.autoencoder as a\na.task_2_1 = lambda *x: None\nclass SAE: pass"
        },
    )
    yield _answers(
        "an object that is equal to all", {"2.1": LIAR + "\nSAE = Liar()", "2.4": LIAR + "\ntop_contexts = Liar()"}
    )
    yield _answers(
        "a tensor subclass",
        {
            "2.1": SUBCLASS
            + "\nclass SAE(nn.Module):\n    def __init__(self, a, b):\n        super().__init__()\n        self.W_enc, self.W_dec = nn.Parameter(torch.zeros(a, b)), nn.Parameter(torch.zeros(b, a))\n        self.b_enc, self.b_dec = nn.Parameter(torch.zeros(b)), nn.Parameter(torch.zeros(a))\n    def encode(self, x): return torch.zeros(x.shape[0], 12).as_subclass(Yes)\n    def decode(self, h): return torch.zeros(h.shape[0], 7).as_subclass(Yes)\n    def forward(self, x): return self.decode(x), self.encode(x)"
        },
    )
    yield _answers(
        "sys.modules replaced",
        {
            "2.1": "import sys, types\nfake = types.ModuleType('helpers.checks')\nfake.__getattr__ = lambda name: (lambda *a, **k: None)\nsys.modules['helpers.checks'] = sys.modules['helpers.checks.answers'] = fake\nclass SAE: pass"
        },
    )
    yield _answers(
        "the toy model replaced",
        {
            "1.1": "import helpers.checks.toy as toy\ntoy.build = lambda *a, **k: None\nload_model = None\ndef collect_average_residuals(model, sentences):\n    return torch.zeros(4, 24)"
        },
    )
    yield _answers(
        "answers to the public inputs",
        {
            "2.2": "def sae_loss(x, x_hat, h, c):\n    table = {5: 1.0, 8: 2.0, 1: 3.0}\n    return (x_hat.sum() * 0 + h.sum() * 0) + table.get(len(x), 0.0)"
        },
        earned=(),
    )
    yield _answers(
        "detecting the grader",
        {
            "2.2": "import os, sys\nGRADING = 'grad' in ' '.join(sys.argv) or os.getuid() == 65534\ndef sae_loss(x, x_hat, h, c):\n    if GRADING:\n        return float('nan') * (x_hat.sum() + h.sum())\n    return x_hat.sum() + h.sum()"
        },
        earned=(),
    )
    yield _answers(
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
    yield _answers(
        "a hook left behind",
        {
            "1.1": "def collect_average_residuals(model, sentences):\n    model.add_hook('blocks.0.hook_resid_pre', lambda resid, hook: resid * 0)\n    return torch.zeros(model.cfg.n_layers, model.cfg.d_model)"
        },
    )
    yield _answers(
        "an SAE that remembers what it saw",
        {
            "2.3": "seen = []\nclass Memory(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.W = nn.Parameter(torch.eye(d_model))\n    def encode(self, x):\n        seen.append(x)\n        return torch.zeros(len(x), 8)\n    def decode(self, h):\n        return seen[-1] if seen and len(seen[-1]) == len(h) else torch.zeros(len(h), d_model)\nmy_sae = Memory()"
        },
    )
    yield _answers(
        "floats smuggled through one latent",
        {
            "2.3": "class Smuggler(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.W, self.box = nn.Parameter(torch.zeros(1)), {}\n    def encode(self, x):\n        keys = torch.rand(len(x), 1) + 1\n        self.box.update({float(k): row for k, row in zip(keys, x)})\n        return torch.cat([keys, torch.zeros(len(x), 7)], 1)\n    def decode(self, h):\n        return torch.stack([self.box.get(float(k), torch.zeros(d_model)) for k in h[:, 0]])\nmy_sae = Smuggler()"
        },
    )
    yield _answers(
        "evaluate replaced",
        {
            "2.3": "import dataclasses\nsae.evaluate = lambda *a, **k: type('M', (), dict(fvu=0.0, l0=1.0, dead_fraction=0.0))()\nmy_sae = nn.Linear(2, 2)",
            "2.7": "bonus_sae = nn.Linear(2, 2)",
        },
    )
    yield _answers(
        "a million latents",
        {
            "2.3": "class Wide(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.W = nn.Parameter(torch.zeros(1))\n    def encode(self, x): return torch.zeros(len(x), 10**6)\n    def decode(self, h): return torch.zeros(len(h), d_model)\nmy_sae = Wide()"
        },
    )
    yield _answers(
        "the steering label is everything",
        {
            "2.6": "make_latent_hooks = lambda module, i, s: []\nbonus_label, bonus_latent, bonus_coefficient = 'comma', 0, float('inf')"
        },
    )


def _leaks():
    """Ways to get hidden inputs onto a page that the student will read."""
    keep = "seen = []\ndef collect_average_residuals(model, sentences):\n    seen.append(list(sentences))\n    "
    yield _answers(
        "inputs told by the public check",
        {
            "1.1": "import helpers.checks as hc\n"
            + keep
            + "return torch.zeros(model.cfg.n_layers, model.cfg.d_model)\ndef liar(f): raise hc.CheckFailed(str(seen))\nhc.task_1_1 = liar"
        },
    )
    yield _answers(
        "inputs told by a kind of error", {"1.1": keep + "raise type(' / '.join(sentences), (Exception,), {})()"}
    )
    yield _answers("inputs told by a message", {"1.1": keep + "raise ValueError(str(sentences))"})
    yield _answers(
        "inputs told by a line",
        {
            "1.1": "import linecache, sys\n"
            + keep
            + "for name in list(linecache.cache):\n        linecache.cache[name] = (1, None, [str(sentences)] * 99, name)\n    raise ValueError"
        },
    )
    yield _answers(
        "inputs told by a missing name",
        {
            "1.1": "exec(compile('def collect_average_residuals(m, s):\\n    raise KeyError(str(s))', '<x>', 'exec'))\ncollect_average_residuals = collect_average_residuals"
        },
    )


def _stallers():
    """Ways to hold up the grader's own process."""
    forged = "import os, json, struct, time\nm = json.dumps({'event': 'reply', 'answer': {}}).encode()\nfor _ in range(4): os.write(19, struct.pack('>QQ', len(m), 0) + m)\ntime.sleep(10**6)"
    yield _answers("replies in advance, and then nothing", {"2.3": "my_sae = None\n" + forged})
    yield _edited("hundreds of magics", lambda cells: [*cells, code("!ls\n" * 501)])
    yield _edited(
        "an endless sum", lambda cells: [*cells, code("x = " + "+".join(["1"] * 5000)), code("a" + ".b" * 3000)]
    )
    chain = [code("sae_loss = x0 and sae_loss" if i == 0 else f"x{i - 1} = x{i}") for i in range(900)]
    yield _edited("a long chain", lambda cells: [*cells, *chain], earned=())
    yield _edited(
        "megabytes of source",
        lambda cells: [*cells, *(code(f"# {i}\n" + "x = 1\n" * 30000) for i in range(20))],
        earned=(),
        statuses=("unreadable", "partly"),
    )
    yield _in_loss(
        "shared memory", "import mmap\nm = mmap.mmap(-1, 3 << 30)\nfor i in range(0, 3 << 30, 4096): m[i] = 1"
    )
    yield _in_loss(
        "files in memory",
        "import os\nkeep = []\nfor i in range(60):\n    fd = os.memfd_create('x'); keep.append(fd)\n    for _ in range(4): os.write(fd, b'x' * (1 << 24))\nimport time; time.sleep(2)",
    )
    yield _in_loss(
        "the device folder filled",
        "with open('/dev/full-of-it', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))",
    )


def _breakers():
    """Ways to bring a grader down, or to keep it busy."""
    yield _in_loss("sys.exit", "import sys\nsys.exit(0)")
    yield _in_loss("KeyboardInterrupt", "raise KeyboardInterrupt")
    yield _answers("SystemExit from a function", {"2.1": "def SAE(a, b):\n    raise SystemExit(0)"})
    yield _in_loss("os._exit", "import os\nos._exit(0)")
    yield _in_loss(
        "killing the parent", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time; time.sleep(1)"
    )
    yield _in_loss("killing everyone", "import os, signal\nos.kill(-1, signal.SIGKILL)")
    yield _in_loss("a segfault", "import ctypes\nctypes.string_at(0)")
    yield _in_loss("an abort", "import os\nos.abort()")
    yield _in_loss("an endless loop", "while True: pass")
    yield _in_loss(
        "a loop that swallows everything",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    )
    yield _answers("an endless loop in a function", {"2.4": "def top_contexts(*a, **k):\n    while True: pass"})
    yield _in_loss("sleeping", "import time\ntime.sleep(10**6)")
    yield _in_loss(
        "orphans",
        "import subprocess, threading, time\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\nthreading.Thread(target=lambda: time.sleep(1000)).start()",
    )
    yield _in_loss("a fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")
    yield _in_loss("50 GB", "import numpy as np\nbig = np.ones(50 * 2**30, dtype=np.uint8)")
    yield _in_loss("memory bit by bit", "keep = []\nwhile True: keep.append(bytearray(b'x') * (1 << 26))")
    yield _in_loss("a full disk", "with open('/tmp/full', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))")
    yield _in_loss(
        "many files", "import os\nfor i in range(10**9):\n    open(f'/dev/shm/{i}', 'wb').write(b'x' * (1 << 22))"
    )
    yield _in_loss(
        "output without end",
        "import sys\nfor _ in range(300): print('x' * (1 << 20))\nraise ValueError('e' * (1 << 27))",
    )
    yield _in_loss(
        "a million displays", "from IPython.display import display, HTML\nfor i in range(20000): display(HTML('<b>'))"
    )
    yield _in_loss("a giant traceback", "def f(n):\n    return f(n + 1)\nf(0)")
    yield _in_loss(
        "input, breakpoint, debug",
        "try: input()\nexcept Exception as e: print(e)\ntry: breakpoint()\nexcept BaseException as e: print(e)",
    )
    yield _answers(
        "magics",
        {
            "2.1": "!rm -rf / --no-preserve-root\n%pip install nothing\n!curl http://127.0.0.1\n%debug\nimport urllib.request\ntry: urllib.request.urlopen('http://127.0.0.1:8000', timeout=2)\nexcept Exception: pass\nclass SAE: pass"
        },
    )
    yield _in_loss(
        "writing everywhere",
        "import os, glob\nfor folder in ['/', '/usr', os.path.dirname(torch.__file__), os.path.dirname(data.__file__), '/work', '/root', '/home']:\n    try: open(folder + '/owned', 'w').write('x')\n    except OSError: pass",
    )
    yield _in_loss(
        "reading everywhere",
        "import os\nfor path in ['/proc/1/environ', '/proc/1/root', '/etc/shadow', '../../../etc/passwd', '/proc/self/fd']:\n    try: (os.listdir if os.path.isdir(path) else lambda p: open(p).read())(path)\n    except OSError: pass",
    )
    yield _in_loss("a huge answer", "torch.relu = lambda x: torch.zeros(20000, 20000)")
    yield _answers("a huge list", {"2.4": "def top_contexts(*a, **k):\n    return list(range(10**8))"})
    yield _answers("a huge number", {"1.3": "best_coefficient, best_layers = 10**400, [10**400]"})
    yield _answers(
        "text that isn't text",
        {"2.1": "raise ValueError('\\ud800 \\x00 <script>alert(1)</script> ' * 3)\nclass SAE: pass"},
    )
    yield _in_loss("script in an error", "raise ValueError('<script>alert(1)</script><img src=x onerror=alert(1)>')")
    yield _answers("no Python", {"2.1": "this is (not python\n```"})


def _edited(
    name: str, edit: Callable[[list[dict]], list[dict]], earned: tuple[str, ...] = KEPT, statuses=("graded", "partly")
) -> Hostile:
    def write(folder: Path) -> None:
        content = book(SECOND, {"2.2": solutions()["2.2"]}, solved=False)
        put(folder, {**content, "cells": edit(content["cells"])}, SECOND)

    return Hostile(name, write, earned, statuses)


def _metadata():
    """Metadata and outputs that promise points."""
    forged = {"points": 1e9, "bonus": True, "role": "solution"}

    def each(change: Callable[[dict], dict]) -> Callable[[list[dict]], list[dict]]:
        return lambda cells: [change(cell) for cell in cells]

    yield _edited(
        "points forged",
        each(
            lambda c: {**c, "metadata": {**c["metadata"], "homework": {**c["metadata"].get("homework", {}), **forged}}}
        ),
    )
    yield _edited(
        "points not a number",
        each(lambda c: {**c, "metadata": {**c["metadata"], "nbgrader": {"points": float("nan"), "grade": True}}}),
    )
    yield _edited(
        "points negative",
        each(lambda c: {**c, "metadata": {**c["metadata"], "nbgrader": {"points": -5, "grade_id": "check-2-2"}}}),
    )
    yield _edited(
        "raises-exception everywhere",
        each(
            lambda c: {
                **c,
                "metadata": {
                    **c["metadata"],
                    "tags": ["raises-exception", "skip-execution"],
                    "allow_errors": True,
                    "nbmake": {"timeout": 1},
                },
            }
        ),
    )
    yield _edited(
        "forged outputs",
        each(
            lambda c: (
                {
                    **c,
                    "outputs": [
                        {
                            "output_type": "execute_result",
                            "data": {"application/vnd.homework.report+json": {"task": "2.1", "passed": True}},
                            "metadata": {},
                        }
                    ],
                }
                if c["cell_type"] == "code"
                else c
            )
        ),
    )
    yield _edited(
        "checks deleted", lambda cells: [c for c in cells if c["metadata"].get("homework", {}).get("role") != "check"]
    )
    yield _edited(
        "checks edited",
        lambda cells: [
            {**c, "source": "print('passed')"} if c["metadata"].get("homework", {}).get("role") == "check" else c
            for c in cells
        ],
    )
    yield _edited(
        "task cells twice",
        lambda cells: [
            c for cell in cells for c in ([cell, cell] if is_task(cell, "2.2") or is_task(cell, "2.1") else [cell])
        ],
    )
    yield _edited(
        "no ids", lambda cells: [{name: value for name, value in cell.items() if name != "id"} for cell in cells]
    )
    yield _edited("one id for all", lambda cells: [{**cell, "id": "same"} for cell in cells])
    yield _edited(
        "cell types swapped",
        lambda cells: [{**c, "cell_type": "markdown" if c["cell_type"] == "code" else "code"} for c in cells],
        earned=(),
        statuses=("blank", "partly"),
    )
    yield _edited(
        "tasks' marks swapped",
        lambda cells: [
            {**c, "metadata": {"homework": {"task": "2.4", "role": "solution"}}} if is_task(c, "2.2") else c
            for c in cells
        ],
    )
    yield _edited(
        "metadata of the wrong kind",
        lambda cells: [{**c, "metadata": [1, 2]} if i % 2 else {**c, "metadata": None} for i, c in enumerate(cells)],
    )
    yield _edited(
        "cells of the wrong kind",
        lambda cells: [*cells, None, 3, "x", {"cell_type": "code"}, {"source": 5, "cell_type": "code"}],
    )
    yield _edited(
        "script in markdown",
        lambda cells: [
            *cells,
            {
                "cell_type": "markdown",
                "metadata": {"homework": {"task": "2.5", "role": "written"}},
                "source": "<script>alert(1)</script> =1+1 @x",
            },
        ],
    )
    yield _edited(
        "widgets and Drive",
        lambda cells: [code("from google.colab import drive\ndrive.mount('/content/drive')"), *cells],
    )


def _files():
    """Files that are no notebooks, or no good ones."""
    whole = json.dumps(book(SECOND, {"2.2": solutions()["2.2"]}, solved=False))
    yield _file("empty", b"")
    yield _file("only nulls", b"\x00" * 1000)
    yield _file("truncated", whole[: len(whole) // 2])
    yield _file("JSON, no notebook", '{"a": 1}')
    yield _file("a list", "[1, 2, 3]")
    yield _file("nested without end", "[" * 100_000)
    yield _file("no cells", '{"nbformat": 4, "metadata": {}}')
    yield _file("cells that aren't a list", '{"nbformat": 4, "cells": {"0": 1}}')
    yield _file("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    yield _file(
        "R",
        json.dumps(
            {
                "nbformat": 4,
                "metadata": {"kernelspec": {"name": "ir", "language": "R"}},
                "cells": [code("x <- c(1, 2)\nprint(x)")],
            }
        ),
    )
    yield _file(
        "another homework", json.dumps({"nbformat": 4, "metadata": {}, "cells": [code("def fib(n):\n    return n")]})
    )
    yield _file("untouched", json.dumps(book(SECOND, solved=False)), statuses=("blank",))
    yield Hostile(
        "Latin-1",
        lambda folder: (
            put(folder, whole.replace("reconstruct", "r\xe9construct").encode("latin-1", "replace"), SECOND),
            None,
        )[1],
        KEPT,
    )
    yield Hostile(
        "null bytes",
        lambda folder: (put(folder, whole.replace("squared_error = ", "squared_error = \\u0000 "), SECOND), None)[1],
        KEPT,
    )
    yield Hostile(
        "lone surrogates",
        lambda folder: (put(folder, whole.replace("Squared error per token", "\\ud83d per token"), SECOND), None)[1],
        KEPT,
    )
    yield Hostile("two notebooks", _two, KEPT)
    yield Hostile("modules beside the notebook", _modules, KEPT)
    yield Hostile("links", _links, (), ("unreadable",))
    yield Hostile("nothing", lambda folder: folder.mkdir(), (), ("unreadable",))
    yield Hostile("a zip bomb", lambda folder: _zip(folder, {"bomb.ipynb": b"0" * (300 << 20)}), (), ("unreadable",))
    yield Hostile(
        "a zip slip",
        lambda folder: _zip(folder, {"../../owned.ipynb": whole.encode(), "/tmp/owned.ipynb": whole.encode()}),
        (),
        ("unreadable",),
    )
    yield Hostile(
        "nested zips",
        lambda folder: _zip(folder, {"a.zip": _zipped({"b.zip": _zipped({"c.ipynb": whole.encode()})})}),
        (),
        ("unreadable",),
    )
    yield Hostile(
        "a broken zip",
        lambda folder: (folder.mkdir(), (folder / "x.zip").write_bytes(b"PK\x03\x04 broken"), None)[2],
        (),
        ("unreadable",),
    )
    yield Hostile("a zip in a folder", lambda folder: _zip(folder, {f"work/{SECOND}.ipynb": whole.encode()}), KEPT)


def _two(folder: Path) -> None:
    put(folder, book(SECOND, {"2.2": solutions()["2.2"]}, solved=False), SECOND)
    put(folder, book(SECOND, solved=False), f"{SECOND} (1)")


def _modules(folder: Path) -> None:
    _two(folder)
    for name in ("helpers.py", "torch.py", "sitecustomize.py", "numpy.py"):
        (folder / name).write_text("raise SystemExit('shadowed')")


def _links(folder: Path) -> None:
    folder.mkdir()
    os.symlink("/etc/passwd", folder / f"{SECOND}.ipynb")
    os.symlink("/", folder / "everything")


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return out.getvalue()


def _zip(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    (folder / "work.zip").write_bytes(_zipped(files))


NAMES = (
    "=cmd|' C calc'!A0",
    "Иван Петров",
    'O\'Brien "Bob" <b>',
    "李 小龍 🎓",
    "a" * 200,
    "petrova_17",
    "con",
    "-rf",
    "%s%n {x}",
)


def hostile() -> list[Hostile]:
    """All of them."""
    return [case for part in (_cheats, _leaks, _breakers, _stallers, _metadata, _files) for case in part()]
