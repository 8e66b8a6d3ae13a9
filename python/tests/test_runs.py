"""Runs that write: outputs, options, errors, quarantine, stats, pipeline files."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partita as pt

BAD = {"s": ["1", "x", "3", "y"]}


def test_several_outputs_execute_the_source_once() -> None:
    pt.range(5000).write_parquet("in", rows_per_file=1000)
    source = pt.read_parquet("in")
    shared = source.with_columns(twice="id * 2")
    result = pt.run(
        shared.sink_parquet("all"),
        shared.filter("id % 2 = 0").sink_jsonl("even"),
        [shared.limit(10).sink_csv("few", name="sample")],
    )
    assert [dataset.rows for dataset in result.datasets] == [5000, 2500, 10]
    assert result.rows == 7510
    assert result.stats.step("read_parquet").rows_out == 5000
    assert result.stats.step("with_columns").rows_in == 5000
    assert result.datasets[2].step == "sample"
    assert pt.read_jsonl("even").count() == 2500
    assert "sample" in repr(result)


def test_an_interrupted_or_repeated_run_does_only_what_is_missing() -> None:
    ds = pt.range(1000)
    first = ds.write_parquet("out")
    again = ds.write_parquet("out")
    assert not first.was_complete
    assert again.was_complete
    assert again.rows == 1000
    assert again.plan_hash == first.plan_hash
    with pytest.raises(pt.UserError, match="out"):
        ds.filter("id > 5").write_parquet("out")
    assert ds.filter("id > 5").write_parquet("out", fresh=True).rows == 994


def test_same_bytes_for_any_threads_and_budget() -> None:
    pt.range(20_000).with_columns(s=pt.col("id").cast("string")).write_parquet("in", rows_per_file=3000)
    ds = pt.read_parquet("in", rows_per_partition=3000).filter("id % 3 <> 0")
    contents = []
    for i, (threads, memory) in enumerate([(1, "32MiB"), (2, "256MiB"), (8, "1GiB")]):
        result = ds.write_parquet(f"out{i}", threads=threads, memory=memory)
        files = [Path(result.path, file.path) for file in result.datasets[0].files]
        contents.append([(file.name, file.read_bytes()) for file in files])
    assert contents[0] == contents[1] == contents[2]


def test_bad_rows_fail_with_their_place() -> None:
    with pytest.raises(pt.DataError) as caught:
        pt.from_pydict(BAD).cast(s="int32", on_error="fail").write_parquet("out")
    error = caught.value
    assert isinstance(error, ValueError)
    assert (error.kind, error.step, error.partition, error.row) == ("data", "cast", 0, 1)
    assert error.hint
    assert error.hint in str(error)
    assert "'x'" in error.message
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.row) == (pt.DataError, str(error), 1)


def test_bad_rows_are_skipped_and_counted() -> None:
    ds = pt.from_pydict(BAD).cast(s="int32", on_error="skip")
    assert ds.to_arrow().column("s").to_pylist() == [1, 3]
    assert ds.stats().step("cast").rows_skipped == 2


def test_bad_rows_go_to_quarantine() -> None:
    result = pt.from_pydict(BAD).cast(s="int32", on_error="quarantine").write_parquet("out")
    assert result.rows == 2
    assert result.quarantine is not None
    assert result.quarantine.rows == 2
    rows = pt.read_parquet(result.quarantine.path, include_hidden=True).to_arrow()
    assert rows.num_rows == 2
    assert result.stats.step("cast").rows_quarantined == 2
    assert "quarantine" in repr(result)


def test_the_policy_of_a_run_is_for_steps_that_name_none() -> None:
    ds = pt.from_pydict(BAD).cast(s="int32")
    assert ds.write_parquet("a", on_error="skip").rows == 2
    with pt.options.override(on_error="skip"):
        assert ds.to_arrow().num_rows == 2
    strict = pt.from_pydict(BAD).cast(s="int32", on_error="fail")
    with pytest.raises(pt.DataError):
        strict.to_arrow(on_error="skip")
    with pytest.raises(pt.UserError, match="did you mean 'skip'"):
        pt.from_pydict(BAD).cast(s="int32", on_error="skp")


def test_too_small_a_budget_is_refused_before_anything_is_written() -> None:
    with pytest.raises(pt.UserError, match="too small"):
        pt.range(5).write_parquet("out", memory=1000)


FAT = """
import partita as pt, pyarrow as pa
ds = pt.from_arrow(pa.table({"s": ["x" * (40 << 20)]})).with_columns(t=pt.col("s").str.upper())
try:
    ds.write_parquet("fat", memory="32MiB")
