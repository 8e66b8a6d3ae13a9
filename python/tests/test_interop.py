"""Arrow in and out, without copies."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import partita as pt


def addresses(column: pa.ChunkedArray | pa.Array) -> list[int]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [buffer.address for chunk in chunks for buffer in chunk.buffers() if buffer is not None]


def table(rows: int = 100_000) -> pa.Table:
    return pa.table({"i": pa.array(np.arange(rows)), "s": pa.array([f"value {k}" for k in range(rows)])})


def test_rows_pass_through_without_a_copy() -> None:
    given = table()
    back = pt.from_arrow(given).to_arrow()
    assert back.equals(given)
    for name in given.column_names:
        assert set(addresses(back.column(name))) <= set(addresses(given.column(name)))


def test_untouched_columns_are_not_copied() -> None:
    given = table()
    back = pt.from_arrow(given).with_columns(j=pt.col("i") + 1).drop("s").to_arrow()
    assert set(addresses(back.column("i"))) <= set(addresses(given.column("i")))


def test_numpy_comes_and_goes_without_a_copy() -> None:
    values = np.arange(50_000, dtype=np.float32)
    ds = pt.from_pydict({"x": values})
    batches = list(ds.iter_batches(batch_size=10_000, batch_format="numpy"))
    assert np.array_equal(np.concatenate([batch["x"] for batch in batches]), values)
    assert all(np.shares_memory(batch["x"], values) for batch in batches)


def test_arrays_of_any_dimensions_come_without_a_copy() -> None:
    x = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    ds = pt.from_numpy({"x": x, "y": np.array([True, False, True, True])})
    assert ds.schema().field("x").type == pa.list_(pa.list_(pa.int16(), 2), 3)
    (batch,) = ds.iter_batches(batch_format="numpy")
    assert np.shares_memory(batch["x"], x)
    assert np.array_equal(batch["x"], x)
    assert pt.from_numpy(x[:, ::2]).to_arrow()["data"].to_pylist() == x[:, ::2].tolist()

    class Tensor:  # as torch and JAX have them
        def __dlpack__(self, **given: Any) -> Any:
            return x.__dlpack__(**given)

        def __dlpack_device__(self) -> Any:
            return x.__dlpack_device__()

    (batch,) = pt.from_numpy({"x": Tensor()}).iter_batches(batch_format="numpy")
    assert np.shares_memory(batch["x"], x)
    wrong_ones: list[tuple[dict[str, Any], str]] = [
        ({"x": 3}, "single value"),
        ({"x": x, "y": x[:2]}, "no table"),
        ({"x": x[:, :0]}, "no values"),
    ]
    for wrong, message in wrong_ones:
        with pytest.raises(pt.UserError, match=message):
            pt.from_numpy(wrong)


def test_tensors_become_a_further_dimension() -> None:
    values = np.arange(24, dtype=np.int16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), 4)
    (batch,) = pt.from_pydict({"t": column}).iter_batches(batch_format="numpy")
    assert batch["t"].shape == (6, 4)
    assert np.shares_memory(batch["t"], values)
    sliced = list(pt.from_pydict({"t": column}).iter_batches(batch_size=4, batch_format="numpy"))
    assert [b["t"].tolist() for b in sliced] == [values.reshape(6, 4)[:4].tolist(), values.reshape(6, 4)[4:].tolist()]


def test_tensors_of_any_shapes_both_ways() -> None:
    shapes = [(1, 2, 3), (2, 2, 3), (0, 4, 3)]
    pictures = [np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) for shape in shapes]
    ds = pt.from_numpy({"picture": pictures, "label": np.arange(3)})
    assert ds.schema().field("picture").type == pt.variable_shape_tensor("uint8", 3)
    ds.random_shuffle(seed=3).write_parquet("pictures")
    stored = pt.read_parquet("pictures")
    assert stored.schema().field("picture").type == pt.variable_shape_tensor("uint8", 3)
    for rows in (ds, stored, stored.filter("label < 3")):
        (batch,) = rows.iter_batches(batch_format="numpy")
        for label, found in zip(batch["label"], batch["picture"], strict=True):
            assert np.array_equal(found, pictures[label])
            assert found.shape == pictures[label].shape
    halves = stored.map_batches(
        lambda batch: {"picture": [p[:, ::2] for p in batch["picture"]]},
        schema={"picture": pt.variable_shape_tensor("float32", 3)},
    )
    found_shapes = [p.shape for batch in halves.iter_batches(batch_format="numpy") for p in batch["picture"]]
    assert sorted(found_shapes) == sorted(p[:, ::2].shape for p in pictures)
    # Without a schema: where the first rows show that shapes differ.
    assert stored.map_batches(lambda batch: batch).schema() == stored.select("picture", "label").schema()
    with pytest.raises(pt.UserError, match="tensor of 3 dimensions"):
        stored.map_batches(
            lambda batch: {"picture": [p[0] if len(p) else p for p in batch["picture"]]},
            schema={"picture": pt.variable_shape_tensor("uint8", 3)},
        ).to_arrow()
    for wrong in (("uint9", 2), ("uint8", 0)):
        with pytest.raises(pt.UserError):
            pt.variable_shape_tensor(*wrong)


def test_memory_is_kept_as_long_as_the_dataset_and_no_longer() -> None:
    class Rows:
        """Lends its rows, as another library would."""

        def __init__(self) -> None:
            self.table = table(10)

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self.table.__arrow_c_stream__(requested_schema)

    before = pa.total_allocated_bytes()
    ds = pt.from_arrow(Rows())
    ds = ds.filter("i > 1")
    assert ds.to_arrow().num_rows == 8
    kept = weakref.ref(ds._node.inputs[0].keep)
    del ds
    gc.collect()
    assert kept() is None
    assert pa.total_allocated_bytes() <= before + 4096


def test_sources_of_rows() -> None:
    given = table(10)
    reader = pa.RecordBatchReader.from_batches(given.schema, given.to_batches(max_chunksize=3))
    for source in (given, given.to_batches()[0], reader, pl.from_arrow(given), duckdb.from_arrow(given)):
        ds = pt.from_arrow(source)
        assert ds.select("i").to_arrow().column("i").to_pylist() == list(range(10))
        assert ds.filter("s = 'value 3'").count() == 1
    with pytest.raises(pt.UserError, match="no Arrow data"):
        pt.from_arrow([1, 2])  # type: ignore[arg-type]


def test_dataset_is_a_source_of_rows_for_others() -> None:
    ds = pt.range(1000).filter("id % 2 = 0").with_columns(s=pt.col("id").cast("string"))
    assert pa.table(ds).num_rows == 500
    assert pl.DataFrame(ds).height == 500
    assert duckdb.sql("select sum(id), count(s) from ds").fetchall() == [(249_500, 500)]
    assert pa.schema(ds) == ds.schema()
    again = pt.from_arrow(ds)
    assert again.to_arrow().equals(ds.to_arrow())


def test_an_error_reaches_whoever_reads_the_stream() -> None:
    ds = pt.from_pydict({"s": ["1", "x"]}).cast(s="int32")
    with pytest.raises((pa.ArrowException, OSError, ValueError), match="parse"):
        pa.table(ds)


def test_a_stream_that_nobody_reads_ends_its_run() -> None:
    capsule = pt.range(10_000_000_000).filter("id >= 0").__arrow_c_stream__()
    del capsule
    reader = pa.RecordBatchReader.from_stream(pt.range(10_000_000_000))
    assert reader.read_next_batch().num_rows > 0
    del reader


def test_pandas() -> None:
    frame = pd.DataFrame({"a": [1, 2], "s": ["x", None]}, index=[5, 6])
    ds = pt.from_pandas(frame)
    assert ds.schema().names == ["a", "s"]
    assert pt.from_pandas(frame, preserve_index=True).schema().names[-1] == "__index_level_0__"
    back = ds.to_pandas()
    assert back["a"].tolist() == [1, 2]
    assert pd.isna(back["s"][1])


def test_polars() -> None:
    frame = pl.DataFrame({"a": [1, 2], "s": ["long enough to be no inline view", None]})
    ds = pt.from_polars(frame)
    assert ds.with_columns(u=pt.col("s").str.upper()).to_polars()["u"].to_list()[0] == frame["s"][0].upper()
    assert ds.to_polars().equals(frame)
    ds.write_parquet("from-polars")
    assert pt.read_parquet("from-polars").to_polars()["s"].to_list() == frame["s"].to_list()
    with pytest.raises(pt.UserError, match="collect"):
        pt.from_polars(frame.lazy())  # type: ignore[arg-type]


TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.bool_(), [True, None, False]),
    (pa.decimal128(10, 2), [None]),
    (pa.timestamp("us", "UTC"), [0, None]),
    (pa.date32(), [1]),
    (pa.duration("ms"), [1]),
    (pa.binary(), [b"\x00", None]),
    (pa.large_string(), ["x"]),
    (pa.list_(pa.int8()), [[1, None], None, []]),
    (pa.struct([("a", pa.int8())]), [{"a": 1}, None]),
    (pa.map_(pa.string(), pa.int8()), [[("k", 1)]]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a", None]),
    (pa.float16(), [None]),
    (pa.null(), [None, None]),
]


@pytest.mark.parametrize(("dtype", "values"), TYPES, ids=[str(dtype) for dtype, _ in TYPES])
def test_types_cross_unchanged(dtype: pa.DataType, values: list[Any]) -> None:
    given = pa.table({"x": pa.array(values, dtype)})
    back = pt.from_arrow(given).to_arrow()
    assert back.schema == given.schema
    assert back.equals(given)


# What a dataset of theirs hands out may be a mapped file that it closes when it likes.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_hugging_face_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    theirs = datasets.Dataset.from_dict({"id": list(range(100)), "text": [f"t{i}" for i in range(100)]})
    whole = pt.from_arrow(theirs.data.table)
    assert whole.filter("id >= 98").to_arrow()["text"].to_pylist() == ["t98", "t99"]
    some = pt.from_arrow(theirs.select([5, 3]).with_format("arrow")[:])
    assert some.to_arrow()["id"].to_pylist() == [5, 3]
    back = datasets.Dataset(whole.with_columns(twice="id * 2").to_arrow())
    assert back[7] == {"id": 7, "text": "t7", "twice": 14}
