"""Ways to join: broadcast, cross, keys of two types, and keys with more rows than memory holds. DuckDB judges."""

from __future__ import annotations

import itertools

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_join import HOWS, PROBED, SQL, key, run, side, write

HOT_ROWS = 120_000


def judge(left: pa.Table, right: pa.Table, sql: str) -> list[tuple]:
    database = duckdb.connect()
    database.register("l", left)
    database.register("r", right)
    return database.execute(sql).fetchall()


@pytest.mark.parametrize("how", PROBED)
@pytest.mark.parametrize(("on", "rows", "keys"), [(["k"], 400, 60), (["k", "w"], 500, 20), (["w"], 150, 9)])
def test_a_broadcast_join_keeps_the_order_of_the_left(workspace, how, on, rows, keys):
    left, right = side(1, rows, keys, "a"), side(2, rows * 2 // 3, keys, "b")
    write(workspace, "left", left, 3)
    write(workspace, "right", right, 4)
    found = run(workspace, f"on: {on}, how: {how}, strategy: broadcast")
    condition = " AND ".join(f"l.{name} = r.{name}" for name in on)
    columns = [f"l.{name}" for name in ["k", "w", "a", "text"]]
    pairs = how in ("inner", "left")
    if pairs:
        columns += [f"r.{name}" for name in ["k", "w", "b", "text"] if name not in on]
    order = "l.a, r.b" if pairs else "l.a"
    expected = judge(left, right, f"SELECT {', '.join(columns)} FROM l {SQL[how]} r ON {condition} ORDER BY {order}")
    assert found == expected
    placed = run(workspace, f"on: {on}, how: {how}, strategy: hash, partitions: 3")
    assert sorted(placed, key=key) == sorted(found, key=key)


@pytest.mark.parametrize("strategy", ["broadcast", "hash"])
def test_bytes_of_any_way_are_the_same_for_all_threads_and_budgets(workspace, strategy):
    write(workspace, "left", side(3, 3000, 300, "a"), 4)
    write(workspace, "right", side(4, 700, 300, "b"), 3)
    found = []
    for threads, memory in ((1, "64MiB"), (2, "256MiB"), (8, "64MiB")):
        run(workspace, f"on: k, how: left, strategy: {strategy}", threads=threads, memory=memory)
        found.append(workspace.digests("out"))
    assert found[0] == found[1] == found[2]


def test_rows_of_a_broadcast_join_have_places_of_their_own(workspace):
    """Pairs of one left row are shuffled apart."""
    write(workspace, "left", pa.table({"k": [1, 2], "a": [1, 2]}), 1)
    write(workspace, "right", pa.table({"k": [1] * 50 + [2] * 50, "b": list(range(100))}), 1)
    workspace.write(
        "p.yaml",
        """
steps:
  - read_parquet: left
    name: l
  - read_parquet: right
    name: r
  - join: {on: k}
    input: [l, r]
  - random_shuffle: {seed: 3}
  - write_parquet: out
""",
    )
    workspace.run_ok("p.yaml")
    rows = workspace.dataset("out").rows()
    assert sorted(row["b"] for row in rows) == list(range(100))
    changes = sum(a["k"] != b["k"] for a, b in itertools.pairwise(rows))
    assert changes > 20


@pytest.mark.parametrize("strategy", ["broadcast", "hash"])
def test_cross_is_each_with_each(workspace, strategy):
    left, right = side(1, 70, 9, "a"), side(2, 40, 9, "b")
    write(workspace, "left", left, 2)
    write(workspace, "right", right, 3)
    found = run(workspace, f"how: cross, strategy: {strategy}")
    assert found == judge(left, right, "SELECT * FROM l CROSS JOIN r ORDER BY a, b")


@pytest.mark.parametrize("strategy", ["broadcast", "hash"])
@pytest.mark.parametrize(
    ("left_type", "right_type", "common"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.dictionary(pa.int8(), pa.string()), pa.large_string(), pa.large_string()),
    ],
)
def test_keys_of_two_types_are_compared_as_one(workspace, strategy, left_type, right_type, common):
    text = pa.types.is_dictionary(left_type)
    values = ["a", None, "b", "c", "a"] if text else [1, None, 2, 3, 1]
    others = ["a", "d", "c"] if text else [1, 4, 3]
    write(workspace, "left", pa.table({"k": pa.array(values).cast(left_type), "a": list(range(5))}), 1)
    write(workspace, "right", pa.table({"k": pa.array(others).cast(right_type), "b": list(range(3))}), 1)
    found = run(workspace, f"on: k, how: left, strategy: {strategy}")
    one, three = ("a", "c") if text else (1, 3)
    assert sorted(found, key=lambda row: row[1]) == [
        (one, 0, 0),
        (None, 1, None),
        ("b" if text else 2, 2, None),
        (three, 3, 2),
        (one, 4, 0),
    ]
    schema = pq.read_schema(next((workspace.path / "out").glob("*.parquet")))
    assert schema.field("k").type == common or schema.field("k").type == pa.string()


