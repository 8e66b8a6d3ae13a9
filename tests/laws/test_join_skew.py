"""Joins whose keys are skewed are cut within a key: more partitions share its rows, and no row or byte is another."""

from __future__ import annotations

import os
import random
import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest
from test_group_by import colliding
from test_group_by_random import data_digests, sorted_rows, ways, write_side
from test_join import HOWS
from test_join_random import joined
from test_task import committed, run_task

ROWS = 6000
PROCESSES = {"engine": "processes:2", "memory": "1GiB", "env": {**os.environ, "PARTITA_PYTHON": sys.executable}}
LEFT = ["half", "equal", "two", "null", "colliding"]
RIGHT = ["right", "right_colliding"]

JOIN = """
steps:
  - read_parquet: {{path: left, rows_per_partition: {rows}}}
    name: l
  - read_parquet: {{path: right, rows_per_partition: 90}}
    name: r
  - join: {{on: k, how: {how}, strategy: hash, partitions: {partitions}}}
    name: joined
    input: [l, r]
  - write_parquet: out
"""


def keys(shape: str, rows: int, is_left: bool) -> pa.Array:
    r = np.random.default_rng(rows)
    spread = r.integers(10, 900, rows)
    drawn = r.random(rows)
    if shape == "colliding":  # thirty keys of three hashes, some on one side only, and null
        some = [colliding(number, number % 3) for number in (range(20) if is_left else range(10, 30))]
        return pa.array([None if x < 0.05 else some[int(x * len(some))] for x in drawn], pa.binary(15))
    hot = {"half": drawn < 0.5, "equal": drawn < 2, "two": drawn < 0.8, "null": drawn < 0.6}[shape]
    hot_keys = np.where(drawn < 0.4, 1, 2) if shape == "two" else np.full(rows, 1)
    mask = drawn < 0.6 if shape == "null" else np.zeros(rows, bool)
    if not is_left and shape != "null":  # few of the hot key, or all pairs would be too many
        hot = drawn < 0.02
    return pa.array(np.where(hot, hot_keys, spread), pa.int64(), mask=mask)


def right_keys(shape: str, rows: int) -> tuple[pa.Array, pa.Array]:
    """The left side has each key once."""
    r = np.random.default_rng(rows)
    if shape == "right":
        hot = np.where(r.random(rows) < 0.5, 7, r.integers(0, 500, rows))
        return pa.array([*range(400), None], pa.int64()), pa.array(hot, pa.int64(), mask=r.random(rows) < 0.05)
    # Two left keys of each of three hashes; some of one side alone, also the last one of a hash.
    some = [colliding(number, number % 3) for number in range(9)]
    picks = r.choice([0, 1, 2, 4, 6, 7, 8], rows)
    return pa.array(some[:6], pa.binary(15)), pa.array([some[i] for i in picks], pa.binary(15))


def sides(shape: str, rows: int = ROWS) -> tuple[pa.Table, pa.Table]:
    if shape in RIGHT:
        left, right = right_keys(shape, rows)
    else:
        left, right = keys(shape, rows, True), keys(shape, 60 if shape == "colliding" else 400, False)
    texts = [f"left {i}" for i in range(len(left))]
    return (
        pa.table({"k": left, "a": np.arange(len(left)), "a_text": texts}),
        pa.table({"k": right, "b": np.arange(len(right))}),
    )


def run(workspace, how: str, partitions: int = 7, rows: int = 500, **options) -> list[int]:
    """Rows of each partition."""
    workspace.write("p.yaml", JOIN.format(how=how, partitions=partitions, rows=rows))
    workspace.run_ok("p.yaml", **{"threads": 2, "memory": "64MiB", "fresh": True, **options})
    return [sum(f["rows"] for f in p["files"]) for p in workspace.dataset("out").manifest["partitions"]]


def rows_of(workspace) -> list[tuple]:
    return [tuple(row.values()) for row in workspace.dataset("out").rows()]


def counted(workspace) -> dict[str, int]:
    steps = workspace.dataset("out").records()[-1]["stats"]["steps"]
    return next((step.get("details") or {} for step in steps if step["name"] == "joined"), {})


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("shape", [*LEFT, *RIGHT])
def test_split_keys_change_no_row(workspace, shape, how):
    """The rows of one partition, cut elsewhere; and those that DuckDB makes."""
    r = random.Random(f"{shape} {how}")
    left, right = sides(shape)
    write_side(workspace, r, "left", left)
    write_side(workspace, r, "right", right)
    run(workspace, how, partitions=1)
    whole = rows_of(workspace)
    assert counted(workspace).get("split_keys", 0) == 0
    run(workspace, how)
    numbers = [p["partition"] for p in workspace.dataset("out").manifest["partitions"]]
    if how in ("left", "full") and shape in LEFT:  # else one may have no rows
        assert numbers == list(range(7)), "as many as the user asked for"
    assert rows_of(workspace) == whole
    if shape in LEFT or how not in ("semi", "anti"):
        assert counted(workspace)["split_keys"] > 0
    assert sorted_rows(whole) == sorted_rows(joined(left, right, ["k"], how))


