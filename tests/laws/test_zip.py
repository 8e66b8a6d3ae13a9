"""zip puts rows side by side; repartition cuts by bytes: the same rows in the same order, whatever the threads."""

from __future__ import annotations

import pyarrow as pa
import pytest

PIPELINE = """
steps:
  - read_parquet: {{path: left, rows_per_partition: 70}}
    name: l
  - read_parquet: {{path: right, rows_per_partition: 110}}
    name: r
{more}
  - zip: {{}}
    input: [l, {right}]
  - write_parquet: out
"""


def tables(workspace, rows: int, others: int) -> None:
    for name, count, cut in (("left", rows, 3), ("right", others, 2)):
        table = pa.table({"i": list(range(count)), name: [f"{name} {i}" * (i % 7) for i in range(count)]})
        for number in range(cut):
            begin, end = count * number // cut, count * (number + 1) // cut
            workspace.write_table(f"{name}/{number}.parquet", table.slice(begin, end - begin), row_group_size=40)


def test_rows_of_one_place_meet(workspace):
    tables(workspace, 1000, 1000)
    workspace.write("p.yaml", PIPELINE.format(more="", right="r"))
    digests = []
    for threads in (1, 2, 8):
        workspace.run_ok("p.yaml", threads=threads, memory="64MiB", fresh=True)
        digests.append(workspace.digests("out"))
    assert digests[0] == digests[1] == digests[2]
    rows = workspace.dataset("out").rows()
    assert [row["i"] for row in rows] == [row["i_right"] for row in rows] == list(range(1000))
    assert all(row["right"] == row["left"].replace("left", "right") for row in rows)


def test_a_limit_makes_lengths_equal(workspace):
    tables(workspace, 300, 1000)
    workspace.write("p.yaml", PIPELINE.format(more="  - limit: {n: 300}\n    input: r\n    name: few", right="few"))
    workspace.run_ok("p.yaml")
    assert [row["i_right"] for row in workspace.dataset("out").rows()] == list(range(300))


@pytest.mark.parametrize(("rows", "others"), [(300, 301), (0, 5), (7, 0)])
def test_both_counts_are_told_where_they_differ(workspace, rows, others):
    tables(workspace, rows, others)
    workspace.write("p.yaml", PIPELINE.format(more="", right="r"))
    finished = workspace.run_bad("p.yaml")
    assert f"left one has {rows}, the right one {others}" in finished.stderr, finished.stderr


def test_a_dataset_is_zipped_with_what_is_made_of_it(workspace):
    tables(workspace, 500, 10)
    more = "  - select: {i: i * 2}\n    input: l\n    name: twice"
    workspace.write("p.yaml", PIPELINE.format(more=more, right="twice"))
    workspace.run_ok("p.yaml", threads=2)
    assert all(row["i_right"] == 2 * row["i"] for row in workspace.dataset("out").rows())


@pytest.mark.parametrize("how", ["", ", shuffle: true", ", by: i"])
def test_partitions_are_cut_by_bytes(workspace, how):
    tables(workspace, 2000, 10)
    workspace.write(
        "p.yaml",
        f"steps:\n  - read_parquet: left\n  - repartition: {{bytes: 8KiB{how}}}\n  - write_parquet: out\n",
    )
    digests = []
    for threads in (1, 8):
        workspace.run_ok("p.yaml", threads=threads, fresh=True)
        digests.append(workspace.digests("out"))
    assert digests[0] == digests[1]
    rows = [row["i"] for row in workspace.dataset("out").rows()]
    assert sorted(rows) == list(range(2000))
    assert how or rows == list(range(2000))
    counts = [sum(f["rows"] for f in p["files"]) for p in workspace.dataset("out").manifest["partitions"]]
    logical = sum(8 + 4 + len(f"left {i}" * (i % 7)) for i in range(2000))
    assert abs(len(counts) - logical / 8192) < 4
    assert how or max(counts) - min(counts) <= 1
