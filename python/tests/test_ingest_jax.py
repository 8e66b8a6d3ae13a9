"""Batches of JAX arrays. Only where jax is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import partita as pt

jax = pytest.importorskip("jax")


def table() -> pa.Table:
    return pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(24, dtype=np.float32)), 6),
            "id": [1, 2, 3, 1 << 40],
            "flag": [True, False, True, True],
            "text": ["a", "b", "c", "d"],
            "hole": [1, None, 2, 3],
        }
    )


def test_columns_become_arrays() -> None:
    (found,) = pt.from_arrow(table()).streaming_split(1)
    batch = next(found.iter_jax_batches(4, dtypes={"x": "float16"}))
    assert all(isinstance(batch[name], jax.Array) for name in ("x", "id", "flag"))
    assert batch["x"].shape == (4, 6)
    assert batch["x"].dtype == "float16"
    assert batch["id"].tolist() == [1, 2, 3, 1 << 40], "64 bits stay"
    assert batch["flag"].tolist() == [True, False, True, True]
    assert batch["text"] == ["a", "b", "c", "d"]
    assert batch["hole"] == [1, None, 2, 3]


def test_arrays_stay_what_they_are_while_others_come() -> None:
    kept = list(pt.range(50_000).iter_jax_batches(1000, prefetch_batches=3, memory="32MiB"))
    assert [batch["id"].tolist() for batch in kept] == [list(range(i, i + 1000)) for i in range(0, 50_000, 1000)]


def test_devices_and_shardings_and_collate() -> None:
    (found,) = pt.range(8).streaming_split(1)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("batch",))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    for device in (jax.devices()[0], where):
        assert next(found.iter_jax_batches(8, device=device))["id"].tolist() == list(range(8))
    total: Any = next(found.iter_jax_batches(8, collate_fn=lambda batch: int(batch["id"].sum())))
    assert total == 28


def test_a_loop_resumes_to_the_next_row() -> None:
    (found,) = pt.range(100).streaming_split(1, seed=3)
    whole = [row for batch in found.iter_jax_batches(7) for row in batch["id"].tolist()]
    begun = found.iter_jax_batches(7)
    assert [row for batch in itertools.islice(begun, 5) for row in batch["id"].tolist()] == whole[:35]
    later = found.iter_jax_batches(50)
    later.load_state_dict(begun.state_dict())
    assert [row for batch in later for row in batch["id"].tolist()] == whole[35:]