@pytest.mark.parametrize("how", ["inner", "full", "anti"])
@pytest.mark.parametrize("shape", ["half", "colliding", "right", "right_colliding"])
def test_bytes_are_the_same_however_it_runs(workspace, shape, how):
    left, right = sides(shape, 12_000)  # more than a sample holds
    if shape == "right":
        left = pa.table({"k": np.arange(9_000), "a": np.arange(9_000)})
    write_side(workspace, random.Random(1), "left", left)
    write_side(workspace, random.Random(2), "right", right)
    found = set()
    for options in [*ways(random.Random(3)), {"threads": 8, "memory": "1GiB"}, PROCESSES]:
        run(workspace, how, rows=700, **options)
        found.add(str(data_digests(workspace)))
    assert len(found) == 1


@pytest.mark.parametrize("how", ["inner", "left", "right", "semi"])
def test_partitions_share_a_hot_key(workspace, how):
    write_side(workspace, random.Random(4), "left", sides("half")[0])
    # Each key once: what comes out is worth what went in.
    write_side(workspace, random.Random(4), "right", pa.table({"k": np.arange(900), "b": np.arange(900)}))
    found = run(workspace, how, partitions=8)
    assert sum(found) >= ROWS
    assert max(found) < 1.5 * sum(found) / len(found), found
    details = counted(workspace)
    assert details["split_keys"] == 1
    assert 3 <= details["partitions_of_split_keys"] <= 6


@pytest.mark.parametrize("how", ["inner", "full"])
def test_partitions_share_a_hot_key_of_the_right(workspace, how):
    left, right = sides("right")
    workspace.write_table("left/0.parquet", left)
    workspace.write_table("right/0.parquet", right)
    found = run(workspace, how, partitions=8)
    assert max(found) < 1.7 * sum(found) / len(found), found
    details = counted(workspace)
    assert details["split_keys"] == 1
    assert 3 <= details["partitions_of_split_keys"] <= 6


@pytest.mark.parametrize("shape", ["half", "right"])
def test_more_runs_than_are_read_at_once(workspace, shape):
    """They are merged first; a bound within a key still holds."""
    left, right = sides(shape, 1200)
    if shape == "right":
        right = pa.concat_tables([right.slice(0, 600)] * 40)
    workspace.write_table("left/0.parquet", left)
    workspace.write_table("right/0.parquet", right)
    run(workspace, "full", partitions=1, rows=4)
    whole = rows_of(workspace)
    run(workspace, "full", partitions=5, rows=4)
    assert rows_of(workspace) == whole
    assert counted(workspace)["split_keys"] == 1


def test_a_cross_join_placed_by_key_is_shared(workspace):
    left, right = sides("half", 2000)
    workspace.write_table("left/0.parquet", left)
    workspace.write_table("right/0.parquet", right.slice(0, 30))
    workspace.write("p.yaml", JOIN.format(how="cross", partitions=4, rows=500).replace("on: k, ", ""))
    workspace.run_ok("p.yaml", threads=2)
    found = [sum(f["rows"] for f in p["files"]) for p in workspace.dataset("out").manifest["partitions"]]
    assert sum(found) == 2000 * 30
    assert max(found) < 1.3 * sum(found) / 4, found
    assert [(row["a"], row["b"]) for row in workspace.dataset("out").rows()] == [
        (a, b) for a in range(2000) for b in range(30)
    ]


@pytest.mark.parametrize("how", ["inner", "full"])
def test_a_batch_system_cuts_alike(workspace, how):
    """Each task is a process of its own, and finds the cuts by itself."""
    left, right = sides("half", 3000)
    workspace.write_table("left/0.parquet", left)
    workspace.write_table("right/0.parquet", right)
    run(workspace, how, partitions=4, rows=1000)
    expected, tasks = workspace.digests("out"), committed(workspace)
    shutil.rmtree(workspace.path / "out")
    workspace.run_ok("p.yaml", verb="compile", output="plan.json")
    for stage, partition in tasks:
        finished = run_task(workspace, stage, partition)
        assert finished.exit_code == 0, str(finished)
    workspace.run_ok("plan.json")
    assert workspace.digests("out") == expected


def test_explain_tells(workspace):
    left, right = sides("half", 100)
    workspace.write_table("left/0.parquet", left)
    workspace.write_table("right/0.parquet", right)
    workspace.write("p.yaml", JOIN.format(how="left", partitions=4, rows=500))
    assert "is split" in workspace.run_ok("p.yaml", verb="explain").stdout
