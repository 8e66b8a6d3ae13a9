"""Columns of every Arrow type that rows may bring, made of a seed."""

from __future__ import annotations

import decimal
import random
import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from partita.worker.shapes import of_arrays

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


def tensors(rng: random.Random, rows: int) -> pa.Array[Any]:
    shapes = [None if rng.random() < 0.2 else (rng.randint(0, 3), rng.randint(1, 3)) for _ in range(rows)]
    made = [None if shape is None else np.full(shape, rng.randint(0, 9), np.int16) for shape in shapes]
    return of_arrays(made, pt.variable_shape_tensor("int16", 2))


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
    "tensors": tensors,
    "sparse union": union("sparse"),
    "dense union": union("dense"),
}


def values_of(column: pa.Array[Any] | pa.ChunkedArray[Any]) -> list[Any]:
    if pa.types.is_float16(column.type):
        return [None if value is None else float(value) for value in column.to_pylist()]
    return list(column.to_pylist())


# Types that a batch format has no place for: a clear error, never another value.
NO_PLACE = {
    "polars": {
        "decimal256(76, 2)", "interval", "list_view<item: string_view>", "large_list_view", "struct", "runs",
        "runs of views", "runs of lists", "sparse union", "dense union",
    },
    "pandas": {"sparse union", "dense union"},
    "rows": {"sparse union", "dense union"},
}  # fmt: skip