except MemoryError as error:
    print(type(error).__name__, error.kind, error.step)
"""


def test_a_row_that_can_never_fit_is_an_error_that_names_the_step() -> None:
    # In a process of its own: a run that waited for ever would stop all tests.
    done = subprocess.run([sys.executable, "-c", FAT], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ResourceError resource with_columns\n"
    assert not list(Path("fat").glob("*.parquet"))


def test_errors_of_the_environment() -> None:
    Path("file").write_text("")
    with pytest.raises(pt.PartitaError) as caught:
        pt.range(3).write_parquet("file/below")
    assert caught.value.kind in ("environment", "user")


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pt.options.memory == 512 << 20  # of the environment
    pt.options.memory = "64MiB"
    assert pt.options.memory == 64 << 20
    with pt.options.override(memory="128MiB", threads=1):
        assert pt.options.memory == 128 << 20
        ds = pt.range(10)
        ds.to_arrow()
        assert ds.stats().memory_limit_bytes == 128 << 20
        ds.to_arrow(memory="32MiB")
        assert ds.stats().memory_limit_bytes == 32 << 20
    assert pt.options.memory == 64 << 20
    assert "memory" in dir(pt.options)
    assert "threads" in repr(pt.options)
    for wrong in ({"memori": 1}, {"memory": "lots"}, {"threads": -1}, {"progress": "maybe"}, {"engine": "abacus"}):
        with pytest.raises(pt.UserError):
            pt.range(1).to_arrow(**wrong)  # type: ignore[arg-type]
        with pytest.raises(pt.UserError):
            setattr(pt.options, *wrong.popitem())
    with pytest.raises(AttributeError, match="memori"):
        _ = pt.options.memori
    pt.options.memory = None
    assert pt.options.memory == 512 << 20
    monkeypatch.setenv("PARTITA_THREADS", "none")
    with pytest.raises(pt.UserError, match="PARTITA_THREADS"):
        pt.range(1).to_arrow()


def test_stats() -> None:
    ds = pt.range(100).filter("id < 10")
    with pytest.raises(pt.UserError, match="not run yet"):
        ds.stats()
    ds.write_csv("out")
    stats = ds.stats()
    assert stats.step("filter").rows_in == 100
    assert stats.step("filter").rows_out == 10
    assert stats.tasks_done == stats.tasks_total == 1
    text = str(stats)
    assert "filter" in text
    assert "memory at most" in text
    with pytest.raises(KeyError):
        stats.step("nothing")


def test_the_run_record_is_written() -> None:
    result = pt.range(3).write_parquet("out")
    record = json.loads(Path(result.record_path).read_text())
    assert record["plan"] == result.plan_hash
    assert record["status"] == "ok"


def test_sinks_are_declared_not_run() -> None:
    sink = pt.range(3).sink_parquet("out", rows_per_file=1, on_error="skip")
    assert "out" in repr(sink)
    assert not Path("out").exists()
    with pytest.raises(pt.UserError, match="nothing to write"):
        pt.run()
    with pytest.raises(pt.UserError, match="sink_parquet"):
        pt.run(pt.range(3))  # type: ignore[arg-type]
    with pytest.raises(pt.UserError, match="compression"):
        pt.range(3).sink_parquet("out", compression="zip")


def test_partition_by_makes_folders() -> None:
    ds = pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 3]})
    ds.write_parquet("out", partition_by="k")
    assert sorted(path.parent.name for path in Path("out").rglob("*.parquet")) == ["k=a", "k=b"]
    back = pt.read_parquet("out").to_arrow()
    assert sorted(zip(back["k"].to_pylist(), back["v"].to_pylist(), strict=True)) == [("a", 1), ("a", 3), ("b", 2)]


def test_paths_may_be_path_objects() -> None:
    pq.write_table(pa.table({"a": [1]}), "x.parquet")
    assert pt.read_parquet(Path("x.parquet")).count() == 1
    pq.write_table(pa.table({"a": [2]}), "y.parquet")
    assert pt.read_parquet([Path("x.parquet"), "y.parquet"]).count() == 2
    with pytest.raises(pt.UserError):
        pt.read_parquet(3)  # type: ignore[arg-type]


YAML = """
pipeline: photos
parameters: {least: 5, kinds: {type: list, default: [a]}}
options: {threads: 1}
steps:
  - range: 10
  - filter: id >= ${least}
    name: big
  - write_parquet: out/
  - limit: 2
    input: big
  - write_csv: few/
