"""As-of joins: each row beside the nearest one of another table, judged by a loop that looks at all of them."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from kernel_limit import kernel_limit
from test_group_by import colliding
from test_join import write

EPOCH = datetime.datetime(2024, 1, 1)


def times(numbers: list[int | None], kind: str) -> pa.Array:
    if kind == "timestamp":
        return pa.array([None if n is None else EPOCH + datetime.timedelta(seconds=n) for n in numbers])
    if kind == "float":
        return pa.array([None if n is None else n / 4 - 10 for n in numbers], pa.float32())
    return pa.array([None if n is None else n - 50 for n in numbers], pa.int64())


def side(seed: int, rows: int, name: str, kind: str) -> pa.Table:
    r = np.random.default_rng(seed)
    numbers = [None if n % 17 == 3 else int(n) for n in r.integers(0, 120, rows)]
    return pa.table(
        {
            "k": pa.array([None if v == 0 else f"key {v}" for v in r.integers(0, 6, rows)]),
            "t": times(numbers, kind),
            name: pa.array(range(rows), pa.int64()),
        }
    )


def nearest(row: dict, others: list[dict], keys: list[str], direction: str) -> dict | None:
    if row["t"] is None or any(row[k] is None for k in keys):
        return None
    others = [o for o in others if o["t"] is not None and all(o[k] == row[k] for k in keys)]
    back = [o for o in others if o["t"] <= row["t"]]
    forth = [o for o in others if o["t"] >= row["t"]]
    before = max(back, key=lambda o: (o["t"], o["b"])) if back and direction != "forward" else None
    after = min(forth, key=lambda o: (o["t"], o["b"])) if forth and direction != "backward" else None
    if before is None or after is None:
        return before or after
    return before if row["t"] - before["t"] <= after["t"] - row["t"] else after


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
@pytest.mark.parametrize("keys", [[], ["k"]])
@pytest.mark.parametrize("kind", ["int", "float", "timestamp"])
@pytest.mark.parametrize("strategy", ["broadcast", "hash, partitions: 3"])
def test_the_nearest_row_is_found(workspace, direction, keys, kind, strategy):
    left, right = side(1, 300, "a", kind), side(2, 90, "b", kind)
    write(workspace, "left", left, 3)
    write(workspace, "right", right, 2)
    workspace.write(
        "p.yaml",
        f"""
steps:
  - read_parquet: {{path: left, rows_per_partition: 70}}
    name: l
  - read_parquet: {{path: right, rows_per_partition: 40}}
    name: r
  - join_asof: {{on: t, by: {keys}, direction: {direction}, strategy: {strategy}}}
    input: [l, r]
  - write_parquet: out
""",
    )
    digests = []
    for threads, exchange in ((1, "memory"), (8, "disk")):
        workspace.run_ok("p.yaml", threads=threads, memory="64MiB", exchange=exchange, fresh=True)
        digests.append(workspace.digests("out"))
    assert digests[0] == digests[1]
    found = workspace.dataset("out").rows()
    others = right.to_pylist()
    if strategy != "broadcast":  # within one key by time, then by position
        for key in {row["k"] for row in found} if keys else {None}:
            times_ = [(row["t"], row["a"]) for row in found if not keys or row["k"] == key]
            assert [t for t in times_ if t[0] is not None] == sorted(t for t in times_ if t[0] is not None)
        found.sort(key=lambda row: row["a"])
    assert [row["a"] for row in found] == list(range(300)), "each left row once, in its order"
    for row, given in zip(left.to_pylist(), found, strict=True):
        best = nearest(row, others, keys, direction)
        expected = (None, None) if best is None else (best["b"], best["t"])
        assert (given["b"], given["t_right"]) == expected, row


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
def test_keys_with_one_hash_are_told_apart(workspace, direction):
    r = np.random.default_rng(3)
    keys = [colliding(number, number % 2) for number in range(8)]

    def of(name: str, rows: int, chosen: list[bytes]) -> pa.Table:
        picked = [None if n % 11 == 0 else chosen[n % len(chosen)] for n in r.integers(0, 1000, rows)]
        numbers = {"t": r.integers(0, 60, rows), name: range(rows)}
        return pa.table({"k": pa.array(picked, pa.binary(15)), **numbers})

    left, right = of("a", 300, keys[:6]), of("b", 80, keys[2:])
    write(workspace, "left", left, 3)
    write(workspace, "right", right, 2)
    workspace.write("p.yaml", PLACED.format(direction=direction, partitions=2))
    workspace.run_ok("p.yaml", memory="64MiB")
    found = {row["a"]: row["b"] for row in workspace.dataset("out").rows()}
    others = right.to_pylist()
    for row in left.to_pylist():
        best = nearest(row, others, ["k"], direction)
        assert found[row["a"]] == (None if best is None else best["b"]), row


PLACED = """
steps:
  - read_parquet: left
    name: l
  - read_parquet: right
    name: r
  - join_asof: {{on: t, by: k, direction: {direction}, strategy: hash, partitions: {partitions}}}
    input: [l, r]
  - write_parquet: {{path: out, row_group_size: 20000}}
