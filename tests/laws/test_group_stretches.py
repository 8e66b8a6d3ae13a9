"""Tables of groups outlive their tasks (decision 0023): no byte is another for it, after kills, bad rows and refused memory too."""

from __future__ import annotations

import random
import shutil

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from binary import SCALE, is_killed
from kernel_limit import kernel_limit
from test_group_by import AGGREGATES, colliding, rows, write

ALL = {name: ours for name, (ours, _) in AGGREGATES.items()} | {"ids": "list(id)"}


def write_pipeline(workspace, by: str, aggregates: dict[str, str], between: str = "", rows_per_partition: int = 120) -> None:
    texts = ", ".join(f'{name}: "{text}"' for name, text in aggregates.items())
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: {{path: in, rows_per_partition: {rows_per_partition}}}\n{between}"
        f"  - group_by: {{by: {by}, aggregates: {{{texts}}}}}\n  - write_parquet: out\n",
    )


def run(workspace, **options) -> tuple[dict[str, str], int]:
    """What the pipeline writes, and how many tasks went on in the table of the one before them."""
    shutil.rmtree(workspace.path / "out", ignore_errors=True)
    workspace.run_ok("p.yaml", **options)
    steps = workspace.dataset("out").records()[-1]["stats"]["steps"]
    return workspace.digests("out"), sum((step.get("details") or {}).get("continued_tables", 0) for step in steps)


def groups(workspace) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in workspace.dataset("out").files()])


@pytest.mark.parametrize("shape", ["skewed", "different", "many"])
def test_bytes_do_not_depend_on_who_goes_on_in_a_table(workspace, shape):
    write(workspace, rows(6, 5000, shape), 3)
    write_pipeline(workspace, "[key, word]", ALL)
    expected, continued = run(workspace, threads=2, memory="1GiB", exchange="disk")
    assert continued == 0, "shares are files: each task has its own"
    for threads, memory in [(1, "1GiB"), (2, "64MiB"), (3, "128MiB"), (8, "2GiB")]:
        found, continued = run(workspace, threads=threads, memory=memory)
        assert found == expected, (threads, memory)
        assert continued > (20 if threads == 1 else 0), "of some 43 tasks"  # who follows whom is a matter of time


