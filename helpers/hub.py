"""Fetch GPT-2 and WikiText-2 from the Hugging Face hub: pinned, verified, and with an error within half a minute.

The hub's own client downloads the files. This module adds what the client lacks:

- Revision and SHA-256 pin each file, so damaged bytes are never taken for a model.
- Files in the cache are used without asking the hub.
- One request with a short time limit finds out whether the hub answers. The client itself may wait for minutes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache

ANSWER_SECONDS = 8.0  # time limit for the first answer
RETRY_WAITS = (2.0, 4.0)  # before a busy hub is asked again
STALL_SECONDS = 20.0  # a download without a new byte for this long has failed


class HubError(ValueError):
    """Files that can't be fetched from the hub; the message says why and what to do."""


@dataclass(frozen=True)
class Repo:
    """Files in a repo on the hub, pinned: names and SHA-256 at one revision."""

    name: str
    kind: str  # "model" or "dataset"
    revision: str
    files: tuple[tuple[str, str], ...]


# fmt: off
GPT2 = Repo(
    "openai-community/gpt2", "model", "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    (
        ("config.json", "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4"),
        ("generation_config.json", "ed0b32ac72c0f5f44a719abb2d7786ea5146c871f83717b7f2018065954de02b"),
        ("merges.txt", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
        ("model.safetensors", "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"),
        ("tokenizer.json", "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6"),
        ("tokenizer_config.json", "5e04eb606e3a1583530a42e36c2a6b6615c86f34fe77e44d9ddeb43ff940931f"),
        ("vocab.json", "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    ),
)
_WIKITEXT_2 = {
    "train": "e83889baabc497075506f91975be5fac0d45c5290b6b20582c8cd1e853d0c9f7",
    "validation": "204929b7ff9d6184953f867dedb860e40aa69c078fc1e54b3baaa8fb28511c4c",
    "test": "5f1bea067869d04849c0f975a2b29c4ff47d867f484f5010ea5e861eab246d91",
}
WIKITEXT = Repo(
    "Salesforce/wikitext", "dataset", "b08601e04326c79dfdd32d625aee71d232d685c3",
    tuple((f"wikitext-2-raw-v1/{split}-00000-of-00001.parquet", sha) for split, sha in _WIKITEXT_2.items()),
)
# fmt: on


def fetch(repo: Repo, names: list[str] | None = None) -> dict[str, Path]:
    """Return the paths of the repo's files by name, from the cache or downloaded into it.

    Args:
        names: the files to fetch; ``None`` fetches all.

    Raises:
        HubError: a file isn't in the cache, and the hub can't be reached, is busy, lacks it or sends other bytes.
            Also if the disk is full or the cache can't be written to.
    """
    wanted = {name: sha for name, sha in repo.files if names is None or name in names}
    missing = [name for name in wanted if _cached(repo, name) is None]
    if missing:
        if constants.HF_HUB_OFFLINE:
            raise HubError(f"{repo.name} isn't in the cache, and HF_HUB_OFFLINE is set: unset it for one online run.")
        _check_hub_answers(repo, missing[0])
        for name in missing:
            _download(repo, name)
    paths = {name: path for name in wanted if (path := _cached(repo, name)) is not None}
    _verify(repo, wanted, paths)
    return paths


def is_cached(repo: Repo) -> bool:
    """Return whether all of the repo's files are in the cache."""
    return all(_cached(repo, name) for name, _ in repo.files)


def _cached(repo: Repo, name: str) -> Path | None:
    path = try_to_load_from_cache(repo.name, name, revision=repo.revision, repo_type=repo.kind)
    return Path(path) if isinstance(path, str) and os.path.exists(path) else None


def _check_hub_answers(repo: Repo, name: str) -> None:
    """Raise :class:`HubError` unless the hub answers one HEAD request; ask a busy hub again a few times."""
    url = hf_hub_url(repo.name, name, repo_type=repo.kind, revision=repo.revision)
    host = constants.ENDPOINT.split("//")[-1]
    for wait in (*RETRY_WAITS, None):
        try:
            _opener().open(urllib.request.Request(url, method="HEAD"), timeout=ANSWER_SECONDS).close()
            return
        except urllib.error.HTTPError as error:
            if 300 <= error.code < 400:
                return
            if error.code in (429, 500, 502, 503, 504) and wait is not None:
                time.sleep(wait)
                continue
            raise HubError(_status(repo, host, error.code)) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            late = f"didn't answer within {ANSWER_SECONDS:g} seconds"
            why = late if isinstance(reason, TimeoutError) else f"can't be reached ({reason})"
            raise HubError(f"The hub {host} {why}, and {repo.name} isn't in the cache: {_REMEDY}") from error


_NO_HUB = "use HOMEWORK_MODEL=smollm2 and HOMEWORK_TEXT=written, which need no hub."
_REMEDY = f"go online once, or {_NO_HUB}"


def _opener() -> urllib.request.OpenerDirector:
    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None  # any answer is enough

    return urllib.request.build_opener(NoRedirect)


def _status(repo: Repo, host: str, code: int) -> str:
    if code in (401, 403, 404):
        answer = f"The hub {host} has no {repo.name} or denies you access (HTTP {code})"
        return f"{answer}: check HF_ENDPOINT and whether your token has expired, or {_NO_HUB}"
    if code == 429 or code >= 500:
        answer = f"The hub {host} is overloaded (HTTP {code}), and {repo.name} isn't in the cache"
        return f"{answer}: try again in a few minutes, or {_NO_HUB}"
    return f"The hub {host} refuses {repo.name} (HTTP {code}): {_NO_HUB}"


def _download(repo: Repo, name: str) -> None:
    """Download a file with the hub's client in a thread; raise :class:`HubError` once it stalls.

    The client's own retries may take very long.
    """
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            hf_hub_download(repo.name, name, repo_type=repo.kind, revision=repo.revision, etag_timeout=ANSWER_SECONDS)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    size, moved = -1, time.monotonic()
    while thread.is_alive():
        thread.join(0.2)
        now = _bytes_so_far(repo)
        if now != size:
            size, moved = now, time.monotonic()
        elif time.monotonic() - moved > STALL_SECONDS:
            raise HubError(
                f"The download of {name} from {repo.name} stalled ({STALL_SECONDS:g} seconds without a byte): "
                f"try again, or {_NO_HUB}"
            )
    if outcome:
        raise HubError(_why(repo, name, outcome[0])) from outcome[0]


def _bytes_so_far(repo: Repo) -> int:
    folder = Path(constants.HF_HUB_CACHE) / f"{repo.kind}s--{repo.name.replace('/', '--')}" / "blobs"
    try:
        return sum(path.stat().st_size for path in folder.glob("*"))
    except OSError:  # a file is being renamed
        return -1


def _why(repo: Repo, name: str, error: BaseException) -> str:
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    numbers = {getattr(cause, "errno", None) for cause in causes}
    cache = constants.HF_HUB_CACHE
    if errno.ENOSPC in numbers or errno.EDQUOT in numbers:
        free = f"The disk is full ({_free(cache)} free in {cache})"
        return f"{free}: make 0.6 GB free, or set HF_HOME to a folder on a disk that has it."
    if numbers & {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR}:
        return f"The cache {cache} can't be written to: set HF_HOME to a folder that you can write to."
    status = next(
        (code for cause in causes if (code := getattr(getattr(cause, "response", None), "status_code", None))), None
    )
    if status:
        return _status(repo, constants.ENDPOINT.split("//")[-1], status)
    said = (str(error).splitlines() or [""])[0][:120]
    return f"{name} from {repo.name} can't be downloaded ({type(error).__name__}: {said}): try again, or {_NO_HUB}"


def _free(folder: str) -> str:
    try:
        existing = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
        return f"{shutil.disk_usage(existing).free / 1e9:.1f} GB"
    except OSError:
        return "nothing"


def _verify(repo: Repo, wanted: dict[str, str], paths: dict[str, Path]) -> None:
    """Compare SHA-256, except for files that were verified before and haven't changed since."""
    record = Path(platformdirs.user_cache_dir("mechinterp-homework")) / f"verified-{repo.revision[:12]}.json"
    try:
        verified = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        verified = {}
    damaged = []
    for name, sha in wanted.items():
        state = paths[name].stat()
        mark = [sha, state.st_size, state.st_mtime_ns]
        if verified.get(name) == mark:
            continue
        with paths[name].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == sha:
            verified[name] = mark
        else:
            _delete(paths[name])
            damaged.append(name)
    _write_record(record, verified)
    if damaged:
        raise HubError(
            f"The download from {repo.name} was damaged: {', '.join(damaged)} didn't have the pinned SHA-256 "
            "and has been deleted. Try again."
        )


def _write_record(record: Path, verified: dict) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(verified), encoding="utf-8")
    except OSError:
        pass  # the files are verified again next time


def _delete(path: Path) -> None:
    """Delete a file from the hub's cache: the link and its target."""
    target = path.resolve()
    for file in (path, target):
        with contextlib.suppress(OSError):
            file.unlink()
