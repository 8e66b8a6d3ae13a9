"""Native steps on each group: random tables - types, nulls, NaN, skew, blocks of one row - in memory and spilled. DuckDB's window functions judge."""

from __future__ import annotations

import random

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from binary import SCALE
from test_group_by import colliding
from test_group_by_random import (
    ROUNDS,
    SHAPES,
    VALUES,
    column,
    data_digests,
    keys_of,
    plain,
    run_all_ways,
    sorted_rows,
    write_side,
)

# What DuckDB orders as we do. (Dictionaries come to it as enums at times, ordered by their codes.)
ORDERED = sorted(VALUES.keys() - {"dictionary"})


def order_of(r: random.Random, columns: list[str]) -> tuple[str, str]:
    """A random order of some columns, as our `sort` and as SQL's; ties are by `id`, the place in the dataset."""
    by = r.sample(columns, r.randrange(1, len(columns) + 1))
    descending = [r.random() < 0.5 for _ in by]
    nulls = r.choice(["first", "last"])
    ours = f"{{by: {by}, descending: [{', '.join(str(d).lower() for d in descending)}], nulls: {nulls}}}"
    theirs = [f"{c} {'DESC' if d else 'ASC'} NULLS {nulls}" for c, d in zip(by, descending, strict=True)]
    return ours, ", ".join([*theirs, "id"])


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_random_steps(workspace, seed):
    r = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    rows = r.choice([0, 1, 37, 900, 900])
    kinds = r.sample(sorted(VALUES), r.choice([1, 1, 2]))
    keys = keys_of(r, rows, kinds, shape)
    orders = {f"o{i}": column(r, kind, rows, "few", 0.2) for i, kind in enumerate(r.sample(ORDERED, 2))}
    texts = pa.array([f"text {i}" * (i % 4) for i in range(rows)], pa.string())
    table = pa.table({**keys, **orders, "id": pa.array(range(rows), pa.int64()), "text": texts})
    write_side(workspace, r, "in", table)

    partition = f"PARTITION BY {', '.join(keys)}"
    steps, sql, order = [], "SELECT * FROM t", "id"

    def add(step: str, query: str | None = None) -> None:
        nonlocal sql
        steps.append(step)
        sql = query.format(f"({sql})") if query is not None else sql

    if r.random() < 0.4:
        add("filter: id % 3 != 0", "SELECT * FROM {} WHERE id % 3 <> 0")
    if r.random() < 0.8:
        ours, order = order_of(r, list(orders))
        add(f"sort: {ours}")
    limit = f"SELECT * EXCLUDE (_n) FROM (SELECT *, row_number() OVER ({partition} ORDER BY {{order}}) AS _n FROM {{}}) WHERE _n <= "
    if r.random() < 0.3:
        n = r.choice([0, 1, 3, 1000])
        add(f"limit: {n}", limit.replace("{order}", order) + str(n))
    first = r.choice([0, 1])
    add(
        f"with_row_index: {{name: rank, offset: {first}}}",
        f"SELECT *, row_number() OVER ({partition} ORDER BY {order}) - 1 + {first} AS rank FROM {{}}",
    )
    if r.random() < 0.5:
        add("filter: rank % 2 = 0", "SELECT * FROM {} WHERE rank % 2 = 0")
        if r.random() < 0.7:
            add("limit: 2", limit.replace("{order}", "rank") + "2")
    if r.random() < 0.3:
        ours, order = order_of(r, list(orders))
        add(f"sort: {ours}")
        add(
            "with_row_index: {name: again}",
            f"SELECT *, row_number() OVER ({partition} ORDER BY {order.removesuffix(', id')}, rank) - 1 AS again FROM {{}}",
        )

    lines = "".join(f"        - {step}\n" for step in steps)
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: {{path: in, rows_per_partition: {r.choice([50, 400])}}}\n"
        f"  - map_groups:\n      by: {list(keys)}\n      steps:\n{lines}  - write_parquet: out\n",
    )
    run_all_ways(workspace, r)
    database = duckdb.connect()
    database.register("t", table)
    expected = database.execute(sql).fetchall()
    found = list(workspace.dataset("out").rows())
    assert sorted_rows([tuple(row.values()) for row in found]) == sorted_rows(expected), steps
    # The rows of a group stand together, in the order that was asked for.
    last = "again" if "again" in "".join(steps) else "rank"
    seen: dict[str, int] = {}
    before = None
    for row in found:
        group = repr([plain(row[key]) for key in keys])
        assert group == before or group not in seen, "a group stands in two places"
        assert row[last] > seen.get(group, -1)
        seen[group], before = row[last], group


def test_keys_with_one_hash_are_groups_apart(workspace):
    r = random.Random(4)
    keys = [colliding(number, number % 3) for number in range(60)]
    picks = [r.choice(keys) for _ in range(3000)]
    table = pa.table({"k": pa.array(picks, pa.binary(15)), "v": pa.array(r.sample(range(3000), 3000), pa.int64())})
    write_side(workspace, r, "in", table)
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, rows_per_partition: 500}\n  - map_groups:\n      by: k\n      steps:\n"
        "        - sort: v\n        - with_row_index\n        - limit: 5\n  - write_parquet: out\n",
    )
    run_all_ways(workspace, r)
    expected = []
    for key in keys:
        values = sorted(v for k, v in zip(picks, table["v"].to_pylist(), strict=True) if k == key)
        expected += [(key, value, index) for index, value in enumerate(values[:5])]
    assert sorted(tuple(row.values()) for row in workspace.dataset("out").rows()) == sorted(expected)


def test_a_group_may_be_larger_than_memory(workspace):
    """One key has nearly all rows: they are ordered and numbered in less memory than they take."""
    rows = int(1_000_000 * max(SCALE, 0.8))
    random_ = np.random.default_rng(3)
    values = random_.permutation(rows)
    keys = np.where(np.arange(rows) % 1000 == 0, np.arange(rows) // 1000, -1)
    text = pa.array(["some text that makes a row longer than its numbers, and longer"]).take(pa.array(np.zeros(rows, int)))
    table = pa.table({"k": pa.array(keys), "v": pa.array(values), "text": text})
    workspace.write_table("in/0.parquet", table, row_group_size=rows // 10)
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, rows_per_partition: 100000}\n  - map_groups:\n      by: k\n      steps:\n"
        "        - sort: {by: v, descending: true}\n        - with_row_index\n  - filter: index % 1000 = 1\n"
        "  - write_parquet: out\n",
    )
    digests = set()
    for options in ({"memory": "64MiB", "threads": 2}, {"memory": "1GiB", "threads": 3}):
        workspace.run_ok("p.yaml", fresh=True, **options)
        digests.add(str(data_digests(workspace)))
    assert len(digests) == 1
    big = np.sort(values[keys == -1])[::-1]
    found = [(row["k"], row["v"], row["index"]) for row in workspace.dataset("out").rows()]
    assert found == [(-1, int(big[index]), index) for index in range(1, len(big), 1000)]
