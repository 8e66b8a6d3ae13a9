"""group_by combines rows before the exchange: judged by DuckDB and by the laws, whatever the memory, and where keys seldom repeat."""

from __future__ import annotations

import itertools
import math
import random
import shutil
import struct

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from binary import SCALE
from kernel_limit import kernel_limit

AGGREGATES = {
    "n": ("count()", "count(*)"),
    "c": ("count(real)", "count(real)"),
    "s": ("sum(int)", "sum(int)"),
    "m": ("mean(real)", "avg(real)"),
    "v": ("var(small)", "var_samp(small)"),
    "d": ("std(value)", "stddev_samp(value)"),
    "lo": ("min(word)", "min(word)"),
    "hi": ("max(real)", "max(real)"),
    "f": ("first(id)", "min(id)"),
    "l": ("last(id)", "max(id)"),
    "any_": ("any(flag)", "bool_or(flag)"),
    "all_": ("all(flag)", "bool_and(flag)"),
    "med": ("median(value)", "median(value)"),
    "q": ("quantile(small, 0.9)", "quantile_cont(small, 0.9)"),
    "top": ("largest(small, 3)", "coalesce(max(small, 3), [])"),
    "low": ("smallest(value, 2)", "coalesce(min(value, 2), [])"),
    "r": ("corr(small, value)", "corr(small, value)"),
    "u": ("n_unique(word)", "count(DISTINCT word)"),
    "au": ("approx_n_unique(word)", "count(DISTINCT word)"),  # so few are counted right
    "aq": ("approx_quantile(small, 0.25)", "quantile_cont(small, 0.25)"),  # integers up to 512 are exact
}


