"""Every Arrow type that rows may bring goes through filters and exchanges; Arrow in Python judges."""

from __future__ import annotations

import decimal
import random
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from partita.worker import formats
from partita.worker.errors import WrongReturnError

import partita as pt

Values = Callable[[random.Random, int], "pa.Array[Any]"]


def text(rng: random.Random) -> str | None:
    # Short ones fit into a view, long ones do not.
    length = rng.choice([0, 3, 12, 13, 40])
    return None if rng.random() < 0.2 else "".join(rng.choices(string.ascii_letters + "é", k=length))


def texts(dtype: pa.DataType) -> Values:
    return lambda rng, rows: pa.array([text(rng) for _ in range(rows)], pa.string()).cast(dtype)


def numbers(dtype: pa.DataType) -> Values:
    return lambda rng, rows: pa.array(
        [None if rng.random() < 0.2 else rng.randint(0, 100) for _ in range(rows)], pa.int32()
    ).cast(dtype)


def ticks(dtype: pa.DataType) -> Values:
    integer = pa.int32() if dtype.bit_width == 32 else pa.int64()
    scale = 86_400_000 if dtype == pa.date64() else 1
    return lambda rng, rows: pa.array(
        [rng.choice([None, rng.randint(0, 99) * scale]) for _ in range(rows)], integer
    ).view(dtype)


def decimals(dtype: pa.DataType) -> Values:
    return lambda rng, rows: pa.array(
        [rng.choice([None, decimal.Decimal(rng.randint(-99, 99))]) for _ in range(rows)], dtype
    )


def listed(dtype: pa.DataType, item: Values, *, size: int | None = None) -> Values:
    def make(rng: random.Random, rows: int) -> pa.Array[Any]:
        lengths = [size if size is not None else rng.randint(0, 3) for _ in range(rows)]
        values = iter(item(rng, sum(lengths)).to_pylist())
        made = [[next(values) for _ in range(length)] for length in lengths]
        return pa.array([None if rng.random() < 0.2 else row for row in made], dtype)

    return make


def fields(**columns: Values) -> Values:
    def make(rng: random.Random, rows: int) -> pa.Array[Any]:
        made = [column(rng, rows) for column in columns.values()]
        mask = pa.array([rng.random() < 0.2 for _ in range(rows)], pa.bool_())
        return pa.StructArray.from_arrays(made, list(columns), mask=mask)

    return make


def dictionary(index: pa.DataType, values: Values) -> Values:
    def make(rng: random.Random, rows: int) -> pa.Array[Any]:
        indices = pa.array([rng.choice([None, 0, 1, 2, 3, 4]) for _ in range(rows)], index)
        return pa.DictionaryArray.from_arrays(indices, values(rng, 5))

    return make


