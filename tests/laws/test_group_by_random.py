"""Random tables - types, nulls, NaN, skew, blocks of one row - through group_by and distinct, in memory and spilled. DuckDB judges."""

from __future__ import annotations

import datetime
import decimal
import math
import random
import shutil

import duckdb
import pyarrow as pa
import pytest
from binary import SCALE

ROUNDS = max(3, int(14 * SCALE))
SHAPES = ["few", "skewed", "equal", "different"]
EPOCH = datetime.datetime(2020, 1, 1)

# Values of each type, from few to as many as are asked for.
VALUES = {
    "bool": (pa.bool_(), lambda n: n % 2 == 0),
    "int8": (pa.int8(), lambda n: n % 256 - 128),
    "uint64": (pa.uint64(), lambda n: n * 0x9E3779B97F4A7C15 % 2**64),
    "int64": (pa.int64(), lambda n: n * 7919 - 2**40),
    "float32": (pa.float32(), lambda n: [math.nan, -0.0, 0.0, math.inf][n] if n < 4 else n / 8),
    "float64": (pa.float64(), lambda n: [math.nan, -0.0, 0.0, -math.inf][n] if n < 4 else n * 1.1),
    "date": (pa.date32(), lambda n: EPOCH.date() + datetime.timedelta(days=n % 5000)),
    "timestamp": (pa.timestamp("us"), lambda n: EPOCH + datetime.timedelta(seconds=n)),
    "decimal": (pa.decimal128(20, 3), lambda n: decimal.Decimal(n * 1001).scaleb(-3)),
    "string": (pa.string(), lambda n: ["", "a", "a\0", "a word of more than sixteen bytes"][n] if n < 4 else f"w{n}"),
    "large_string": (pa.large_string(), lambda n: "é" * (n % 40) + str(n)),
    "binary": (pa.binary(), lambda n: bytes([0, n % 256, n // 256 % 256]) * (n % 9)),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), lambda n: f"code {n}"),
}


def column(r: random.Random, kind: str, rows: int, shape: str, nulls: float) -> pa.Array:
    """`shape` says how often values repeat; one of "skewed" has half of the rows."""
    kind_type, value = VALUES[kind]
    if shape == "different":
        numbers = r.sample(range(rows), rows)
    elif shape == "equal":
        numbers = [7] * rows
    else:
        most = r.choice([3, 40, max(1, rows // 2)])
        numbers = [1 if shape == "skewed" and r.random() < 0.5 else r.randrange(most) for _ in range(rows)]
    plain = kind_type.value_type if pa.types.is_dictionary(kind_type) else kind_type
    array = pa.array([None if r.random() < nulls else value(n) for n in numbers], plain)
    return array.dictionary_encode() if plain is not kind_type else array


def keys_of(r: random.Random, rows: int, kinds: list[str], shape: str) -> dict[str, pa.Array]:
    return {f"k{i}": column(r, kind, rows, shape, r.choice([0, 0.1])) for i, kind in enumerate(kinds)}


def write_side(workspace, r: random.Random, folder: str, table: pa.Table) -> None:
    """In files and row groups of any length, at times of one row."""
    shutil.rmtree(workspace.path / folder, ignore_errors=True)
    cuts = sorted(r.randrange(len(table) + 1) for _ in range(r.choice([0, 1, 5])))
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(table)], strict=True)):
        lengths = [1, 7, 1000] if end - begin <= 300 else [100, 1000]
        workspace.write_table(
            f"{folder}/{number}.parquet", table.slice(begin, end - begin), row_group_size=r.choice(lengths)
        )


def ways(r: random.Random) -> list[dict]:
    """Three ways to run the same, two of which must write all that moves."""
    rows = {"threads": r.choice([1, 2, 5]), "fresh": True}
    return [
        {**rows, "memory": "64MiB", "exchange": "disk"},
        {"threads": 2, "memory": "1GiB", "exchange": "memory", "fresh": True},
        {"threads": 3, "memory": "96MiB", "exchange": "disk", "fresh": True},
    ]


def plain(value: object) -> object:
    """What compares: NaN and null are themselves, -0 is 0."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return repr(value) if isinstance(value, list) else value


def sorted_rows(rows: list[tuple]) -> list[str]:
    return sorted(repr(tuple(plain(value) for value in row)) for row in rows)


def data_digests(workspace) -> list[str]:
    return [digest for name, digest in sorted(workspace.digests("out").items()) if name.endswith(".parquet")]


AGGREGATES = {
    "n": ("count()", "count(*)"),
    "c": ("count(v)", "count(v)"),
    "s": ("sum(v)", "sum(v)::BIGINT"),
    "lo": ("min(w)", "min(w)"),
    "hi": ("max(d)", "max(d)"),
    "f": ("first(id)", "min(id)"),
    "u": ("n_unique(w)", "count(DISTINCT w)"),
    "all_": ("list(id)", "list(id ORDER BY id)"),
    "big": ("largest(v, 2)", "coalesce(max(v, 2), [])"),
}


def run_all_ways(workspace, r):
    found = set()
    for options in ways(r):
        workspace.run_ok("p.yaml", **options)
        found.add(str(data_digests(workspace)))
    assert len(found) == 1, "bytes depend on how it ran"


def grouped(table, selected, keys):
    """What DuckDB finds."""
    database = duckdb.connect()
    database.register("t", table)
    return database.execute(f"SELECT {selected} FROM t GROUP BY {', '.join(keys)}").fetchall()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_random_groups(workspace, seed):
    r = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    rows = r.choice([0, 1, 37, 900, 900])
    kinds = r.sample(sorted(VALUES), r.choice([1, 1, 2, 3]))
    if shape == "different":
        kinds = ["int64", *kinds]
    keys = keys_of(r, rows, kinds, shape)
    table = pa.table(
        {
            **keys,
            "id": pa.array(range(rows), pa.int64()),
            "v": column(r, "int8", rows, "few", 0.2).cast(pa.int32()),
            "w": column(r, "string", rows, "few", 0.2),
            "d": column(r, "decimal", rows, "few", 0.2),
        }
    )
    write_side(workspace, r, "in", table)
    texts = dict(r.sample(sorted(AGGREGATES.items()), r.randrange(1, len(AGGREGATES) + 1)))
    aggregates = ", ".join(f'{name}: "{ours}"' for name, (ours, _) in texts.items())
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: {{path: in, rows_per_partition: {r.choice([50, 400])}}}\n"
        f"  - group_by: {{by: {list(keys)}, aggregates: {{{aggregates}}}}}\n  - write_parquet: out\n",
    )
    run_all_ways(workspace, r)
    selected = ", ".join([*keys, *(f"{theirs} AS {name}" for name, (_, theirs) in texts.items())])
    expected = grouped(table, selected, keys)
    ours = [tuple(row.values()) for row in workspace.dataset("out").rows()]
    assert sorted_rows(ours) == sorted_rows(expected), (kinds, shape, rows)


@pytest.mark.parametrize("seed", range(100, 100 + ROUNDS // 2))
def test_random_distinct(workspace, seed):
    r = random.Random(seed)
    rows = r.choice([0, 1, 700])
    shape = SHAPES[seed % len(SHAPES)]
    keys = keys_of(r, rows, r.sample(sorted(VALUES), 2), shape)
    table = pa.table({**keys, "id": pa.array(range(rows), pa.int64())})
    write_side(workspace, r, "in", table)
    keep, chosen = r.choice([("first", "min(id)"), ("last", "max(id)")])
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: {{path: in, rows_per_partition: {r.choice([1, 300])}}}\n"
        f"  - distinct: {{by: {list(keys)}, keep: {keep}}}\n  - write_parquet: out\n",
    )
    run_all_ways(workspace, r)
    ours = [(row["id"],) for row in workspace.dataset("out").rows()]
    assert sorted(ours) == sorted(grouped(table, chosen, keys))
