"""Functions of whole groups of rows, and batches cut by bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import partita as pt

COUNTS = {"k": "int64", "n": "int64", "s": "int64"}


def summed(group: dict[str, Any]) -> dict[str, Any]:
    assert len(set(group["k"].tolist())) == 1
    assert (np.diff(group["v"]) > 0).all(), "in the order of the dataset"
    return {"k": group["k"][:1], "n": [len(group["k"])], "s": [group["v"].sum()]}


def numbers(rows: int, groups: int) -> pt.Dataset:
    return pt.range(rows, rows_per_partition=1700).with_columns(k=f"id % {groups}", v="id * 2").select("k", "v")


@pytest.mark.parametrize(("rows", "groups"), [(5000, 7), (5000, 3000), (10, 1)])
def test_groups_are_those_of_agg(rows: int, groups: int) -> None:
    ds = numbers(rows, groups)
    got = ds.group_by("k").map_groups(summed, schema=COUNTS).sort("k").to_arrow()
    assert got.equals(ds.group_by("k").agg(n="count()", s="sum(v)").sort("k").to_arrow().cast(got.schema))


def test_keys_of_several_columns_and_nulls() -> None:
    table = pa.table({"a": ["x", None, "x", None, "y", "x"], "b": [1, 1, 2, 1, None, 1], "v": list(range(6))})

    def listed(group: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch({"v": [group["v"].to_pylist()]})

    got = pt.from_arrow(table).map_groups(["a", "b"], listed, batch_format="arrow").to_arrow()
    assert sorted(got["v"].to_pylist()) == [[0, 5], [1, 3], [2], [4]]


def test_columns_are_asked_of_one_group() -> None:
    ds = pt.from_pydict({"k": [1, 2, 1], "v": [1.5, 2.0, 3.0]})
    assert ds.group_by("k").map_groups(lambda g: {"k": g["k"][:1], "v": [g["v"].mean()]}).schema() == pa.schema(
        {"k": pa.int64(), "v": pa.float64()}
    )


def test_a_bad_group_is_left_out_whole(tmp_path: Path) -> None:
    def fails(group: dict[str, Any]) -> dict[str, Any]:
        if group["k"][0] in (3, 5):
            raise ValueError("no such group")
        return {"k": group["k"]}

    ds = numbers(1000, 10).map_groups("k", fails, schema={"k": "int64"}, on_error="skip")
    assert sorted(set(ds.to_arrow()["k"].to_pylist())) == [0, 1, 2, 4, 6, 7, 8, 9]
    assert ds.stats().step("map_groups").rows_skipped == 200
    with pytest.raises(pt.UserError, match="no such group"):
        numbers(1000, 10).map_groups("k", fails, schema={"k": "int64"}).to_arrow()


def test_a_group_that_ends_its_worker_is_found() -> None:
    def dies(group: dict[str, Any]) -> dict[str, Any]:
        if group["k"][0] == 37:
            os._exit(3)
        return {"k": group["k"][:1]}

    ds = numbers(2000, 100).map_groups("k", dies, schema={"k": "int64"}, on_error="skip")
    assert sorted(ds.to_arrow()["k"].to_pylist()) == [k for k in range(100) if k != 37]


def test_a_group_larger_than_the_budget_is_an_error() -> None:
    ds = pt.range(2_000_000).with_columns(k="0 * id", a="id * 3")
    with pytest.raises(pt.ResourceError, match="budget"):
        ds.map_groups("k", lambda group: {"n": [len(group["k"])]}, schema={"n": "int64"}).to_arrow(memory="48MiB")


def test_a_pipeline_without_its_exchange_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_groups.py").write_text("def size(group):\n    return {'n': [len(group['k'])]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = """
        steps:
          - range: {n: 1000}
          - with_columns: {k: id % 7}
          EXCHANGE
          - map_groups: {by: k, fn: "my_groups:size", schema: "n: int64"}
          - write_parquet: out
    """
    (tmp_path / "wrong.yaml").write_text(steps.replace("EXCHANGE", ""))
    with pytest.raises(pt.UserError, match="repartition"):
        pt.from_yaml("wrong.yaml").run()
    (tmp_path / "right.yaml").write_text(steps.replace("EXCHANGE", "- repartition: {by: k}"))
    pt.from_yaml("right.yaml").run()
    assert sorted(pt.read_parquet("out").to_arrow()["n"].to_pylist()) == [142, 143, 143, 143, 143, 143, 143]


def test_batches_are_cut_by_the_bytes_of_their_values_whatever_the_blocks() -> None:
    def sizes(batch: dict[str, Any]) -> dict[str, Any]:
        return {"rows": [len(batch["text"])]}

    # 4 bytes a text and its letters
    table = pa.table({"text": ["x" * (96 if i % 10 else 996) for i in range(100)]})
    expected = [1, 9] * 10  # 1,000 and 900 of 1,024
    for block in (1, 33, 100):
        given = pa.Table.from_batches(table.to_batches(max_chunksize=block))
        got = pt.from_arrow(given).map_batches(sizes, batch_size="1KiB", schema={"rows": "int64"}).to_arrow()
        assert got["rows"].to_pylist() == expected
    for wrong in ("1 parsec", "800", "0MiB"):
        with pytest.raises(pt.UserError, match="64MiB"):
            pt.from_arrow(table).map_batches(sizes, batch_size=wrong, schema={"rows": "int64"}).schema()


class Spread:
    """Variance by Chan's merge, and how many batches it came of."""

    def start(self) -> Any:
        return (0, 0.0, 0.0)

    def add(self, state: Any, rows: dict[str, Any]) -> Any:
        v = rows["v"].astype(float)
        return self.merge(state, (len(v), v.mean(), ((v - v.mean()) ** 2).sum()))

    def merge(self, state: Any, other: Any) -> Any:
        (n, mean, m2), (k, mean_k, m2_k) = state, other
        delta = mean_k - mean
        return (n + k, mean + delta * k / (n + k), m2 + m2_k + delta * delta * n * k / (n + k))

    def finish(self, state: Any) -> dict[str, Any]:
        return {"n": state[0], "var": state[2] / (state[0] - 1)}