"""


@pytest.mark.parametrize("keys", [1, 2000])
def test_a_right_side_larger_than_memory(workspace, keys):
    """One key has all rows, or many share them: neither side is held. Numbers are chosen so that partners are known."""
    rows = 400_000
    order = np.random.default_rng(keys).permutation(rows)
    text = pa.array([f"{n:08d}" * 12 for n in order])
    right = pa.table({"k": order % keys, "t": pa.array(2 * order, pa.int64()), "b": order, "text": text})
    left = pa.table({"k": order % keys, "t": pa.array(2 * order + 1, pa.int64()), "a": order})
    for name, table in (("left", left), ("right", right)):
        workspace.write_table(f"{name}/0.parquet", table, row_group_size=50_000, use_dictionary=False)
    workspace.write("p.yaml", PLACED.format(direction="backward", partitions=4))
    with kernel_limit((40 + 256) << 20) as limit:
        workspace.run_ok("p.yaml", memory="40MiB", threads=2, preexec_fn=limit.enter)
        assert limit.kills == 0
    found = pa.concat_tables([pq.read_table(path) for path in workspace.dataset("out").files()])
    assert found.num_rows == rows
    assert found["a"].equals(found["b"])
    assert pc.all(pc.starts_with(found["text"], "0")).as_py()


def test_types_of_times_are_made_one(workspace):
    write(workspace, "left", pa.table({"x": pa.array([1, 5, 9], pa.int32())}), 1)
    write(workspace, "right", pa.table({"y": pa.array([0.5, 5.0], pa.float64()), "b": [1, 2]}), 1)
    workspace.write(
        "p.yaml",
        """
steps:
  - read_parquet: left
    name: l
  - read_parquet: right
    name: r
  - join_asof: {left_on: x, right_on: y}
    input: [l, r]
  - write_parquet: out
""",
    )
    workspace.run_ok("p.yaml")
    assert [(row["x"], row["y"], row["b"]) for row in workspace.dataset("out").rows()] == [
        (1.0, 0.5, 1),
        (5.0, 5.0, 2),
        (9.0, 5.0, 2),
    ]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ("on: k", "numbers or times"),
        ("by: k", "one column of each input to order by"),
        ("on: t, direction: up", "backward"),
        ("on: t, left_on: t", "not from both"),
    ],
)
def test_mistakes_are_told(workspace, args, word):
    write(workspace, "left", side(1, 10, "a", "int"), 1)
    write(workspace, "right", side(2, 10, "b", "int"), 1)
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: left\n    name: l\n  - read_parquet: right\n    name: r\n"
        f"  - join_asof: {{{args}}}\n    input: [l, r]\n  - write_parquet: out\n",
    )
    assert word in workspace.run_bad("p.yaml").stderr
