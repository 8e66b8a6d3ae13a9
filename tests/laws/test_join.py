"""Joins, judged by DuckDB: all kinds, keys with nulls, skew, empty sides; the same bytes for any memory."""

from __future__ import annotations

import random
import shutil

import duckdb
import numpy as np
import pyarrow as pa
import pytest

HOWS = ["inner", "left", "right", "full", "semi", "anti"]
PROBED = ["inner", "left", "semi", "anti"]
SQL = {how: "JOIN" if how == "inner" else f"{how.upper()} JOIN" for how in HOWS}


def side(seed: int, rows: int, keys: int, name: str) -> pa.Table:
    r = np.random.default_rng(seed)
    words = ["", "a", "b\0", "a word of more than sixteen bytes", None]
    return pa.table(
        {
            "k": pa.array([None if v == 0 else int(v) for v in r.integers(0, keys + 1, rows)], pa.int64()),
            "w": pa.array([words[v] for v in r.integers(0, len(words), rows)], pa.string()),
            name: pa.array(range(rows), pa.int64()),
            "text": pa.array([f"{name}{i}" for i in range(rows)], pa.string()),
        }
    )


def write(workspace, name: str, table: pa.Table, parts: int) -> None:
    cuts = sorted(random.Random(parts).randrange(len(table) + 1) for _ in range(parts - 1))
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(table)], strict=True)):
        workspace.write_table(f"{name}/{number}.parquet", table.slice(begin, end - begin), row_group_size=61)


def run(workspace, join: str, **options) -> list[tuple]:
    workspace.write(
        "p.yaml",
        f"""
steps:
  - read_parquet: {{path: left, rows_per_partition: 70}}
    name: l
  - read_parquet: {{path: right, rows_per_partition: 90}}
    name: r
  - join: {{{join}}}
    input: [l, r]
  - write_parquet: out
""",
    )
    workspace.run_ok("p.yaml", **{"threads": 2, "memory": "64MiB", "fresh": True, **options})
    return [tuple(row.values()) for row in workspace.dataset("out").rows()]


def key(row: tuple) -> tuple:
    return tuple((value is None, value) for value in row)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("on", "rows", "keys"), [(["k"], 400, 60), (["k", "w"], 500, 20), (["k"], 300, 100000), (["k"], 120, 1)]
)
def test_join_is_what_duckdb_makes(workspace, how, on, rows, keys):
    left, right = side(1, rows, keys, "a"), side(2, rows * 2 // 3, keys, "b")
    write(workspace, "left", left, 3)
    write(workspace, "right", right, 4)
    found = run(workspace, f"on: {on}, how: {how}, partitions: 3")
    condition = " AND ".join(f"l.{name} = r.{name}" for name in on)
    keys_of = {"right": "r.{0} AS {0}", "full": "coalesce(l.{0}, r.{0}) AS {0}"}.get(how, "l.{0} AS {0}")
    columns = [keys_of.format(name) if name in on else f"l.{name} AS {name}" for name in ["k", "w", "a", "text"]]
    if how not in ("semi", "anti"):
        columns += [f"r.{name} AS {name}_right" for name in ["w", "b", "text"] if name not in on]
    expected = _duckdb(left, right, f"SELECT {', '.join(columns)} FROM l {SQL[how]} r ON {condition}")
    assert sorted(found, key=key) == sorted(expected, key=key)


def _duckdb(left: pa.Table, right: pa.Table, sql: str) -> list[tuple]:
    database = duckdb.connect()
    database.register("l", left)
    database.register("r", right)
    return database.execute(sql).fetchall()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("empty", ["left", "right", "both"])
def test_empty_sides(workspace, how, empty):
    left = side(1, 0 if empty in ("left", "both") else 30, 5, "a")
    right = side(2, 0 if empty in ("right", "both") else 30, 5, "b")
    write(workspace, "left", left, 2)
    write(workspace, "right", right, 2)
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: left\n    name: l\n  - read_parquet: right\n    name: r\n"
        f"  - join: {{on: [k], how: {how}}}\n    input: [l, r]\n  - write_parquet: out\n",
    )
    workspace.run_ok("p.yaml")
    rows = sum(f["rows"] for p in workspace.dataset("out").manifest["partitions"] for f in p["files"])
    kept_left = len(left) if how in ("left", "full", "anti") else 0
    kept_right = len(right) if how in ("right", "full") else 0
    assert rows == kept_left + kept_right


def test_bytes_are_the_same_for_all_threads_and_budgets(workspace):
    write(workspace, "left", side(3, 6000, 400, "a"), 4)
    write(workspace, "right", side(4, 5000, 400, "b"), 3)
    expected = None
    for options in (
        {"threads": 1, "memory": "64MiB"},
        {"threads": 8, "memory": "64MiB"},
        {"threads": 2, "memory": "4GiB"},
    ):
        run(workspace, "on: [k], how: full, partitions: 4", **options)
        found = workspace.digests("out")
        assert expected is None or found == expected, options
        expected = found
        shutil.rmtree(workspace.path / "out")


def test_one_source_on_both_sides_runs_once(workspace):
    """A diamond into a join neither waits for itself nor reads twice."""
    write(workspace, "left", side(5, 1000, 50, "a"), 3)
    workspace.write(
        "p.yaml",
        """
steps:
  - read_parquet: {path: left, rows_per_partition: 100}
    name: l
  - group_by: {by: [k], aggregates: {n: count()}}
    name: counts
    input: l
  - join: {on: [k]}
    input: [l, counts]
  - write_parquet: out
""",
    )
    workspace.run_ok("p.yaml", memory="64MiB", threads=2)
    rows = workspace.dataset("out").rows()
    table = side(5, 1000, 50, "a")
    keys = [k for k in table["k"].to_pylist() if k is not None]
    assert len(rows) == len(keys)
    assert all(row["n"] == keys.count(row["k"]) for row in rows[:200])
    read = next(s for s in workspace.dataset("out").records()[-1]["stats"]["steps"] if s["name"] == "l")
    assert read["rows_out"] == 1000


@pytest.mark.parametrize(
    ("join", "word"),
    [
        ("on: [nope]", "nope"),
        ("on: []", "on"),
        ("on: [k], how: outwards", "full"),
        ("left_on: [k], right_on: [w]", "cast one of them"),
    ],
)
def test_mistakes_are_told(workspace, join, word):
    write(workspace, "left", side(1, 10, 5, "a"), 1)
    write(workspace, "right", side(2, 10, 5, "b"), 1)
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: left\n    name: l\n  - read_parquet: right\n    name: r\n"
        f"  - join: {{{join}}}\n    input: [l, r]\n  - write_parquet: out\n",
    )
    finished = workspace.run_bad("p.yaml")
    assert word in finished.stderr, finished.stderr
