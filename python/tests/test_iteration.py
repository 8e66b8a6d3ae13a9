"""Rows in order, in batches of the caller's size."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import partita as pt

ROWS = 10_000


def dataset() -> pt.Dataset:
    # Partitions that differ in how many rows a filter leaves of them.
    return pt.range(ROWS, rows_per_partition=700).filter("id % 7 <> 0 or id > 5000")


def expected() -> list[int]:
    return [k for k in range(ROWS) if k % 7 != 0 or k > 5000]


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_order_does_not_depend_on_threads(threads: int) -> None:
    got = [row["id"] for row in dataset().iter_rows(threads=threads)]
    assert got == expected()


@pytest.mark.parametrize("batch_size", [1, 7, 699, 700, 701, 5000, 100_000])
def test_batches_have_the_asked_size(batch_size: int) -> None:
    batches = list(dataset().iter_batches(batch_size=batch_size))
    assert [row for batch in batches for row in batch.column("id").to_pylist()] == expected()
    assert all(batch.num_rows == batch_size for batch in batches[:-1])
    assert 0 < batches[-1].num_rows <= batch_size


def test_drop_last() -> None:
    batches = list(dataset().iter_batches(batch_size=1000, drop_last=True))
    assert len(batches) == len(expected()) // 1000


def test_formats() -> None:
    ds = pt.from_pydict({"a": [1, 2, 3], "s": ["x", None, "z"]})
    kinds = {"arrow": pa.RecordBatch, "numpy": dict, "pandas": pd.DataFrame, "polars": pl.DataFrame, "pydict": dict}
    for name, kind in kinds.items():
        (batch,) = ds.iter_batches(batch_format=name)
        assert isinstance(batch, kind)
        assert list(batch["a"]) == [1, 2, 3] if name != "arrow" else batch.num_rows == 3
    (batch,) = ds.iter_batches(batch_format="numpy")
    assert isinstance(batch["a"], np.ndarray)
    with pytest.raises(pt.UserError, match="pandas"):
        ds.iter_batches(batch_format="panda")
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(pt.UserError, match="batch_size"):
            ds.iter_batches(batch_size=wrong)  # type: ignore[arg-type]


def test_leaving_early_cancels_and_leaves_no_thread() -> None:
    before = threading.active_count()
    for _ in range(5):
        rows = pt.range(10_000_000_000).iter_rows()
        assert [row["id"] for row in itertools.islice(rows, 3)] == [0, 1, 2]
        rows.close()
    assert threading.active_count() == before


def test_two_iterations_at_once() -> None:
    ds = dataset()
    pairs = zip(ds.iter_rows(), ds.iter_rows(), strict=True)
    assert all(a == b for a, b in pairs)


def test_iteration_from_another_thread() -> None:
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(row["id"] for row in dataset().iter_rows()))
    thread.start()
    thread.join()
    assert got == expected()


def test_rows_larger_than_the_budget_stream() -> None:
    ds = pt.range(12_000_000)
    rows = sum(batch.num_rows for batch in ds.iter_batches(memory="32MiB"))
    assert rows == 12_000_000
    assert ds.stats().memory_peak_bytes <= 32 << 20


def test_all_rows_may_be_larger_than_the_budget() -> None:
    # What is handed out is beside the budget, whichever way it goes.
    ds = pt.range(12_000_000)
    table = ds.to_arrow(memory="32MiB")
    assert table.num_rows == 12_000_000
    assert ds.stats().held_by_caller_peak_bytes >= table.nbytes
    assert ds.stats().memory_peak_bytes <= 32 << 20
    assert "held by the caller" in str(ds.stats())
    del table

    kept = list(ds.iter_batches(memory="32MiB", batch_size=1_000_000))
    assert [batch.num_rows for batch in kept] == [1_000_000] * 12
    assert len(ds.to_pandas(memory="32MiB")) == 12_000_000
    # Steps go on to allocate and free in their own pools beside what was handed out.
    half = ds.filter("id % 2 = 0").with_columns(twice=pt.col("id") * 2)
    assert half.to_arrow(memory="32MiB").column("twice")[-1].as_py() == 2 * 11_999_998


def test_batches_that_the_caller_let_go_are_held_no_more() -> None:
    ds = pt.range(12_000_000)
    for batch in ds.iter_batches(memory="32MiB"):
        del batch
    assert ds.stats().held_by_caller_peak_bytes < 48 << 20


def test_rows_outlive_their_run() -> None:
    batches = pt.range(1_000_000).filter("id % 3 = 0").iter_batches(memory="32MiB")
    first = next(batches)
    batches.close()
    assert first.column("id").to_pylist()[:3] == [0, 3, 6]