def hot(rows: int, hot_rows: int, name: str) -> pa.Table:
    """One key has most of the rows; their texts alone are more than a task may hold."""
    keys = np.concatenate([np.full(hot_rows, 7), np.arange(rows) % 50])
    order = np.random.default_rng(rows).permutation(len(keys))
    keys = keys[order]
    return pa.table(
        {
            "k": pa.array([None if k == 3 else int(k) for k in keys], pa.int64()),
            name: pa.array(np.arange(len(keys))),
            name + "_text": pa.array([f"{name} {i} " + "x" * 60 for i in range(len(keys))]),
        }
    )


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("heavy", ["left", "right"])
def test_a_key_may_have_more_rows_than_memory_holds(workspace, how, heavy):
    left = hot(300, HOT_ROWS if heavy == "left" else 5, "a")
    right = hot(200, HOT_ROWS if heavy == "right" else 6, "b")
    workspace.write_table("left/0.parquet", left, row_group_size=20000)
    workspace.write_table("right/0.parquet", right, row_group_size=20000)
    workspace.write(
        "p.yaml",
        f"""
steps:
  - read_parquet: left
    name: l
  - read_parquet: right
    name: r
  - join: {{on: k, how: {how}, strategy: hash, partitions: 2}}
    input: [l, r]
  - write_parquet: out
""",
    )
    workspace.run_ok("p.yaml", threads=2, memory="48MiB", fresh=True)
    columns = ["count(*)", "sum(a)", "count(k)"] + ([] if how in ("semi", "anti") else ["sum(b)", "count(b_text)"])
    k = "coalesce(l.k, r.k) k" if how in ("right", "full") else "l.k k"
    chosen = "l.a" if how in ("semi", "anti") else "l.a, r.b, b_text"
    sql = f"SELECT {', '.join(columns)} FROM (SELECT {k}, {chosen} FROM l {SQL[how]} r ON l.k = r.k)"
    found = duckdb.sql(f"SELECT {', '.join(columns)} FROM '{workspace.path}/out/*.parquet'").fetchall()
    assert found == judge(left, right, sql)


def test_more_runs_than_are_read_at_once_are_merged_first(workspace):
    """Each task leaves a run; what comes out does not depend on how many there are."""
    write(workspace, "left", side(7, 560, 90, "a"), 1)
    write(workspace, "right", side(8, 560, 90, "b"), 1)
    digests = []
    for rows in (2, 200):
        workspace.write(
            "p.yaml",
            f"""
steps:
  - read_parquet: {{path: left, rows_per_partition: {rows}}}
    name: l
  - read_parquet: {{path: right, rows_per_partition: {rows}}}
    name: r
  - join: {{on: k, how: full, partitions: 2}}
    input: [l, r]
  - write_parquet: out
""",
        )
        workspace.run_ok("p.yaml", threads=2, memory="64MiB", fresh=True)
        found = workspace.digests("out")
        digests.append({name: digest for name, digest in found.items() if name.endswith(".parquet")})
    assert digests[0] == digests[1] != {}