def test_aggregators_of_your_own_are_those_of_the_engine() -> None:
    ds = numbers(5000, 7).with_columns(j="k % 2")
    got = ds.group_by("k", "j").aggregate(Spread).sort("k").to_arrow()
    expected = ds.group_by("k", "j").agg(n="count()", var="var(v)").sort("k").to_arrow()
    assert got.drop_columns("var").equals(expected.drop_columns("var"))
    np.testing.assert_allclose(got["var"], expected["var"], rtol=1e-12)
    again = ds.group_by("k", "j").aggregate(Spread()).sort("k").to_arrow(threads=1, memory="256MiB")
    assert again.equals(got)


def test_native_steps_leave_groups_where_a_function_does() -> None:
    ds = numbers(5000, 70)
    of_function = ds.group_by("k").map_groups(lambda group: group, schema={"k": "int64", "v": "int64"}).to_arrow()
    assert ds.group_by("k").head(10_000).to_arrow().equals(of_function)
    first = ds.group_by("k").map_groups(steps=lambda group: group.sort("v", descending=True).limit(1)).to_arrow()
    assert first["k"].to_pylist() == list(dict.fromkeys(of_function["k"].to_pylist()))


def test_steps_of_groups_are_those_of_a_dataset() -> None:
    ds = pt.from_pydict({"k": ["a", "b", "a", "a"], "v": [1, -4, 3, -2], "s": ["x", "y", "z", "w"]})
    ranked = ds.group_by("k").map_groups(
        steps=lambda group: (
            group.filter(pt.col("v") != 3)
            .sort(pt.col("v").abs(), descending=True)
            .with_row_index("rank", offset=1)
            .with_columns(half="v / 2")
            .select("rank", "half", "k")
        )
    )
    assert ranked.schema().names == ["rank", "half", "k"]
    assert ranked.sort("k", "rank").take(9) == [
        {"rank": 1, "half": -1, "k": "a"},
        {"rank": 2, "half": 0, "k": "a"},
        {"rank": 1, "half": -2, "k": "b"},
    ]
    assert "map_groups(by=['k'], filter(v != 3) | " in repr(ranked)
    assert "each group by" in ranked.explain()
    assert ds.map_groups("k", steps=lambda group: group.limit(1), name="firsts").explain().count("firsts") > 0


def test_steps_of_groups_that_cannot_be() -> None:
    groups = pt.from_pydict({"k": [1, 2], "v": [1, 2]}).group_by("k")
    for wrong, message in [
        (lambda group: group, "with steps behind it"),
        (lambda group: None, "with steps behind it"),
        (lambda group: pt.Group().limit(1), "with steps behind it"),
        (lambda group: group.distinct("v"), "'distinct' cannot stand inside map_groups"),
        (lambda group: group.map(lambda row: row, schema={"k": "int64"}), "it runs a Python function"),
        (lambda group: group.apply(len), "a component of your own runs Python"),
        (lambda group: group.limit(1, name="one"), "takes no name"),
        (lambda group: group.sort("v", partitions=3), "makes no partitions"),
        ("sort", "must be a function of a group"),
    ]:
        with pytest.raises(pt.UserError, match=message):
            groups.map_groups(steps=wrong)
    with pytest.raises(pt.UserError, match="needs a function or steps"):
        groups.map_groups()
    for both in ({"fn": len}, {"schema": {"k": "int64"}}, {"timeout": 3}):
        with pytest.raises(pt.UserError, match="has no meaning beside steps"):
            groups.map_groups(steps=lambda group: group.limit(1), **both)
    with pytest.raises(pt.UserError, match="there is no column 'w'"):
        groups.map_groups(steps=lambda group: group.sort("w")).take(1)


def test_policies_for_bad_rows_inside_groups() -> None:
    ds = pt.from_pydict({"k": [1, 1, 2], "v": ["1", "x", "3"]})
    whole = ds.map_groups("k", steps=lambda group: group.cast({"v": "int64"}).limit(2), on_error="skip")
    assert sorted(whole.to_arrow()["v"].to_pylist()) == [1, 3]
    inside = ds.map_groups("k", steps=lambda group: group.cast({"v": "int64"}, on_error="skip").limit(2))
    assert sorted(inside.to_arrow()["v"].to_pylist()) == [1, 3]
    with pytest.raises(pt.DataError):
        ds.map_groups("k", steps=lambda group: group.cast({"v": "int64"}).limit(2)).to_arrow()
