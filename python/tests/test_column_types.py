"""Every Arrow type that rows may bring goes through filters and exchanges; Arrow in Python judges."""

from __future__ import annotations

import random

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from arrow_types import NO_PLACE, TYPES, values_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from partita.worker import formats
from partita.worker.errors import WrongReturnError

import partita as pt


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
        unsupported = NO_PLACE.get(batch_format, set())
        try:
            value, converted = formats.given(batch, batch_format, formats.Region(None))
            got = formats.taken(value, batch.schema, converted)
        except WrongReturnError:
            assert name in unsupported
            continue
        got.validate(full=True)
        assert got.schema == batch.schema
        assert values_of(got.column("x")) == values_of(batch.column("x"))
