"""Rows that change partition: sort, random_shuffle, distinct, group_by. Judged by Polars and by the laws."""

from __future__ import annotations

import itertools
import random
import shutil

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from binary import SCALE, is_killed
from kernel_limit import kernel_limit


def table(seed: int, rows: int) -> pa.Table:
    """Keys of many types: nulls, NaN, -0, long and empty text, few and many different values."""
    r = np.random.default_rng(seed)

    def nulls(values: list, share: float) -> list:
        return [None if r.random() < share else value for value in values]

    floats = [float(v) for v in r.choice([0.0, -0.0, 1.5, -1.5, float("nan"), float("inf"), 1e300, 1e-300], rows)]
    words = [
        "",
        "a",
        "ab",
        "b\0",
        "b",
        "a much longer word than sixteen bytes",
        "a much longer word than sixteen bytes, and more",
    ]
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "few": pa.array(nulls([int(v) for v in r.integers(0, 5, rows)], 0.1), pa.int32()),
            "many": pa.array([int(v) for v in r.integers(-(2**62), 2**62, rows)], pa.int64()),
            "real": pa.array(nulls(floats, 0.1), pa.float64()),
            "value": pa.array(nulls([float(v) for v in r.normal(size=rows)], 0.05), pa.float64()),
            "word": pa.array(nulls([words[v] for v in r.integers(0, len(words), rows)], 0.1), pa.string()),
            "flag": pa.array(nulls([bool(v) for v in r.integers(0, 2, rows)], 0.2), pa.bool_()),
            "one": pa.array([7] * rows, pa.int16()),
        }
    )


def write_parts(workspace, whole: pa.Table, parts: int, seed: int) -> None:
    cuts = sorted(random.Random(seed).randrange(len(whole) + 1) for _ in range(parts - 1))
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(whole)], strict=True)):
        workspace.write_table(f"in/{number:02d}.parquet", whole.slice(begin, end - begin), row_group_size=97)


def read(workspace, folder: str) -> pl.DataFrame:
    files = workspace.dataset(folder).files()
    return pl.concat([pl.read_parquet(path) for path in files]) if files else pl.DataFrame({"id": []})


def run(workspace, step: str, **options) -> pl.DataFrame:
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: {{path: in, rows_per_partition: 150}}\n  - {step}\n  - write_parquet: out\n",
    )
    workspace.run_ok("p.yaml", **{"threads": 2, "memory": "64MiB", "fresh": True, **options})
    return read(workspace, "out")


SORTS = [
    ("id", False, "last"),
    ("few", True, "last"),
    ("real", False, "first"),
    ("real", True, "last"),
    ("word", False, "last"),
    ("word", True, "first"),
    (["flag", "word", "many"], [True, False, True], "first"),
    (["one", "few"], [False, False], "last"),
    ("one", True, "last"),
    ("many", False, "last"),
]


@pytest.mark.parametrize(("by", "descending", "nulls"), SORTS)
@pytest.mark.parametrize("partitions", [1, 7])
def test_sort_is_what_polars_makes(workspace, by, descending, nulls, partitions):
    whole = table(1, 1500)
    write_parts(workspace, whole, 5, 1)
    step = f"sort: {{by: {by}, descending: {str(descending).lower()}, nulls: {nulls}, partitions: {partitions}}}"
    found = run(workspace, step)
    expected = pl.from_arrow(whole).sort(by, descending=descending, nulls_last=nulls == "last", maintain_order=True)
    assert found["id"].to_list() == expected["id"].to_list()
    assert found.equals(expected)


def test_sorted_partitions_are_of_like_size_also_when_all_keys_are_equal(workspace):
    write_parts(workspace, table(2, 4000), 4, 2)
    for by in ("one", "many", "few"):
        run(workspace, f"sort: {{by: {by}, partitions: 4}}")
        sizes = [sum(f["rows"] for f in p["files"]) for p in workspace.dataset("out").manifest["partitions"]]
        assert len(sizes) == 4
        assert min(sizes) > 600, sizes


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize(
    "step", ["sort: {by: many}", "random_shuffle: {seed: 1}", "distinct:", "repartition: {n: 3, by: few}"]
)
def test_tiny_inputs(workspace, step, rows):
    whole = table(3, rows)
    write_parts(workspace, whole, 3, 3)
    if rows == 0:
        workspace.write("p.yaml", f"steps:\n  - read_parquet: in\n  - {step}\n  - write_parquet: out\n")
        workspace.run_ok("p.yaml")
        assert sum(p["rows"] for p in workspace.dataset("out").manifest["partitions"] for p in p["files"]) == 0
        return
    assert sorted(run(workspace, step)["id"]) == list(range(rows))