"""


def test_pipeline_files() -> None:
    pipe = pt.from_yaml(io.StringIO(YAML), least=7)
    assert pipe.name == "photos"
    assert pipe["big"].to_arrow().column("id").to_pylist() == [7, 8, 9]
    result = pipe.run()
    assert [dataset.rows for dataset in result.datasets] == [3, 2]
    assert pt.from_yaml(io.StringIO(pipe.to_yaml())).compile() == pipe.compile()
    Path("p.yaml").write_text(YAML)
    assert pt.from_yaml("p.yaml").explain() == pt.from_yaml(Path("p.yaml")).explain()
    assert "big: filter" in repr(pipe)
    with pytest.raises(pt.UserError, match="did you mean 'big'"):
        pipe["bigg"]
    with pytest.raises(pt.UserError, match=r"3:5.*did you mean 'filter'"):
        pt.from_yaml(io.StringIO("steps:\n  - range: 3\n  - filtre: id > 1\n"))
    with pytest.raises(pt.UserError, match=r"nowhere\.yaml"):
        pt.from_yaml("nowhere.yaml")


def test_rows_in_memory_have_no_file() -> None:
    with pytest.raises(pt.UserError, match="in memory"):
        pt.from_items([1]).to_yaml()


def test_yaml_of_a_dataset_reads_back() -> None:
    ds = (
        pt.read_csv("photos/*.csv", column_types={"width": "int32"})
        .filter((pt.col("width") > 3) & pt.col("s").str.contains("it's"), on_error="skip")
        .with_columns(z=pt.lit(1.5), a="width * 2")
        .select("z", b="a")
        .named("end")
    )
    pipe = pt.from_yaml(io.StringIO(ds.to_yaml()))
    assert pipe["end"].to_yaml() == ds.to_yaml()


MEMORY_RUN = """
import pyarrow as pa, partita as pt
rows = pa.table({"a": list(range(1000)), "s": [None if k % 7 == 0 else f"value {k}" for k in range(1000)]})
chunked = pa.Table.from_batches(rows.to_batches(max_chunksize=CHUNK))
twice = [pt.from_arrow(chunked), pt.from_arrow(rows)]
print(twice[0].union(twice[1]).filter("a > 10").write_parquet("out").was_complete)
"""


def test_rows_in_memory_resume_in_another_process() -> None:
    # The rows name themselves, however they are cut: the second process finds its work done.
    done = [
        subprocess.run(
            [sys.executable, "-c", MEMORY_RUN.replace("CHUNK", chunk)], capture_output=True, text=True, check=True
        ).stdout
        for chunk in ("1000", "64")
    ]
    assert done == ["False\n", "True\n"]
