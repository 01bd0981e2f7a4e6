"""A table on disk is indexed like a tensor, and gives the latents' functions the same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import latents, sae
from helpers.caching import Activations, mark_sinks
from helpers.caching.memory_map import Sharded

N, D = 60, 6
DTYPES = [torch.float32, torch.bfloat16]


def table(dtype=torch.float32) -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0)).to(dtype)


def sharded(values: torch.Tensor) -> Sharded:
    return Sharded(values.split([25, 1, 34]))


MASK = torch.arange(N) % 3 == 1
INDICES = {
    "int": 3, "last": -1, "first of all": -N, "slice": slice(20, 30), "slice from the end": slice(-5, None),
    "steps": slice(10, 50, 7), "everything": slice(None), "list": [1, 40, -2], "empty list": [],
    "tensor": torch.tensor([5, 59, 0]), "int32": torch.tensor([5, -1], dtype=torch.int32),
    "two dimensions": torch.tensor([[1, 2], [3, -4]]), "numpy": np.array([26, 2]), "numpy int": np.int64(7),
    "row and column": (3, 2), "rows of a column": (slice(20, 30), 2), "columns": (slice(None), slice(1, 4)),
    "pairs": ([1, 2, 30], [0, 5, 5]), "ellipsis": (..., 1), "last column": (-1, -1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", INDICES)
def test_a_table_on_disk_is_indexed_like_a_tensor(name, dtype):
    values = table(dtype)
    found = sharded(values)[INDICES[name]]
    assert found.dtype == dtype and torch.equal(found, values[INDICES[name]])


@pytest.mark.parametrize("index", [7, -1, [0, -3], (4, 2), (-1, -1), slice(-3, None)])
def test_so_is_a_masked_one(index):
    values = table()
    assert torch.equal(sharded(values)[MASK][index], values[MASK][index])


def test_a_mask_reads_nothing_and_masks_can_follow_each_other():
    values = table()
    disk = sharded(values)[MASK]
    assert isinstance(disk, Sharded) and disk.shape == (20, D) and torch.equal(disk[:], values[MASK])
    second = torch.arange(20) > 15
    assert torch.equal(disk[second][:], values[MASK][second]) and torch.equal(disk[-1], values[MASK][-1])
    assert torch.equal(torch.stack(list(disk)), values[MASK])


@pytest.mark.parametrize("index", [N, -N - 1, [0, N], torch.tensor([N]), torch.ones(N - 1, dtype=torch.bool)])
def test_a_row_that_does_not_exist_is_an_index_error(index):
    with pytest.raises(IndexError):
        sharded(table())[index]


def test_what_a_table_on_disk_cannot_do_says_how_to_get_a_tensor():
    with pytest.raises(AttributeError, match=r"no 'norm'.*into memory"):
        sharded(table()).norm(dim=-1)


def activations(values) -> Activations:
    text_ids = torch.arange(N) // 5
    return Activations(
        values, text_ids, torch.arange(N) % 5 + 1, torch.arange(N) % 9, mark_sinks(torch.as_tensor(values[:]))
    )


class Words:
    """Stands for a model: token i is the word w<i>, and the unembedding is random."""

    class tokenizer:
        all_special_ids = (0,)

        @staticmethod
        def decode(ids):
            return f" w{ids[0]}"

    W_U = torch.randn(D, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_latents_of_a_table_on_disk_equal_those_in_memory(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = sae.TopK(D, 16, 3)
    values = table(dtype)
    memory = activations(values)
    disk = replace(memory, values=sharded(values))
    labels = torch.rand(4, N, generator=torch.Generator().manual_seed(2)) < 0.4
    encode = latents.encoder(module)

    assert torch.equal(latents.latent_values(module, disk, [3, 5]), latents.latent_values(module, memory, [3, 5]))
    for one, other in zip(
        vars(latents.latent_stats(module, disk)).values(),
        vars(latents.latent_stats(module, memory)).values(),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert (latents.encode_sparse(module, disk) != latents.encode_sparse(module, memory)).nnz == 0
    for function in (encode, lambda rows: rows):
        for part in (disk, memory):
            assert all(
                map(
                    torch.equal,
                    latents.best_f1(function, part.values, labels),
                    latents.best_f1(function, values, labels),
                )
            )
        which = latents.best_f1(function, values, labels)[1]
        assert torch.equal(
            latents.auroc(function, disk.values, labels, which), latents.auroc(function, values, labels, which)
        )
        probes = [latents.sparse_probe(function, (v, labels), (v, labels), k=2) for v in (disk.values, values)]
        assert torch.equal(probes[0].f1, probes[1].f1) and probes[0].chosen == probes[1].chosen
    model = Words()
    assert latents.pages(model, module, disk, progress=None) == latents.pages(model, module, memory, progress=None)
    column = latents.latent_values(module, disk, [2])[:, 0]
    assert latents.context(model, disk, column, -1 % N) == latents.context(model, memory, column, -1 % N)
    metrics = [sae.evaluate(module, part) for part in (disk, memory)]
    assert metrics[0].figures() == metrics[1].figures()
    kept = [sae.evaluate(module, part, keep_sinks=True).figures() for part in (disk, memory)]
    assert kept[0] == kept[1]


def test_features_beyond_fp16_keep_their_values():
    values = table() * 1e5
    labels = (values[:, :2] > 0).T
    scores, which = latents.best_f1(lambda rows: rows, values, labels)
    assert scores.tolist() == [1, 1] and which.tolist() == [0, 1]
    assert latents.sparse_probe(lambda rows: rows, (values, labels), (values, labels)).f1.min() > 0.95
