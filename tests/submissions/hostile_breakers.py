"""Submissions that try to stop the grader or keep it busy."""

from __future__ import annotations

from tests.submissions.books import code
from tests.submissions.hostile_case import answers, edited, in_loss


def stallers():
    """Yield attempts to block the grader's own process."""
    forged = "import os, json, struct, time\nm = json.dumps({'event': 'reply', 'answer': {}}).encode()\nfor _ in range(4): os.write(19, struct.pack('>QQ', len(m), 0) + m)\ntime.sleep(10**6)"
    yield answers("replies in advance, and then nothing", {"2.3": "my_sae = None\n" + forged})
    yield edited("hundreds of magics", lambda cells: [*cells, code("!ls\n" * 501)])
    yield edited(
        "an endless sum", lambda cells: [*cells, code("x = " + "+".join(["1"] * 5000)), code("a" + ".b" * 3000)]
    )
    chain = [code("sae_loss = x0 and sae_loss" if i == 0 else f"x{i - 1} = x{i}") for i in range(900)]
    yield edited("a long chain", lambda cells: [*cells, *chain], earned=())
    yield edited(
        "megabytes of source",
        lambda cells: [*cells, *(code(f"# {i}\n" + "x = 1\n" * 30000) for i in range(20))],
        earned=(),
        statuses=("unreadable", "partly"),
    )
    yield in_loss(
        "shared memory", "import mmap\nm = mmap.mmap(-1, 3 << 30)\nfor i in range(0, 3 << 30, 4096): m[i] = 1"
    )
    yield in_loss(
        "files in memory",
        "import os\nkeep = []\nfor i in range(60):\n    fd = os.memfd_create('x'); keep.append(fd)\n    for _ in range(4): os.write(fd, b'x' * (1 << 24))\nimport time; time.sleep(2)",
    )
    yield in_loss(
        "the device folder filled",
        "with open('/dev/full-of-it', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))",
    )


def breakers():
    """Yield attempts to crash a grader or use up its resources."""
    yield in_loss("sys.exit", "import sys\nsys.exit(0)")
    yield in_loss("KeyboardInterrupt", "raise KeyboardInterrupt")
    yield answers("SystemExit from a function", {"2.1": "def SAE(a, b):\n    raise SystemExit(0)"})
    yield in_loss("os._exit", "import os\nos._exit(0)")
    yield in_loss(
        "killing the parent", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time; time.sleep(1)"
    )
    yield in_loss("killing everyone", "import os, signal\nos.kill(-1, signal.SIGKILL)")
    yield in_loss("a segfault", "import ctypes\nctypes.string_at(0)")
    yield in_loss("an abort", "import os\nos.abort()")
    yield in_loss("an endless loop", "while True: pass")
    yield in_loss(
        "a loop that swallows everything",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    )
    yield answers("an endless loop in a function", {"2.4": "def top_contexts(*a, **k):\n    while True: pass"})
    yield in_loss("sleeping", "import time\ntime.sleep(10**6)")
    yield in_loss(
        "orphans",
        "import subprocess, threading, time\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\nthreading.Thread(target=lambda: time.sleep(1000)).start()",
    )
    yield in_loss("a fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")
    yield in_loss("50 GB", "import numpy as np\nbig = np.ones(50 * 2**30, dtype=np.uint8)")
    yield in_loss("memory bit by bit", "keep = []\nwhile True: keep.append(bytearray(b'x') * (1 << 26))")
    yield in_loss("a full disk", "with open('/tmp/full', 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))")
    yield in_loss(
        "many files", "import os\nfor i in range(10**9):\n    open(f'/dev/shm/{i}', 'wb').write(b'x' * (1 << 22))"
    )
    yield in_loss(
        "output without end",
        "import sys\nfor _ in range(300): print('x' * (1 << 20))\nraise ValueError('e' * (1 << 27))",
    )
    yield in_loss(
        "a million displays", "from IPython.display import display, HTML\nfor i in range(20000): display(HTML('<b>'))"
    )
    yield in_loss("a giant traceback", "def f(n):\n    return f(n + 1)\nf(0)")
    yield in_loss(
        "input, breakpoint, debug",
        "try: input()\nexcept Exception as e: print(e)\ntry: breakpoint()\nexcept BaseException as e: print(e)",
    )
    yield answers(
        "magics",
        {
            "2.1": "!rm -rf / --no-preserve-root\n%pip install nothing\n!curl http://127.0.0.1\n%debug\nimport urllib.request\ntry: urllib.request.urlopen('http://127.0.0.1:8000', timeout=2)\nexcept Exception: pass\nclass SAE: pass"
        },
    )
    yield in_loss(
        "writing everywhere",
        "import os, glob\nfor folder in ['/', '/usr', os.path.dirname(torch.__file__), os.path.dirname(data.__file__), '/work', '/root', '/home']:\n    try: open(folder + '/owned', 'w').write('x')\n    except OSError: pass",
    )
    yield in_loss(
        "reading everywhere",
        "import os\nfor path in ['/proc/1/environ', '/proc/1/root', '/etc/shadow', '../../../etc/passwd', '/proc/self/fd']:\n    try: (os.listdir if os.path.isdir(path) else lambda p: open(p).read())(path)\n    except OSError: pass",
    )
    yield in_loss("a huge answer", "torch.relu = lambda x: torch.zeros(20000, 20000)")
    yield answers("a huge list", {"2.4": "def top_contexts(*a, **k):\n    return list(range(10**8))"})
    yield answers("a huge number", {"1.3": "best_coefficient, best_layers = 10**400, [10**400]"})
    yield answers(
        "text that isn't text",
        {"2.1": "raise ValueError('\\ud800 \\x00 <script>alert(1)</script> ' * 3)\nclass SAE: pass"},
    )
    yield in_loss("script in an error", "raise ValueError('<script>alert(1)</script><img src=x onerror=alert(1)>')")
    yield answers("no Python", {"2.1": "this is (not python\n```"})