def test_keys_with_one_hash_stand_by_their_first_rows(workspace):
    r = random.Random(4)
    keys = [colliding(number, number % 3) for number in range(60)]
    picks = [r.choice(keys[: 6 + row // 50]) for row in range(3000)]  # some come late
    table = pa.table({"k": pa.array(picks, pa.binary(15)), "v": pa.array(range(3000), pa.int64())})
    write(workspace, table, 4)
    write_pipeline(workspace, "k", {"n": "count()", "f": "first(v)", "l": "last(v)", "all": "list(v)"})
    expected: dict[bytes, list[int]] = {}
    for value, key in enumerate(picks):
        expected.setdefault(key, []).append(value)
    for threads in (1, 2, 4):
        _, continued = run(workspace, threads=threads, memory="256MiB")
        assert continued > (10 if threads == 1 else 0)
        assert groups(workspace).to_pylist() == [
            {"k": key, "n": len(values), "f": values[0], "l": values[-1], "all": values}
            for number in range(3)
            for key, values in expected.items()
            if keys.index(key) % 3 == number
        ]


def test_kill_9_in_a_stretch(workspace):
    """Tasks whose rows were in a table alone are done again, others are not."""
    write(workspace, rows(8, 30_000, "many"), 2)
    write_pipeline(workspace, "key", ALL, rows_per_partition=300)
    expected, continued = run(workspace, threads=2, memory="256MiB")
    assert continued > 0
    whole = workspace.run_ok("p.yaml", fresh=True, threads=2, memory="256MiB").seconds
    shutil.rmtree(workspace.path / "out")
    r = random.Random(3)
    kills, lines = 0, []
    while kills < int(12 * SCALE):
        exchange = r.choice(["memory", "memory", "disk"])
        options = {"threads": r.choice([1, 2, 4]), "memory": r.choice(["64MiB", "512MiB"]), "exchange": exchange}
        process = workspace.start("p.yaml", options=options)
        try:
            process.wait(timeout=whole * 0.9 * r.random())
        except Exception:  # still running: that is what is wanted
            process.kill()
        process.communicate()
        now = workspace.dataset("out").commit_lines()
        assert now[: len(lines)] == lines, "a committed task was forgotten"
        lines = now
        kills += is_killed(process.returncode)
        if process.returncode == 0:
            assert workspace.digests("out") == expected
            shutil.rmtree(workspace.path / "out")
            lines = []
    workspace.run_ok("p.yaml", threads=2)
    assert workspace.digests("out") == expected
    assert workspace.dataset("out").leftovers() == []


def write_texts(workspace) -> list[int]:
    """Numbers as text, with some that are none in the middle of stretches."""
    ids = list(range(4000))
    bad = [i for i in ids if i % 211 == 17 or 1500 <= i < 1510]
    texts = [f"no {i}" if i in set(bad) else str(i) for i in ids]
    for part in range(2):
        half = slice(part * 2000, part * 2000 + 2000)
        table = pa.table({"id": ids[half], "k": [i % 37 for i in ids[half]], "text": texts[half]})
        workspace.write_table(f"in/{part}.parquet", table, row_group_size=150)
    return bad


CAST = "  - with_columns: {n: cast(text as int64)}\n    name: parse\n    on_error: %s\n"


def test_bad_rows_are_left_out_of_tables_once(workspace):
    bad = write_texts(workspace)
    write_pipeline(workspace, "k", {"n": "count()", "s": "sum(n)", "f": "first(id)", "l": "last(id)"}, CAST % "skip")
    expected, _ = run(workspace, threads=1, memory="1GiB", exchange="disk")
    for threads, memory in [(1, "1GiB"), (2, "64MiB"), (4, "256MiB")]:
        found, continued = run(workspace, threads=threads, memory=memory)
        assert found == expected
        assert continued > (10 if threads == 1 else 0)
        steps = workspace.dataset("out").records()[-1]["stats"]["steps"]
        assert next(step for step in steps if step["name"] == "parse")["rows_skipped"] == len(bad)
    database = duckdb.connect()
    database.register("t", pa.table({"id": [i for i in range(4000) if i not in set(bad)]}))
    selected = "id % 37 AS k, count(*) AS n, sum(id)::BIGINT AS s, min(id) AS f, max(id) AS l"
    judged = database.sql(f"SELECT {selected} FROM t GROUP BY ALL ORDER BY f").to_arrow_table()
    assert groups(workspace).sort_by("f").to_pylist() == judged.to_pylist()


def test_a_bad_row_in_a_stretch_fails_the_run_once(workspace):
    write_texts(workspace)
    write_pipeline(workspace, "k", {"s": "sum(n)"}, CAST % "fail")
    for threads in (1, 3):
        finished = workspace.run_bad("p.yaml", threads=threads, memory="256MiB")
        assert "data error" in finished.stderr
        assert "parse" in finished.stderr
        assert not workspace.dataset("out").is_finished
        shutil.rmtree(workspace.path / "out")


@pytest.mark.parametrize("count", [30_000, 400_000])
def test_tables_in_little_memory(workspace, count):
    """They are given back, overflow, and are begun anew: under a kernel limit, with functions whose states are large."""
    r = np.random.default_rng(7)
    total = int(600_000 * max(SCALE, 0.2))
    table = pa.table(
        {
            "k": pa.array([f"the key {v:010d}" for v in r.integers(0, count, total)]),
            "v": pa.array(r.random(total)),
            "i": pa.array(r.integers(0, 1000, total), pa.int32()),
        }
    )
    workspace.write_table("in/0.parquet", table, row_group_size=10_000)
    aggregates = {"n": "count()", "s": "sum(v)", "m": "median(v)", "top": "largest(i, 2)", "all": "list(i)", "f": "first(v)"}
    write_pipeline(workspace, "k", aggregates, rows_per_partition=10_000)
    expected, continued = run(workspace, threads=2, memory="2GiB")
    assert continued > 0
    with kernel_limit((64 + 256) << 20) as limit:
        found, _ = run(workspace, threads=2, memory="64MiB", preexec_fn=limit.enter)
        assert limit.kills == 0
    assert found == expected
    assert run(workspace, threads=4, memory="96MiB")[0] == expected
