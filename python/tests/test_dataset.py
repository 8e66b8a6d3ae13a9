"""Datasets: lazy, immutable, and what their steps give."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partita as pt


def numbers(n: int = 10) -> pt.Dataset:
    return pt.from_arrow(pa.table({"i": range(n), "s": [f"s{k}" for k in range(n)]}))


def test_nothing_is_read_before_rows_are_asked_for() -> None:
    ds = pt.read_parquet("nowhere/").filter("a > 1").select("a")
    assert "read_parquet" in repr(ds)
    with pytest.raises(pt.UserError, match="nowhere"):
        ds.schema()


def test_steps_do_not_change_their_dataset() -> None:
    ds = numbers()
    assert ds.filter("i > 5").to_arrow().num_rows == 4
    assert ds.to_arrow().num_rows == 10


def test_select_drop_rename_cast() -> None:
    ds = numbers(2)
    assert ds.select("s", "i").schema().names == ["s", "i"]
    assert ds.select(["s"], pt.col("i").alias("n"), m="i * 2").take(1) == [{"s": "s0", "n": 0, "m": 0}]
    assert ds.drop("s").schema().names == ["i"]
    assert ds.drop(["s"]).schema() == ds.select("i").schema()
    assert ds.rename({"i": "k"}, s="t").schema().names == ["k", "t"]
    types = ds.cast({"i": pa.int8()}, s="large_string").schema().types
    assert types == [pa.int8(), pa.large_string()]
    assert ds.cast(i=float).schema().field("i").type == pa.float64()


def test_columns_may_be_called_like_arguments() -> None:
    ds = numbers(1).with_columns(name="i", columns="i + 1").rename(name="path")
    assert ds.take(1) == [{"i": 0, "s": "s0", "path": 0, "columns": 1}]


def test_with_columns_keeps_order_and_places() -> None:
    ds = numbers(1).with_columns({"z": "i"}, b=pt.lit("b"), i="i - 1")
    assert ds.schema().names == ["i", "s", "z", "b"]
    assert ds.take(1) == [{"i": -1, "s": "s0", "z": 0, "b": "b"}]


def test_limit_and_take_read_from_the_front() -> None:
    ds = pt.range(10_000_000_000).limit(3)
    assert [row["id"] for row in ds.take(99)] == [0, 1, 2]
    assert numbers().take(0) == []
    assert numbers(3).limit(0).to_arrow().num_rows == 0


def test_union_keeps_the_order_of_its_inputs() -> None:
    parts = [numbers(3).filter(pt.col("i") == k) for k in (2, 0, 1)]
    ds = parts[0].union(*parts[1:])
    assert [row["i"] for row in ds.iter_rows()] == [2, 0, 1]
    with pytest.raises(pt.UserError, match="int64"):
        numbers(1).union(numbers(1).cast(i="string")).schema()


def test_a_dataset_can_be_united_with_itself() -> None:
    ds = numbers(2)
    assert [row["i"] for row in ds.union(ds).iter_rows()] == [0, 1, 0, 1]


def test_count() -> None:
    numbers(7).write_parquet("n")
    assert pt.read_parquet("n").count() == 7
    assert pt.read_parquet("n").filter("i >= 5").count() == 2
    assert numbers(7).count() == 7
    assert pt.range(0).count() == 0
    assert pt.range(100).limit(7).count() == 7


def test_schema_and_take_look_at_the_first_file_only() -> None:
    folder = Path("many")
    folder.mkdir()
    for i in range(3):
        pq.write_table(pa.table({"a": [i]}), folder / f"part-{i}.parquet")
    for i in (1, 2):
        (folder / f"part-{i}.parquet").write_bytes(b"no Parquet at all")
    ds = pt.read_parquet("many")
    assert ds.schema() == pa.schema([("a", pa.int64())])
    assert ds.with_columns(b="a + 1").schema().names == ["a", "b"]
    assert ds.take(1) == [{"a": 0}]
    with pytest.raises(pt.DataError) as caught:
        ds.to_arrow()
    assert caught.value.step == "read_parquet"
    assert caught.value.file is not None
    assert caught.value.file.endswith(("part-1.parquet", "part-2.parquet"))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "webdataset"])
def test_formats_round_trip(kind: str) -> None:
    ds = numbers(25)
    columns = {"i": "json"} if kind == "webdataset" else {}
    if columns:
        ds = ds.rename(s="txt").drop("i")
    result = getattr(ds, f"write_{kind}")(f"out-{kind}")
    assert result.rows == 25
    assert sum(file.rows for file in result.datasets[0].files) == 25
    assert all((Path(result.path) / file.path).stat().st_size == file.bytes for file in result.datasets[0].files)
    back = getattr(pt, f"read_{kind}")(f"out-{kind}")
    if kind == "webdataset":
        assert [row["txt"] for row in back.iter_rows()] == [f"s{k}" for k in range(25)]
    else:
        assert back.to_arrow().to_pylist() == ds.to_arrow().to_pylist()


def test_read_text_and_files() -> None:
    Path("a.txt").write_text("one\n\ntwo\n")
    assert [row["text"] for row in pt.read_text("a.txt").iter_rows()] == ["one", "", "two"]
    assert pt.read_text("a.txt", drop_empty_lines=True).count() == 2
    files = pt.read_files([Path("a.txt")]).select("bytes").take(1)
    assert files == [{"bytes": b"one\n\ntwo\n"}]


def test_csv_options() -> None:
    Path("a.csv").write_text("x;1\ny;2\n")
    ds = pt.read_csv("a.csv", delimiter=";", column_names=["k", "v"], column_types={"v": pa.int16()})
    assert ds.schema().field("v").type == pa.int16()
    assert ds.take(9) == [{"k": "x", "v": 1}, {"k": "y", "v": 2}]


def test_items_and_columns() -> None:
    assert pt.from_items([1, 2]).take(9) == [{"item": 1}, {"item": 2}]
    assert pt.from_items([{"a": 1}, {"b": None}]).take(9) == [{"a": 1, "b": None}, {"a": None, "b": None}]
    assert pt.from_items([], schema=pa.schema([("a", pa.int8())])).schema().names == ["a"]
    for wrong in ([1, {"a": 1}], [1, "x"]):
        with pytest.raises(pt.UserError):
            pt.from_items(wrong)
    with pytest.raises(pt.UserError):
        pt.from_pydict({"a": [1], "b": [1, 2]})


def test_range() -> None:
    ds = pt.range(10, rows_per_partition=4)
    assert [row["id"] for row in ds.iter_rows()] == list(range(10))
    assert ds.stats().tasks_done == 3
    assert pt.range(2, column="n").take(9) == [{"n": 0}, {"n": 1}]


def test_apply_checks_at_the_call() -> None:
    with pytest.raises(pt.UserError, match="resize_images"):
        numbers().apply("resize_image")
    with pytest.raises(pt.UserError, match="size"):
        numbers().apply("resize_images", sise=3)
    with pytest.raises(pt.UserError, match="source"):
        numbers().apply("read_csv", path="x")
    assert numbers().apply("filter", predicate=pt.col("i") < 1).take(9) == [{"i": 0, "s": "s0"}]


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    pt.from_pydict({"n": [1, None], "b": [b"abc", None], "t": ["x\ny" * 40, ""]}).show()
    text = capsys.readouterr().out
    assert "int64" in text
    assert "<3 bytes>" in text
    assert "null" in text
    assert max(len(line) for line in text.splitlines()) < 80
    pt.range(3).filter("id < 0").show()
    assert "(no rows)" in capsys.readouterr().out


def test_repr_is_the_plan() -> None:
    ds = pt.read_parquet("a/", columns=["x"]).filter("x > 1", on_error="skip", name="good")
    both = ds.union(pt.range(3).select(x="id")).limit(5)
    assert repr(both) == (
        "Dataset\n"
        "  ┌─ read_parquet(path=['a/'], columns=['x'])\n"
        "  │  good: filter(x > 1, on_error=skip)\n"
        "  ├─ range(3)\n"
        "  │  select(x=id)\n"
        "  union()\n"
        "  limit(5)"
    )


def test_explain_tells_pushdown() -> None:
    numbers().write_parquet("n")
    text = pt.read_parquet("n").filter("i > 3").select("i").explain()
    assert "columns (1 of 2): i" in text
    assert "least memory" in text


def test_step_names_are_unique_and_kept() -> None:
    ds = pt.range(5).filter("id > 0").filter("id > 1", name="filter").filter("id > 2").named("last")
    ds.to_arrow()
    assert {"range", "filter", "filter_2", "last"} <= {step.name for step in ds.stats().steps}
    with pytest.raises(pt.UserError, match="two steps"):
        pt.range(1, name="a").filter("id > 0", name="a").schema()
    with pytest.raises(pt.UserError, match="name"):
        pt.range(1).named("no name!").schema()


def test_a_dataset_can_be_sent_to_another_process() -> None:
    ds = pt.range(5).filter(pt.col("id") > 2)
    ds.to_arrow()
    copy = pickle.loads(pickle.dumps([ds, ds.limit(1)]))
    assert [part.count() for part in copy] == [2, 1]
    assert copy[1]._node.inputs[0] is copy[0]._node
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(pt.from_items([1]))