def test_shuffle_is_a_permutation_of_rows_that_the_seed_decides(workspace):
    write_parts(workspace, table(4, 3000), 6, 4)
    first = run(workspace, "random_shuffle: {seed: 1, partitions: 3}")
    again = run(workspace, "random_shuffle: {seed: 1, partitions: 3}", threads=8, memory="1GiB")
    other = run(workspace, "random_shuffle: {seed: 2, partitions: 3}")
    assert first.equals(again)
    assert first["id"].to_list() != other["id"].to_list()
    assert sorted(first["id"]) == list(range(3000))
    # Rows, not blocks: neighbours are parted, and every part of the input is in every part of the output.
    ids = first["id"].to_list()
    assert sum(abs(a - b) == 1 for a, b in itertools.pairwise(ids)) < 30
    assert all(len({i // 500 for i in ids[at : at + 300]}) == 6 for at in range(0, 3000, 300))


@pytest.mark.parametrize("keep", ["first", "last", "none"])
@pytest.mark.parametrize("by", [["few"], ["word", "real"], ["many"], ["one"], ["flag", "few"]])
def test_distinct_is_what_polars_makes(workspace, by, keep):
    whole = table(5, 1200)
    write_parts(workspace, whole, 4, 5)
    found = run(workspace, f"distinct: {{by: {by}, keep: {keep}}}")
    # Polars tells -0 and 0 apart no more than we do, but keeps the first one's sign: so do we.
    expected = pl.from_arrow(whole).unique(by, keep=keep, maintain_order=True)
    assert sorted(found["id"]) == sorted(expected["id"])


def test_group_by_is_what_polars_makes(workspace):
    whole = table(6, 2500)
    write_parts(workspace, whole, 5, 6)
    for by in (["few"], ["word", "flag"], ["many"], ["one"]):
        found = run(
            workspace,
            f"group_by: {{by: {by}, aggregates: {{n: count(), c: count(value), s: sum(value), m: mean(value), "
            "d: std(value), v: var(value), lo: min(word), hi: max(value), f: first(id), l: last(id), ids: list(id), "
            "u: n_unique(word), yes: any(flag), all_: all(flag)}}",
        )
        frame = pl.from_arrow(whole)
        flags = pl.col("flag").drop_nulls()
        expected = frame.group_by(by, maintain_order=True).agg(
            n=pl.len().cast(pl.Int64),
            c=pl.col("value").count().cast(pl.Int64),
            s=pl.col("value").sum(),
            m=pl.col("value").mean(),
            d=pl.col("value").std(),
            v=pl.col("value").var(),
            lo=pl.col("word").min(),
            hi=pl.col("value").max(),
            f=pl.col("id").first(),
            l=pl.col("id").last(),
            ids=pl.col("id"),
            u=pl.col("word").drop_nulls().n_unique().cast(pl.Int64),
            yes=flags.any(),
            all_=flags.all(),
        )
        joined = found.sort("f"), expected.sort("f")
        assert len(joined[0]) == len(joined[1])
        for name in expected.columns:
            ours, theirs = joined[0][name].to_list(), joined[1][name].to_list()
            for row, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                if name == "s" and a is None:
                    b = None  # the sum of no value: null as in SQL; Polars says 0
                if name in ("yes", "all_") and a is None:
                    b = None  # no value at all
                if isinstance(a, float) and isinstance(b, float):
                    assert a == pytest.approx(b, rel=1e-12, abs=1e-14, nan_ok=True), (name, row)
                else:
                    assert a == b, (by, name, row)


def test_sums_that_do_not_fit_are_data_errors(workspace):
    workspace.write_table("in/a.parquet", pa.table({"k": [1, 1], "v": pa.array([2**62, 2**62], pa.int64())}))
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: in\n  - group_by: {by: k, aggregates: {s: sum(v)}}\n  - write_parquet: out\n",
    )
    finished = workspace.run_bad("p.yaml")
    assert "s" in finished.stderr


def wide(rows: int, seed: int = 1) -> pa.Table:
    r = np.random.default_rng(seed)
    return pa.table(
        {
            "k": pa.array(r.integers(0, rows // 3 + 1, rows), pa.int64()),
            "body": pa.array([bytes(b) for b in r.integers(0, 256, (rows, 400), dtype=np.uint8)], pa.binary()),
        }
    )


@pytest.mark.parametrize(
    "step",
    [
        "sort: {by: k}",
        "random_shuffle: {seed: 3}",
        "distinct: {by: k}",
        "group_by: {by: k, aggregates: {l: list(body)}}",
    ],
)
def test_data_larger_than_the_budget_under_a_kernel_limit(workspace, step):
    """Several times the budget: runs are spilled and merged; the kernel's limit of budget + 256 MiB is never hit."""
    for part in range(6):
        workspace.write_table(
            f"in/{part}.parquet", wide(int(90_000 * min(1.0, SCALE)), part), row_group_size=20_000, compression="none"
        )
    workspace.write(
        "p.yaml", f"steps:\n  - read_parquet: in\n  - {step}\n  - write_parquet: {{path: out, compression: none}}\n"
    )
    with kernel_limit((64 + 256) << 20) as limit:
        workspace.run_ok("p.yaml", memory="64MiB", threads=2, preexec_fn=limit.enter)
        assert limit.kills == 0
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    workspace.run_ok("p.yaml", memory="4GiB", threads=4)
    assert workspace.digests("out") == expected


KILLED = """
steps:
  - read_parquet: {path: in, rows_per_partition: 5000}
  - sort: {by: k, partitions: 8}
    name: sorted
  - write_parquet: {path: out/sorted, compression: zstd}
  - group_by: {by: k, aggregates: {n: count()}}
    input: sorted
  - write_parquet: out/groups
"""


@pytest.mark.parametrize("exchange", ["memory", "disk"])
def test_kill_9_through_an_exchange(workspace, exchange):
    workspace.write_table("in/0.parquet", wide(60_000), compression="none")
    workspace.write("p.yaml", KILLED)
    whole = workspace.run_ok("p.yaml", threads=2)
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    r = random.Random(5)
    kills = 0
    lines: list[bytes] = []
    while kills < int(15 * SCALE):
        process = workspace.start(
            "p.yaml",
            options={"threads": r.choice([1, 2, 4]), "memory": r.choice(["64MiB", "512MiB"]), "exchange": exchange},
        )
        try:
            process.wait(timeout=whole.seconds * 0.9 * r.random())
        except Exception:  # still running: that is what is wanted
            process.kill()
        process.communicate()
        main = workspace.dataset("out/sorted")
        now = main.commit_lines()
        assert now[: len(lines)] == lines, "a committed task was done again, or forgotten"
        lines = now
        kills += is_killed(process.returncode)
        if process.returncode == 0:
            assert workspace.digests("out") == expected
            shutil.rmtree(workspace.path / "out")
            lines = []
    workspace.run_ok("p.yaml")
    assert workspace.digests("out") == expected


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_exchange_files_are_caught(workspace, damage):
    workspace.write_table("in/0.parquet", wide(40_000), compression="none")
    workspace.write("p.yaml", KILLED)
    workspace.run_ok("p.yaml", threads=2)
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    process = workspace.start("p.yaml", options={"threads": 1, "exchange": "disk"})
    folder = workspace.path / "out/sorted/_partita/exchange-0"
    while process.poll() is None and len(workspace.dataset("out/sorted").commit_lines()) < 9:
        pass
    process.kill()
    process.communicate()
    files = sorted(folder.glob("in-*.pxf")) if folder.exists() else []
    if not files or workspace.dataset("out/sorted").is_finished:
        pytest.skip("the run was faster than the kill")
    content = bytearray(files[1].read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 0x40
        files[1].write_bytes(content)
    elif damage == "truncate":
        files[1].write_bytes(content[: len(content) // 2])
    else:
        files[1].unlink()
    finished = workspace.run("p.yaml")
    if finished.exit_code != 0:
        assert "damaged" in finished.stderr, str(finished)
        workspace.run_ok("p.yaml", fresh=True)
    assert workspace.digests("out") == expected


SMALL = """
steps:
  - read_parquet: {path: in, rows_per_partition: 500}
  - filter: k >= 0
    name: rows
  - group_by: {by: k, aggregates: {n: count()}}
    name: groups
  - random_shuffle: {seed: 1}
    input: rows
    name: shuffled
  - join: {on: k}
    input: [shuffled, groups]
  - sort: {by: k}
  - write_parquet: out
"""


def test_small_exchanges_touch_no_file(workspace):
    """Where their folder cannot be made, only those fail that must write."""
    workspace.write_table("in/0.parquet", wide(3_000), compression="none")
    workspace.write("p.yaml", SMALL)
    workspace.run_ok("p.yaml", exchange="disk")
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    limited = {"memory": "256MiB", "spill-dir": "/proc/nowhere"}
    for exchange in range(8):
        state = workspace.path / "out/_partita"
        state.mkdir(parents=True, exist_ok=True)
        (state / f"exchange-{exchange}").write_text("in the way")
    assert "exchange-" in workspace.run_bad("p.yaml", exchange="disk", **limited).stderr
    workspace.run_ok("p.yaml", exchange="memory", **limited)
    assert workspace.digests("out") == expected


def test_tasks_through_storage_give_the_same_bytes(workspace):
    """`partita task`, one process a task, in any order within a stage."""
    workspace.write_table("in/0.parquet", wide(8_000), compression="none")
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, rows_per_partition: 1000}\n"
        "  - sort: {by: k, partitions: 3}\n  - write_parquet: out\n",
    )
    workspace.run_ok("p.yaml")
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    workspace.run_ok("p.yaml", verb="compile", output="plan.json")
    r = random.Random(6)
    for stage, count in ((0, 8), (1, 3)):
        for partition in r.sample(range(count), count):
            workspace.run_ok("", verb="task", plan="plan.json", stage=stage, partition=partition)
    workspace.run_ok("plan.json")
    assert workspace.digests("out") == expected