def rows(seed: int, count: int, shape: str) -> pa.Table:
    """Rows whose keys are skewed (one has half of the rows), all equal, all different, or many."""
    r = np.random.default_rng(seed)

    def nulls(values: list, share: float) -> list:
        return [None if r.random() < share else value for value in values]

    words = ["", "a", "b\0", "b", "a word of more than sixteen bytes", "a word of more than sixteen bytes, and more"]
    key = {
        "skewed": lambda: [0 if r.random() < 0.5 else int(v) for v in r.integers(0, 40, count)],
        "equal": lambda: [7] * count,
        "different": lambda: [int(v) for v in r.permutation(count)],
        "many": lambda: [int(v) for v in r.integers(0, max(1, count // 3), count)],
    }[shape]()
    odd = r.choice([0.0, -0.0, 1.5, float("nan"), float("inf"), 1e300], count)
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "key": pa.array(nulls(key, 0.02) if shape != "equal" else key, pa.int32()),
            "word": pa.array(nulls([words[v] for v in r.integers(0, len(words), count)], 0.1), pa.string()),
            "odd": pa.array(nulls([float(v) for v in odd], 0.1), pa.float64()),
            "int": pa.array(nulls([int(v) for v in r.integers(-(2**40), 2**40, count)], 0.1), pa.int64()),
            "small": pa.array(nulls([int(v) for v in r.integers(-100, 100, count)], 0.1), pa.int8()),
            "real": pa.array(nulls([float(v) for v in r.normal(0, 1e6, count)], 0.1), pa.float64()),
            "value": pa.array(nulls([float(v) for v in r.normal(size=count)], 0.1), pa.float64()),
            "flag": pa.array(nulls([bool(v) for v in r.integers(0, 2, count)], 0.2), pa.bool_()),
        }
    )


def write(workspace, table: pa.Table, parts: int) -> None:
    shutil.rmtree(workspace.path / "in", ignore_errors=True)
    cuts = sorted(random.Random(parts).randrange(len(table) + 1) for _ in range(parts - 1))
    for number, (begin, end) in enumerate(itertools.pairwise([0, *cuts, len(table)])):
        workspace.write_table(f"in/{number:02d}.parquet", table.slice(begin, end - begin), row_group_size=301)


def group(workspace, by: list[str], aggregates: dict[str, str], **options) -> dict[str, str]:
    texts = ", ".join(f'{name}: "{text}"' for name, text in aggregates.items())
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, rows_per_partition: 900}\n"
        f"  - group_by: {{by: {by}, aggregates: {{{texts}}}}}\n  - write_parquet: out\n",
    )
    shutil.rmtree(workspace.path / "out", ignore_errors=True)
    workspace.run_ok("p.yaml", **{"threads": 2, "memory": "64MiB", "fresh": True, **options})
    return workspace.digests("out")


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    if (
        ours is None or theirs is None
    ):  # the correlation of less than two rows, and with what does not vary: null, or NaN
        return all(v is None or (isinstance(v, float) and math.isnan(v)) for v in (ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return ours == pytest.approx(theirs, rel=1e-9, abs=1e-9, nan_ok=True)
    return ours == theirs


@pytest.mark.parametrize("shape", ["skewed", "equal", "different", "many"])
@pytest.mark.parametrize("by", [["key"], ["word", "flag"], ["key", "odd", "word"]])
def test_groups_are_what_duckdb_makes(workspace, shape, by):
    table = rows(len(shape) + len(by), 4000, shape)
    write(workspace, table, 5)
    group(workspace, by, {name: ours for name, (ours, _) in AGGREGATES.items()})
    found = pa.concat_tables([pq.read_table(path) for path in workspace.dataset("out").files()]).sort_by("f")
    database = duckdb.connect()
    database.register("t", table)
    selected = ", ".join([*by, *(f"{theirs} AS {name}" for name, (_, theirs) in AGGREGATES.items())])
    expected = database.sql(f"SELECT {selected} FROM t GROUP BY ALL ORDER BY f").to_arrow_table()
    assert len(found) == len(expected)
    for name in expected.column_names:
        for ours, theirs in zip(found[name].to_pylist(), expected[name].to_pylist(), strict=True):
            assert same(ours, theirs), (name, ours, theirs)


@pytest.mark.parametrize("shape", ["skewed", "different", "many"])
def test_bytes_do_not_depend_on_what_is_combined(workspace, shape):
    """A function that cannot combine (list of lists) makes all of them send rows; the others get the same as from states of groups."""
    table = rows(3, 5000, shape)
    table = table.append_column("pair", pa.array([[v, v + 1] for v in range(5000)], pa.list_(pa.int64())))
    write(workspace, table, 4)
    texts = {name: ours for name, (ours, _) in AGGREGATES.items()}
    by = ["word", "key"]
    expected = group(workspace, by, texts, threads=1, memory="1GiB")
    for threads, memory in [(2, "64MiB"), (4, "96MiB"), (3, "2GiB")]:
        assert group(workspace, by, texts, threads=threads, memory=memory) == expected
    group(workspace, by, {**texts, "all_of": "list(word)", "numbers": "list(int)"})
    combined = [pq.read_table(path) for path in workspace.dataset("out").files()]
    group(workspace, by, {**texts, "all_of": "list(word)", "numbers": "list(int)", "pairs": "list(pair)"})
    carried = [pq.read_table(path) for path in workspace.dataset("out").files()]
    assert [str(t.drop_columns("pairs").to_pylist()) for t in carried] == [str(t.to_pylist()) for t in combined]
    assert all(row["pairs"][0] == [row["f"], row["f"] + 1] for t in carried for row in t.to_pylist())


DICTIONARIES = {
    "all": {},
    "none": {"use_dictionary": False},
    "given up": {"dictionary_pagesize_limit": 40, "write_batch_size": 32},
    "some": {"use_dictionary": ["word", "odd"]},
    "many pages": {"data_page_size": 64, "write_batch_size": 16, "data_page_version": "2.0"},
}


@pytest.mark.parametrize("shape", ["skewed", "many"])
@pytest.mark.parametrize("by", [["word"], ["key", "word"], ["key", "odd"], ["day", "key", "word"], ["nothing", "word"]])
def test_bytes_do_not_depend_on_how_keys_are_encoded(workspace, shape, by):
    """Keys in dictionary encoding are read as codes, others as values: what is counted and in which order is the same."""
    table = rows(len(shape), 3000, shape)
    days = pa.array([None if v % 17 == 0 else v % 23 for v in range(3000)], pa.int32()).cast(pa.date32())
    table = table.append_column("day", days).append_column("nothing", pa.nulls(3000, pa.string()))
    aggregates = {"n": "count()", "s": "sum(int)", "m": "mean(real)", "f": "first(id)", "r": "corr(small, id)"}
    found = set()
    for number, options in enumerate(DICTIONARIES.values()):
        shutil.rmtree(workspace.path / "in", ignore_errors=True)
        for part in range(3):
            workspace.write_table(f"in/{part}.parquet", table.slice(part * 1000, 1000), row_group_size=601, **options)
        digests = group(workspace, by, aggregates, threads=1 + number % 3, memory=["1GiB", "64MiB"][number % 2])
        found.add(str([digest for name, digest in digests.items() if name.endswith(".parquet")]))
    assert len(found) == 1
    groups = pa.concat_tables([pq.read_table(path) for path in workspace.dataset("out").files()]).sort_by("f")
    selected = f"{', '.join(by)}, count(*) AS n, sum(int) AS s, min(id) AS f FROM t"
    database = duckdb.connect()
    database.register("t", table)
    expected = database.sql(f"SELECT {selected} GROUP BY ALL ORDER BY f").to_arrow_table()
    for name in expected.column_names:
        for ours, theirs in zip(groups[name].to_pylist(), expected[name].to_pylist(), strict=True):
            assert same(ours, theirs), (name, ours, theirs)


@pytest.mark.parametrize("groups", [2_000_000, 1000])
def test_many_runs_under_a_kernel_limit(workspace, groups):
    """More groups than the budget holds: tasks write run after run, with keys that repeat and that do not."""
    r = np.random.default_rng(9)
    count = int(600_000 * max(SCALE, 0.2))
    for part in range(4):
        table = pa.table(
            {
                "k": pa.array([f"the key with number {v:010d}" for v in r.integers(0, groups, count)]),
                "v": pa.array(r.random(count), pa.float64()),
                "i": pa.array(r.integers(0, 1000, count), pa.int32()),
            }
        )
        workspace.write_table(f"in/{part}.parquet", table, row_group_size=50_000)
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: in\n  - group_by: {by: k, aggregates: {s: sum(v), n: count(), m: mean(i), f: first(v)}}\n"
        "  - write_parquet: out\n",
    )
    with kernel_limit((64 + 256) << 20) as limit:
        workspace.run_ok("p.yaml", memory="64MiB", threads=2, preexec_fn=limit.enter)
        assert limit.kills == 0
    expected = workspace.digests("out")
    assert sum(pq.read_metadata(path).num_rows for path in workspace.dataset("out").files()) <= groups
    shutil.rmtree(workspace.path / "out")
    workspace.run_ok("p.yaml", memory="4GiB", threads=4)
    assert workspace.digests("out") == expected


@pytest.mark.parametrize("shape", ["skewed", "many"])
def test_approximations_are_as_near_as_they_say(workspace, shape):
    """And the same for any memory and number of threads, although states go through many runs."""
    count = 60_000
    r = np.random.default_rng(12)
    key = np.where(r.random(count) < 0.5, 0, r.integers(0, 30 if shape == "skewed" else 20_000, count))
    table = pa.table(
        {
            "k": pa.array(key),
            "v": pa.array(r.lognormal(0, 4, count) * r.choice([1, -1], count)),
            "w": r.integers(0, 50_000, count),
        }
    )
    write(workspace, table, 3)
    aggregates = {"u": "approx_n_unique(w)", "q": "approx_quantile(v, 0.9)", "m": "approx_quantile(v, 0.5)"}
    expected = group(workspace, ["k"], aggregates, threads=1, memory="1GiB")
    for threads, memory in [(2, "64MiB"), (3, "96MiB")]:
        assert group(workspace, ["k"], aggregates, threads=threads, memory=memory) == expected
    found = pa.concat_tables([pq.read_table(path) for path in workspace.dataset("out").files()])
    database = duckdb.connect()
    database.register("t", table)
    exact = {
        row[0]: row[1:]
        for row in database.sql(
            "SELECT k, count(DISTINCT w), quantile_disc(v, 0.9), quantile_cont(v, 0.9), count(*) FROM t GROUP BY k"
        ).fetchall()
    }
    for k, u, q in zip(*(found[name].to_pylist() for name in ("k", "u", "q")), strict=True):
        unique, _, quantile, rows_ = exact[k]
        assert u == pytest.approx(unique, rel=0.08, abs=1)  # five standard errors
        if rows_ > 1000:
            assert q == pytest.approx(quantile, rel=1 / 128)


def mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 % 2**64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def unmix(x: int) -> int:
    x ^= (x >> 31) ^ (x >> 62)
    x = x * 0x319642B2D24D8EC3 % 2**64
    x ^= (x >> 27) ^ (x >> 54)
    x = x * 0x96DE1B173F119089 % 2**64
    return x ^ (x >> 30) ^ (x >> 60)


def colliding(number: int, hash_: int) -> bytes:
    """A key of 15 bytes whose hash is chosen (runs/row_key.cc: two rounds of a mixing that can be turned back)."""
    high = 1 << 56 | number
    low = (unmix(mix((high + 0x9E3779B97F4A7C15) % 2**64) ^ unmix(hash_)) - 0xD1B54A32D192ED03) % 2**64
    return struct.pack(">QQ", high, low)[1:]


def test_keys_with_one_hash_are_groups_apart(workspace):
    r = random.Random(4)
    keys = [colliding(number, number % 3) for number in range(60)]
    picks = [r.choice(keys) for _ in range(3000)]
    table = pa.table({"k": pa.array(picks, pa.binary(15)), "v": pa.array(range(3000), pa.int64())})
    write(workspace, table, 4)
    expected: dict[bytes, list[int]] = {}
    for value, key in enumerate(picks):
        expected.setdefault(key, []).append(value)
    digests = group(workspace, ["k"], {"n": "count()", "s": "sum(v)", "f": "first(v)"}, threads=3)
    found = pa.concat_tables([pq.read_table(path) for path in workspace.dataset("out").files()]).to_pylist()
    assert found == [
        {"k": key, "n": len(values), "s": sum(values), "f": values[0]}
        for number in range(3)
        for key, values in expected.items()
        if keys.index(key) % 3 == number
    ]  # in the order of the hash, then of the first row
    assert group(workspace, ["k"], {"n": "count()", "s": "sum(v)", "f": "first(v)"}, memory="1GiB") == digests


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantile(value)", "takes 2"),
        ("quantile(value, 1.5)", "from 0 to 1"),
        ("median(value, 0.5)", "takes 1"),
        ("approx_quantile(value, -1)", "approx_quantile is of a number from 0 to 1"),
        ("approx_quantile(word, 0.5)", "integers and floats"),
        ("largest(value, 0)", "from 1 to 1000"),
        ("largest(word, 2)", "numbers and times"),
        ("median(word)", "integers and floats"),
        ("corr(value, word)", "integers and floats"),
        ("corr(value, nobody)", "nobody"),
    ],
)
def test_what_an_aggregate_does_not_take_is_the_users_to_mend(workspace, text, message):
    write(workspace, rows(1, 10, "equal"), 1)
    workspace.write(
        "p.yaml",
        f'steps:\n  - read_parquet: in\n  - group_by: {{by: key, aggregates: {{x: "{text}"}}}}\n  - write_parquet: out\n',
    )
    assert message in workspace.run_bad("p.yaml").stderr
