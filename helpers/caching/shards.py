"""Activations on disk, harvested in shards by one process or many; a killed harvest resumes.

A folder holds ``index.json`` (hook points, model and settings) and ``shard-00000.safetensors`` and so on. Each shard
has the activations of the same number of lines. Its bytes depend on these lines alone, not on the process that makes
it or on interrupts. Every file is written atomically.

    python -m helpers.caching OUT --hook blocks.15.hook_resid_pre --shard 0/4     # 1/4, 2/4, 3/4 on other machines
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm.auto import tqdm

from helpers.caching.activations import SINK_FACTOR, Activations, HarvestError
from helpers.caching.harvesting import run_batches
from helpers.caching.memory_map import Sharded, map_tensor
from helpers.caching.tokens import tokenise
from helpers.files import write_bytes
from helpers.hooks import check_names

FORMAT = 1
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COLUMNS = ("text_ids", "positions", "token_ids")


def harvest_to(
    folder: str | Path,
    model,
    texts: Iterable,
    hook_names: str | Sequence[str],
    context: int | None = None,
    too_long: str = "error",
    blank: str = "skip",
    dtype: str = "float32",
    lines_per_shard: int = 512,
    part: tuple[int, int] = (0, 1),
    column: str = "text",
    progress: bool = True,
) -> Path:
    """Harvest into a folder. Finished shards are kept, so the same call resumes after an interrupt.

    Args:
        texts: any iterable of lines, such as a list, a generator or a streaming dataset of dicts.
        dtype: how values are stored: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        lines_per_shard: lines per shard; memory use grows with this, not with the text.
        part: ``(i, n)`` makes every n-th shard, starting at shard i, for n processes that fill one folder.
        column: column of the dataset that holds the text.
        context, too_long, blank: as for :func:`helpers.caching.harvest`.

    Returns:
        The folder, for :func:`open_shards`.

    Raises:
        HarvestError: a line can't be harvested; the folder holds activations of another model, text or setting;
            the dataset lacks the column; or the disk is full.
        HookError: the model doesn't have the hook point.
    """
    names = [hook_names] if isinstance(hook_names, str) else list(hook_names)
    check_names(model, names)
    if dtype not in DTYPES:
        raise HarvestError(f"dtype={dtype!r}: choose one of {', '.join(DTYPES)}.")
    number, of = part
    if not 0 <= number < of:
        raise HarvestError(f"part={part}: choose a first number from 0 to {of - 1}.")
    folder = Path(folder)
    settings = {
        "format": FORMAT, "model": model_fingerprint(model), "hooks": names, "dtype": dtype,
        "context": context or model.cfg.n_ctx, "too_long": too_long, "blank": blank, "lines_per_shard": lines_per_shard,
    }  # fmt: skip
    _check_index(folder, settings)
    seen, busy = 0, []
    with tqdm(unit="tok", desc=f"harvest {number}/{of}" if of > 1 else "harvest", disable=not progress) as bar:
        for shard, block in enumerate(_blocks(texts, lines_per_shard, column)):
            seen += len(block)
            if shard % of == number and not _make_shard(folder, shard, block, model, settings, bar, wait=False):
                busy.append((shard, block))
        for shard, block in busy:  # wait for the process that holds the shard; if it died, make the shard here
            _make_shard(folder, shard, block, model, settings, bar, wait=True)
    if not seen:
        raise HarvestError("texts has no lines: give at least one.")
    _write(folder / "lines.json", json.dumps({"lines": seen}).encode())
    return folder


def _blocks(texts: Iterable, size: int, column: str) -> Iterator[list[str]]:
    if isinstance(texts, str):
        raise HarvestError("texts is one string: give a list of lines.")
    lines = (_line(item, column) for item in texts)
    while block := list(itertools.islice(lines, size)):
        yield block


def _line(item, column: str) -> str:
    if not isinstance(item, dict):
        return item
    if column not in item:
        raise HarvestError(f"The dataset has no column {column!r}: choose one of {', '.join(map(repr, item))}.")
    return item[column]


def _make_shard(folder: Path, number: int, block: list[str], model, settings: dict, bar, wait: bool) -> bool:
    """Make a shard unless it exists. Return False if another process is making it."""
    path = folder / f"shard-{number:05}.safetensors"
    digest = hashlib.sha256("\n".join(map(str, block)).encode("utf-8", "surrogatepass")).hexdigest()
    lock = folder / f".{path.name}.lock"
    try:
        with FileLock(lock, timeout=-1 if wait else 0):
            for leftover in folder.glob(f"{path.name}.*.tmp"):  # of a killed process, since the lock is held here
                leftover.unlink()
            if path.exists():
                _check_text(path, digest)
            else:
                _write(path, _shard_bytes(number, block, digest, model, settings, bar))
    except Timeout:
        return False
    lock.unlink(missing_ok=True)
    return True


def _check_text(path: Path, digest: str) -> None:
    if _metadata(path)["text"] != digest:
        raise HarvestError(
            f"The text has changed since {path.name} was harvested: "
            f"choose another folder, or delete {path.parent} to start again."
        )


def _metadata(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["about"])


def _shard_bytes(number: int, block: list[str], digest: str, model, settings: dict, bar) -> bytes:
    first = number * settings["lines_per_shard"]
    tokens = tokenise(model, block, settings["context"], settings["too_long"], blank=settings["blank"], first=first)
    width = model.cfg.d_model
    empty = {name: torch.empty(0, width, dtype=DTYPES[settings["dtype"]]) for name in settings["hooks"]}
    values = run_batches(model, tokens, settings["hooks"], bar, DTYPES[settings["dtype"]]) if tokens.rows else empty
    columns = tokens.columns() if tokens.rows else [torch.empty(0, dtype=torch.long)] * 3
    tensors = {f"values:{name}": value for name, value in values.items()}
    tensors |= {f"norms:{name}": value.float().norm(dim=-1) for name, value in values.items()}
    tensors |= dict(zip(COLUMNS, columns, strict=True))
    about = json.dumps({"text": digest, "cut": tokens.cut, "blank": tokens.blank})
    # A single metadata entry: safetensors writes several in any order, which would change the bytes.
    return save(tensors, {"about": about})


def _check_index(folder: Path, settings: dict) -> None:
    """Write the index, or check that an existing one has the same settings."""
    path = folder / "index.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write(path, json.dumps(settings, indent=1).encode())
        existing = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarvestError(f"{folder} can't be used ({error}): choose another folder.") from error
    changed = [name for name, value in settings.items() if existing.get(name) != value]
    if changed:
        what = "another model" if "model" in changed else f"other settings ({', '.join(changed)})"
        raise HarvestError(f"{folder} was harvested with {what}: choose another folder, or delete it to start again.")


def _write(path: Path, raw: bytes) -> None:
    try:
        write_bytes(path, raw)
    except OSError as error:
        raise HarvestError(
            f"{path.name} can't be written ({error.strerror}; {len(raw) / 1e6:.0f} MB were needed): "
            "make room and run the same call again; it resumes from there."
        ) from error


def model_fingerprint(model) -> str:
    """Return a hash that identifies a model, from the shapes and first numbers of all its parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        head = parameter.detach().flatten()[:64].float().cpu().numpy().tobytes()
        digest.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode() + head)
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class StoredActivations:
    """A harvested folder; values stay on disk until they are accessed."""

    folder: Path
    index: dict
    shards: tuple[Path, ...]

    @property
    def hook_names(self) -> list[str]:
        return self.index["hooks"]

    def counts(self) -> dict[str, int]:
        """Return how many lines were cut or split, and how many were blank."""
        metadata = [_metadata(path) for path in self.shards]
        return {name: sum(each[name] for each in metadata) for name in ("cut", "blank")}

    def activations(self, hook_name: str | None = None) -> Activations:
        """Return all tokens at one hook point, or at the first one.

        Only ``values`` stay on disk, as a :class:`helpers.caching.memory_map.Sharded`; a slice of them is a tensor.
        ``sae.train`` and ``sae.evaluate`` accept the result directly.

        Raises:
            HarvestError: the hook point wasn't harvested.
        """
        name = hook_name or self.hook_names[0]
        if name not in self.hook_names:
            raise HarvestError(f"{name!r} wasn't harvested here: choose {' or '.join(map(repr, self.hook_names))}.")
        columns = {column: torch.cat([map_tensor(path, column) for path in self.shards]) for column in COLUMNS}
        norms = torch.cat([map_tensor(path, f"norms:{name}") for path in self.shards])
        values = Sharded([map_tensor(path, f"values:{name}") for path in self.shards])
        is_sink = norms > SINK_FACTOR * norms.median()
        return Activations(values=values, is_sink=is_sink, hook_name=name, **columns)

    def batches(
        self, hook_name: str | None = None, size: int = 1024, seed: int = 0, at_once: int = 4
    ) -> Iterator[Float[Tensor, "batch d_model"]]:
        """Yield batches of one shuffled pass over all tokens, sinks excluded.

        Shards come in random order; ``at_once`` of them are in memory at a time, and their rows are mixed.
        """
        acts = self.activations(hook_name)
        stored: Sharded = acts.values
        random = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.shards), generator=random)
        for group in order.split(at_once):
            rows = torch.cat([stored.rows_of(int(shard)) for shard in group])
            rows = rows[~acts.is_sink[rows]]
            values = stored[rows[rows.argsort()]]
            yield from values[torch.randperm(len(values), generator=random)].split(size)


def open_shards(folder: str | Path) -> StoredActivations:
    """Open a folder that :func:`harvest_to` filled.

    Raises:
        HarvestError: the folder doesn't exist, or shards are still missing.
    """
    folder = Path(folder)
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        lines = json.loads((folder / "lines.json").read_text(encoding="utf-8"))["lines"]
    except (OSError, ValueError) as error:
        raise HarvestError(f"{folder} holds no finished harvest: run harvest_to on it to the end.") from error
    wanted = [folder / f"shard-{number:05}.safetensors" for number in range(-(-lines // index["lines_per_shard"]))]
    missing = [path.name for path in wanted if not path.exists()]
    if missing:
        raise HarvestError(
            f"{len(missing)} of {len(wanted)} shards of {folder} are missing, {missing[0]} first: run the other parts."
        )
    return StoredActivations(folder, index, tuple(wanted))