def runs(end: pa.DataType, values: Values) -> Values:
    def make(rng: random.Random, rows: int) -> pa.Array[Any]:
        ends = sorted({rng.randint(1, rows) for _ in range(rows // 3)} | {rows}) if rows else []
        return pa.RunEndEncodedArray.from_arrays(pa.array(ends, end), values(rng, len(ends)))

    return make


def extension(dtype: pa.DataType, storage: Values) -> Values:
    return lambda rng, rows: pa.ExtensionArray.from_storage(dtype, storage(rng, rows))


def halves(rng: random.Random, rows: int) -> pa.Array[Any]:
    mask = np.array([rng.random() < 0.2 for _ in range(rows)], dtype=bool)
    return pa.array(np.array([rng.randint(-8, 8) / 4 for _ in range(rows)], dtype=np.float16), mask=mask)


def intervals(rng: random.Random, rows: int) -> pa.Array[Any]:
    return pa.array([rng.choice([None, (1, rng.randint(0, 9), 3)]) for _ in range(rows)], pa.month_day_nano_interval())


def union(mode: str) -> Values:
    def make(rng: random.Random, rows: int) -> pa.Array[Any]:
        codes = [rng.randint(0, 1) for _ in range(rows)]
        left, right = numbers(pa.int16())(rng, rows), texts(pa.string_view())(rng, rows)
        types = pa.array(codes, pa.int8())
        if mode == "sparse":
            return pa.UnionArray.from_sparse(types, [left, right])
        return pa.UnionArray.from_dense(types, pa.array(range(rows), pa.int32()), [left, right])

    return make


VIEWS = texts(pa.string_view())
TYPES: dict[str, Values] = {
    **{str(t): numbers(t) for t in (pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64())},
    "half float": halves,
    "null": lambda _, rows: pa.nulls(rows),
    **{
        str(f(p, 2)): decimals(f(p, 2))
        for f, p in ((pa.decimal32, 9), (pa.decimal64, 18), (pa.decimal128, 38), (pa.decimal256, 76))
    },
    **{
        str(t): ticks(t)
        for t in (
            pa.date32(),
            pa.date64(),
            pa.time32("s"),
            pa.time64("us"),
            pa.timestamp("us"),
            pa.timestamp("ms", "UTC"),
            pa.duration("s"),
        )
    },
    "interval": intervals,
    **{
        str(t): texts(t)
        for t in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())
    },
    "fixed-size binary": extension(
        pa.uuid(), lambda rng, rows: pa.array([rng.randbytes(16) for _ in range(rows)], pa.binary(16))
    ),
    **{str(t): listed(t, numbers(pa.int8())) for t in (pa.list_(pa.int8()), pa.large_list(pa.int8()))},
    **{str(t): listed(t, VIEWS) for t in (pa.list_(pa.string_view()), pa.list_view(pa.string_view()))},
    "large_list_view": listed(pa.large_list_view(pa.string()), texts(pa.string())),
    "fixed-size list of views": listed(pa.list_(pa.string_view(), 2), VIEWS, size=2),
    "struct": fields(a=numbers(pa.int8()), v=VIEWS, d=dictionary(pa.int8(), VIEWS), r=runs(pa.int32(), VIEWS)),
    "map": lambda rng, rows: pa.array(
        [rng.choice([None, [(str(k), text(rng)) for k in range(rng.randint(0, 2))]]) for _ in range(rows)],
        pa.map_(pa.string(), pa.string_view()),
    ),
    "dictionary": dictionary(pa.int8(), texts(pa.string())),
    "dictionary of views": dictionary(pa.uint16(), VIEWS),
    "runs": runs(pa.int16(), texts(pa.string())),
    "runs of views": runs(pa.int64(), VIEWS),
    "runs of lists": runs(pa.int32(), listed(pa.list_(pa.string_view()), VIEWS)),
    "json": extension(pa.json_(), texts(pa.string())),
    "opaque": extension(pa.opaque(pa.string_view(), "a", "b"), VIEWS),
    "sparse union": union("sparse"),
    "dense union": union("dense"),
}


def values_of(column: pa.Array[Any] | pa.ChunkedArray[Any]) -> list[Any]:
    if pa.types.is_float16(column.type):
        return [None if value is None else float(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def make(name: str, seed: int, rows: int) -> tuple[pa.RecordBatch, list[bool | None]]:
    """A column inside a longer one, and which rows to keep."""
    rng = random.Random(seed)
    column = TYPES[name](rng, rows + 5).slice(rng.randint(0, 5), rows)
    keep = [rng.choice([True, True, False, None]) for _ in range(rows)]
    return pa.record_batch({"x": column, "keep": pa.array(keep, pa.bool_())}), keep


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 70))
def test_a_filter_keeps_what_python_keeps(name: str, seed: int, rows: int) -> None:
    batch, keep = make(name, seed, rows)
    got = pt.from_arrow(batch).filter("keep").to_arrow()
    got.validate(full=True)
    assert got.schema == batch.schema
    expected = [value for value, kept in zip(values_of(batch.column("x")), keep, strict=True) if kept]
    assert values_of(got.column("x")) == expected


@pytest.mark.parametrize("name", TYPES)
def test_an_exchange_keeps_every_value(name: str) -> None:
    # A limit over several partitions goes through files.
    batches = [make(name, seed, 40)[0] for seed in range(3)]
    given = pa.Table.from_batches([batch.select(["x"]) for batch in batches])
    got = pt.from_arrow(given, rows_per_partition=20).limit(90).filter(pt.lit(True)).to_arrow()
    got.validate(full=True)
    assert got.schema == given.schema
    assert values_of(got.column("x")) == values_of(given.column("x"))[:90]


def test_dictionaries_that_change_go_through_an_exchange() -> None:
    words = [f"word {k}" for k in range(50)]
    chunks = [
        pa.DictionaryArray.from_arrays(pa.array([k % 5] * 7, pa.int8()), pa.array(words[k : k + 5])) for k in range(40)
    ]
    given = pa.table({"d": pa.chunked_array(chunks)})
    ds = pt.from_arrow(given, rows_per_partition=50)
    got = ds.limit(200).with_columns(n=pt.lit(1)).to_arrow()
    assert got.column("d").to_pylist() == given.column("d").to_pylist()[:200]
    assert got.schema.field("d").type == given.schema.field("d").type
    assert pc.sum(got.column("n")).as_py() == 200


# Types that a format has no place for: a clear error, never another value.
NOT_IN_POLARS = {
    "decimal256(76, 2)", "interval", "list_view<item: string_view>", "large_list_view", "struct", "runs",
    "runs of views", "runs of lists", "sparse union", "dense union",
}  # fmt: skip
NOT_FROM_PANDAS = {"struct", "runs of views", "sparse union", "dense union"}


def as_workers_get_it(batch: pa.RecordBatch) -> pa.RecordBatch:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch()


@pytest.mark.parametrize("batch_format", ["arrow", "numpy", "pandas", "polars"])
@pytest.mark.parametrize("name", TYPES)
def test_a_function_that_returns_its_batch_keeps_every_value(name: str, batch_format: str) -> None:
    for seed, rows in ((0, 0), (1, 1), (2, 40), (3, 17)):
        batch = as_workers_get_it(make(name, seed, rows)[0].select(["x"]))
        unsupported = NOT_IN_POLARS if batch_format == "polars" else NOT_FROM_PANDAS if batch_format == "pandas" else ()
        try:
            value, converted = formats.given(batch, batch_format, formats.Region(None))
            got = formats.taken(value, batch.schema, converted)
        except WrongReturnError:
            assert name in unsupported
            continue
        got.validate(full=True)
        assert got.schema == batch.schema
        assert values_of(got.column("x")) == values_of(batch.column("x"))
