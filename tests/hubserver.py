"""A small Hugging Face hub on loopback that can fail in the ways a real one does."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

FAULTS = ("", "hang", "503", "429", "404", "401", "cut", "corrupt", "slow", "stall")


class Hub:
    """Repos of files, served as by the hub: ``HEAD`` and ``GET …/resolve/…`` with Range, commit and ETag.

    Attributes:
        files: ``{"openai-community/gpt2/config.json": b"…", "datasets/Salesforce/wikitext/…": b"…"}``.
        fault: what goes wrong with later requests, one of :data:`FAULTS`.
        asked: the requested paths, in order.
    """

    def __init__(self, files: dict[str, bytes], revision: str, fault: str = "") -> None:
        self.files, self.revision, self.fault, self.asked = files, revision, fault, []
        self.slow_seconds = 3.0

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serve inside the context; yield the address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *args) -> None:
        pass

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.asked.append(path)
        fault = self.hub.fault
        if fault == "hang":
            time.sleep(120)
        if fault in ("503", "429"):
            return self._status(int(fault), {"Retry-After": "1"})
        repo, _, name = path.partition("/resolve/")
        content = self.hub.files.get(f"{repo}/{name.partition('/')[2]}")
        if fault == "404" or content is None:
            return self._status(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.hub.revision})
        if fault == "401":
            return self._status(401, {"X-Error-Code": "RepoNotFound"})
        if body and fault == "slow":
            time.sleep(self.hub.slow_seconds)
        self._send(content, body)

    def _send(self, content: bytes, body: bool) -> None:
        start = 0
        if body and (wanted := self.headers.get("Range", "")).startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").split("-")[0] or 0)
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", self.hub.revision)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        if self.hub.fault == "corrupt":
            part = bytes(byte ^ 1 for byte in part)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self.hub.fault in ("cut", "stall"):
                self.wfile.write(part[: len(part) // 2])
                self.wfile.flush()
                if self.hub.fault == "stall":
                    time.sleep(120)
                self.close_connection = True
                self.connection.close()
            else:
                self.wfile.write(part)

    def _status(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()
