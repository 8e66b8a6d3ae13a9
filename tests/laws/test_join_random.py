"""Random tables - types, nulls, NaN, skew, empty sides, blocks of one row - joined in every way, in memory and spilled. DuckDB judges."""

from __future__ import annotations

import random

import duckdb
import pyarrow as pa
import pytest
from test_group_by import colliding
from test_group_by_random import ROUNDS, SHAPES, VALUES, column, data_digests, sorted_rows, ways, write_side
from test_join import HOWS, PROBED, SQL

JOIN = """
steps:
  - read_parquet: {{path: left, rows_per_partition: {rows}}}
    name: l
  - read_parquet: {{path: right, rows_per_partition: {rows}}}
    name: r
  - join: {{{join}}}
    input: [l, r]
  - write_parquet: out
"""


def side(r: random.Random, kinds: list[str], shape: str, name: str) -> pa.Table:
    rows = r.choice([0, 1, 150, 600])
    keys = {f"k{i}": column(r, kind, rows, shape, r.choice([0, 0.1])) for i, kind in enumerate(kinds)}
    texts = [None if r.random() < 0.1 else f"{name} {i}" * (i % 5) for i in range(rows)]
    return pa.table({**keys, name: pa.array(range(rows), pa.int64()), f"{name}_text": pa.array(texts, pa.string())})


def joined(left: pa.Table, right: pa.Table, keys: list[str], how: str) -> list[tuple]:
    """The rows that SQL makes of it."""
    key = {"right": "r.{0} AS {0}", "full": "coalesce(l.{0}, r.{0}) AS {0}"}.get(how, "l.{0} AS {0}")
    columns = [key.format(name) if name in keys else f"l.{name}" for name in left.column_names]
    if how not in ("semi", "anti"):
        columns += [f"r.{name}" for name in right.column_names if name not in keys]
    database = duckdb.connect()
    database.register("l", left)
    database.register("r", right)
    condition = " AND ".join(f"l.{name} = r.{name}" for name in keys)
    return database.execute(f"SELECT {', '.join(columns)} FROM l {SQL[how]} r ON {condition}").fetchall()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("seed", range(max(2, ROUNDS // 2)))
def test_random_joins(workspace, seed, how):
    r = random.Random(f"{seed} {how}")
    kinds = r.sample(sorted(VALUES), r.choice([1, 1, 2]))
    shape = r.choice(SHAPES)
    # Two hot keys would meet in the square of their rows.
    left, right = side(r, kinds, shape, "a"), side(r, kinds, shape if shape == "different" else "few", "b")
    if shape == "equal":
        right = right.slice(0, 40)
    write_side(workspace, r, "left", left)
    write_side(workspace, r, "right", right)
    keys = [f"k{i}" for i in range(len(kinds))]
    expected = sorted_rows(joined(left, right, keys, how))
    for strategy in ["hash", *(["broadcast"] if how in PROBED else [])]:
        placed = f", partitions: {r.choice([1, 3])}" if strategy == "hash" else ""
        join = f"on: {keys}, how: {how}, strategy: {strategy}{placed}"
        workspace.write("p.yaml", JOIN.format(rows=r.choice([1, 60, 1000]) if len(left) < 200 else 90, join=join))
        found = set()
        for options in ways(r):
            workspace.run_ok("p.yaml", **options)
            found.add(str(data_digests(workspace)))
        assert len(found) == 1, f"bytes of {strategy} depend on how it ran"
        ours = [tuple(row.values()) for row in workspace.dataset("out").rows()]
        assert sorted_rows(ours) == expected, (kinds, shape, strategy)


@pytest.mark.parametrize("how", HOWS)
def test_keys_with_one_hash_are_told_apart(workspace, how):
    """Thirty keys of three hashes, on both sides, some on one only, and null."""
    r = random.Random(how)
    keys = [colliding(number, number % 3) for number in range(30)]
    left_keys = [r.choice([*keys[:20], None]) for _ in range(400)]
    right_keys = [r.choice([*keys[10:], None]) for _ in range(90)]
    left = pa.table({"k": pa.array(left_keys, pa.binary(15)), "a": range(400)})
    right = pa.table({"k": pa.array(right_keys, pa.binary(15)), "b": range(90)})
    write_side(workspace, r, "left", left)
    write_side(workspace, r, "right", right)
    workspace.write("p.yaml", JOIN.format(rows=50, join=f"on: k, how: {how}, strategy: hash, partitions: 2"))
    found = set()
    for options in ways(r):
        workspace.run_ok("p.yaml", **options)
        found.add(str(data_digests(workspace)))
    assert len(found) == 1
    ours = [tuple(row.values()) for row in workspace.dataset("out").rows()]
    assert sorted_rows(ours) == sorted_rows(joined(left, right, ["k"], how))
