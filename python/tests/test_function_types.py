"""Every Arrow type goes through every kind of function in every batch format, through real workers, unchanged."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pyarrow as pa
import pytest
from arrow_types import NO_PLACE, TYPES, values_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import partita as pt


def table(seed: int, rows: int, batch_format: str = "arrow") -> pa.Table:
    """A column a type. Those that a format has no place for are errors, which test_column_types.py shows: not here."""
    without = NO_PLACE.get(batch_format, set())
    rng = random.Random(seed)
    columns = {name: make(rng, rows + 3).slice(2, rows) for name, make in TYPES.items() if name not in without}
    return pa.table({**columns, "group": pa.array([rng.randint(0, 2) for _ in range(rows)], pa.int8())})


def check(ds: pt.Dataset, expected: pa.Table, order: list[int] | None = None) -> None:
    got = ds.to_arrow()
    got.validate(full=True)
    assert got.schema == expected.schema
    places = range(expected.num_rows) if order is None else order
    for name in expected.column_names:
        values = values_of(expected[name])
        assert values_of(got[name]) == [values[place] for place in places], name


def same(batch: Any) -> Any:
    return batch


def generates(batch: Any) -> Iterator[Any]:
    yield batch


async def waits(batch: Any) -> Any:
    import asyncio

    await asyncio.sleep(0)
    return batch


async def generates_later(batch: Any) -> AsyncIterator[Any]:
    yield batch


class Same:
    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def __call__(self, batch: Any, *, more: int) -> Any:
        assert (self.kept, more) == (3, 4)
        return batch


class Later:
    async def __call__(self, batch: Any) -> Any:
        return batch


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "function": (same, {}),
    "generator": (generates, {}),
    "async": (waits, {}),
    "async generator": (generates_later, {}),
    "class": (Same, {"fn_constructor_args": [3], "fn_kwargs": {"more": 4}}),
    "async class": (Later, {}),
    "threads": (same, {"compute": pt.Threads(2)}),
    "inline": (same, {"compute": pt.Inline()}),
}
examples = settings(
    max_examples=3,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
tables = given(seed=st.integers(0, 2**32), rows=st.integers(0, 40), batch_size=st.integers(1, 17))


def needs(batch_format: str) -> None:
    if batch_format in ("torch", "jax", "polars", "pandas"):
        pytest.importorskip(batch_format)


@pytest.mark.parametrize("batch_format", ["numpy", "arrow", "pandas", "polars", "torch", "jax"])
@pytest.mark.parametrize("kind", KINDS)
@examples
@tables
def test_functions_of_batches(kind: str, batch_format: str, seed: int, rows: int, batch_size: int) -> None:
    needs(batch_format)
    expected = table(seed, rows, batch_format)
    fn, options = KINDS[kind]
    ds = pt.from_arrow(expected, rows_per_partition=25).map_batches(
        fn, batch_size=batch_size, batch_format=batch_format, schema=expected.schema, **options
    )
    check(ds, expected)


@pytest.mark.parametrize("batch_format", ["numpy", "arrow", "pandas", "polars", "torch", "jax"])
@examples
@tables
def test_functions_of_groups(batch_format: str, seed: int, rows: int, batch_size: int) -> None:
    needs(batch_format)
    expected = table(seed, rows, batch_format)
    ds = pt.from_arrow(expected, rows_per_partition=25).group_by("group")
    got = ds.map_groups(same, batch_format=batch_format, schema=expected.schema)
    whole = got.to_arrow()
    groups = expected["group"].to_pylist()
    found = list(dict.fromkeys(whole["group"].to_pylist()))
    check(got, expected, [place for group in found for place in range(rows) if groups[place] == group])


async def waits_for_row(row: dict[str, Any]) -> dict[str, Any]:
    return row


def twice(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield row
    yield row


async def twice_later(row: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield row
    yield row


@examples
@tables
def test_functions_of_rows(seed: int, rows: int, batch_size: int) -> None:
    expected = table(seed, rows, "rows")
    ds = pt.from_arrow(expected, rows_per_partition=25)
    given: dict[str, Any] = {"schema": expected.schema, "batch_size": batch_size}
    check(ds.map(same, **given), expected)
    check(ds.map(waits_for_row, **given), expected)
    both = [place for place in range(rows) for _ in range(2)]
    check(ds.flat_map(lambda row: [row, row], **given), expected, both)
    check(ds.flat_map(twice, **given), expected, both)
    check(ds.flat_map(twice_later, **given), expected, both)
    kept = [place for place, group in enumerate(expected["group"].to_pylist()) if group != 1]
    check(ds.filter(lambda row: row["group"] != 1), expected, kept)


@examples
@tables
def test_programs(seed: int, rows: int, batch_size: int) -> None:
    expected = table(seed, rows)
    ds = pt.from_arrow(expected).map_batches(
        pt.Program(["cat"], once=True), batch_size=batch_size, schema=expected.schema
    )
    check(ds, expected)
