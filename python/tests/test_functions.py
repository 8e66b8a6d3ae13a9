"""Python functions as steps, in real worker processes."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import partita as pt

IDS = {"id": "int64"}


def children() -> set[int]:
    """Processes that this one started, at any depth, but for base processes, which outlive a run for some seconds."""
    parents: dict[int, int] = {}
    bases: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parents[int(entry.name)] == os.getpid() and b"partita/worker" in (entry / "cmdline").read_bytes():
                    bases.add(int(entry.name))
            except OSError:
                continue
    found: set[int] = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return found - {os.getpid()} - bases


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before, shared = children(), set(os.listdir("/dev/shm"))
    yield
    deadline = time.monotonic() + 5
    while (left := children() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left, "processes are left"
    deadline += 15
    names = set(os.listdir("/dev/shm")) - shared
    while names and time.monotonic() < deadline:  # those of tests in other processes go
        time.sleep(0.02)
        names &= set(os.listdir("/dev/shm"))
    assert not names, "shared memory is left"


def ids(ds: pt.Dataset, **options: Any) -> list[int]:
    found: list[int] = ds.to_arrow(**options)["id"].to_pylist()
    return found


# -- What a function gets and gives ----


def test_batches_are_cut_by_place_whatever_the_blocks() -> None:
    def sizes(batch: dict[str, Any]) -> dict[str, Any]:
        rows = len(batch["id"])
        return {"first": batch["id"][:1], "rows": [rows]}

    schema = {"first": "int64", "rows": "int64"}
    table = pa.table({"id": range(1000)})
    for block in (1, 7, 400, 1000):
        given = pa.Table.from_batches(table.to_batches(max_chunksize=block))
        got = pt.from_arrow(given).map_batches(sizes, batch_size=64, schema=schema).to_arrow()
        assert got["first"].to_pylist() == list(range(0, 1000, 64))
        assert got["rows"].to_pylist() == [64] * 15 + [40]
    got = pt.from_arrow(table, rows_per_partition=300).filter("id % 2 = 0")
    whole = got.map_batches(sizes, batch_size="partition", schema=schema).to_arrow()
    assert whole["rows"].to_pylist() == [150, 150, 150, 50]


def test_tensors_are_two_dimensional_both_ways_and_may_be_written_to() -> None:
    def normalise(batch: dict[str, Any]) -> dict[str, Any]:
        x = batch["x"]
        assert x.shape[1:] == (4,)
        x -= x.mean(axis=1, keepdims=True)
        return {"x": x, "cube": np.ones((len(x), 2, 3), np.int16)}

    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 4)})
    got = pt.from_arrow(table).map_batches(normalise, batch_size=3).to_arrow()
    assert got.schema.field("x").type == pa.list_(pa.float32(), 4)
    assert got.schema.field("cube").type == pa.list_(pa.list_(pa.int16(), 3), 2)
    assert got["x"].to_pylist() == [[-1.5, -0.5, 0.5, 1.5]] * 10


@pytest.mark.parametrize("batch_format", ["arrow", "pandas", "polars"])
def test_formats(batch_format: str) -> None:
    def add(batch: Any) -> Any:
        kind = type(batch).__module__.partition(".")[0]
        assert kind == {"arrow": "pyarrow"}.get(batch_format, batch_format)
        if batch_format == "arrow":
            return batch.append_column("y", pa.array([1.5] * batch.num_rows))
        if batch_format == "pandas":
            return batch.assign(y=1.5)
        import polars

        return batch.with_columns(y=polars.lit(1.5))

    got = pt.range(5).map_batches(add, batch_size=2, batch_format=batch_format).to_arrow()
    assert got.to_pydict() == {"id": [0, 1, 2, 3, 4], "y": [1.5] * 5}


def test_jax_arrays_both_ways() -> None:
    pytest.importorskip("jax")

    def add(batch: dict[str, Any]) -> dict[str, Any]:
        import jax

        assert isinstance(batch["x"], jax.Array)
        assert batch["id"].dtype == "int64"
        return {"id": batch["id"], "x": jax.numpy.sin(batch["x"]), "text": batch["text"]}

    x = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(20, dtype=np.float32)), 4)
    table = pa.table({"id": range(5), "x": x, "text": list("abcde")})
    got = pt.from_arrow(table).map_batches(add, batch_size=2, batch_format="jax").to_arrow()
    assert got.schema == table.schema
    assert got["text"].to_pylist() == list("abcde")
    flat = got["x"].combine_chunks().flatten().to_numpy()
    np.testing.assert_allclose(flat, np.sin(np.arange(20, dtype=np.float32)), rtol=1e-5)


def generates(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for value in batch["id"]:
        yield {"id": [value, value]}


async def waits(batch: dict[str, Any]) -> dict[str, Any]:
    import asyncio

    await asyncio.sleep(0.001)
    return batch


async def generates_later(batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield batch
    yield batch


class Adds:
    made = 0

    def __init__(self, number: int, *, times: int = 1) -> None:
        Adds.made += 1
        self.number = number * times

    def __call__(self, batch: dict[str, Any], more: int = 0) -> dict[str, Any]:
        assert Adds.made == 1, "made once in a worker"
        return {"id": batch["id"] + self.number + more}


def test_kinds_of_functions() -> None:
    ds = pt.range(4)
    assert ids(ds.map_batches(generates, schema=IDS)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert ids(ds.map_batches(waits, schema=IDS)) == [0, 1, 2, 3]
    assert ids(ds.map_batches(generates_later, schema=IDS)) == [0, 1, 2, 3] * 2
    offset = 7
    assert ids(ds.map_batches(lambda batch: {"id": batch["id"] + offset}, schema=IDS)) == [7, 8, 9, 10]
    made = ds.map_batches(
        Adds,
        batch_size=1,
        schema=IDS,
        fn_kwargs={"more": 1},
        fn_constructor_args=(3,),
        fn_constructor_kwargs={"times": 10},
        compute=pt.Actors(1, 2),
    )
    assert ids(made) == [31, 32, 33, 34]


def test_functions_of_rows() -> None:
    async def later(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"] * 3}

    ds = pt.range(6)
    assert ds.map(lambda row: {"id": row["id"], "text": "x" * row["id"]}).take(3)[2] == {"id": 2, "text": "xx"}
    assert ids(ds.map(later, schema=IDS)) == [0, 3, 6, 9, 12, 15]
    assert ids(ds.flat_map(lambda row: [row] * (row["id"] % 3), schema=IDS)) == [1, 2, 2, 4, 5, 5]
    assert ids(ds.filter(lambda row: row["id"] % 2)) == [1, 3, 5]
    assert ids(ds.filter_rows(lambda row: False)) == []


def test_rows_of_several_functions_in_a_row_stay_in_order() -> None:
    ds = pt.range(5000, rows_per_partition=1500).flat_map(lambda row: [row, row], schema=IDS, batch_size=100)
    ds = ds.filter("id % 3 = 0").map_batches(lambda b: {"id": b["id"] + 1}, schema=IDS, batch_size=77)
    expected = [i + 1 for i in range(5000) for _ in range(2) if i % 3 == 0]
    assert ids(ds) == expected
    assert sorted(ids(ds.random_shuffle(seed=3))) == expected
    assert len(ids(ds.limit(50))) == 50


def test_a_function_that_keeps_its_input_keeps_it() -> None:
    class Last:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            self.seen.append((int(batch["id"][0]), batch["id"]))
            for first, array in self.seen:
                assert array[0] == first, "memory that is still in use was used again"
            return {"id": batch["id"]}

    assert ids(pt.range(200).map_batches(Last, batch_size=10, concurrency=1, schema=IDS)) == list(range(200))


# -- The plan ----


def test_columns_are_asked_of_the_function_once_and_frozen() -> None:
    ds = pt.range(100).map_batches(lambda batch: {"half": batch["id"] / 2, "name": ["x"] * len(batch["id"])})
    assert ds.schema() == pa.schema({"half": pa.float64(), "name": pa.string()})
    with pytest.raises(pt.UserError, match=r"does not show the type of column 'nothing'.*\n.*schema"):
        pt.range(3).map_batches(lambda batch: {"nothing": [None] * len(batch["id"])}).schema()
    with pytest.raises(pt.UserError, match="ZeroDivisionError"):
        pt.range(3).map_batches(lambda batch: 1 / 0).schema()


def test_what_a_function_returns_must_be_the_columns_of_the_plan() -> None:
    ds = pt.range(3)
    for wrong, message in (
        ({"idd": [1]}, "no column 'id'"),
        ({"id": [1], "more": [1]}, "a column 'more' that it must not"),
        ({"id": ["text"]}, "column 'id' of type int64"),
        ({"id": np.array([0.5])}, "column 'id' of type int64"),
        (7, "returned int"),
    ):
        with pytest.raises(pt.UserError, match=message):
            ds.map_batches(lambda batch, wrong=wrong: wrong, schema=IDS).to_arrow()


def test_a_written_plan_holds_its_functions(tmp_path: Path) -> None:
    ds = pt.range(10).map_batches(lambda batch: {"id": batch["id"] * 2}, schema=IDS)
    pipeline = pt.Pipeline(ds.sink_parquet("out"))
    (tmp_path / "plan.json").write_text(pipeline.compile())
    code = """
        from partita._native import native, session
        plan = native.CompiledPlan.from_text(open("plan.json").read())
        print(session.run(plan, [], native.Observer(), None))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=tmp_path)
    assert pq.read_table("out").column("id").to_pylist() == list(range(0, 20, 2))


def test_a_plan_says_which_packages_its_functions_need(tmp_path: Path) -> None:
    (tmp_path / "needed.py").write_text("__version__ = '4.2'\ndef add(x):\n    return x + 1\n")
    code = """
        import sys
        sys.path.insert(0, "elsewhere")
        import needed, partita as pt
        ds = pt.range(3).map_batches(lambda batch: {"id": needed.add(batch["id"])}, schema={"id": "int64"})
        open("plan.json", "w").write(pt.Pipeline(ds.sink_parquet("out")).compile())
    """
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "needed.py").rename(tmp_path / "elsewhere" / "needed.py")
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=tmp_path)
    run = "from partita._native import native, session; "
    run += "session.run(native.CompiledPlan.from_text(open('plan.json').read()), [], native.Observer(), None)"
    done = subprocess.run([sys.executable, "-c", run], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'needed'; it was made with" in done.stderr
    assert "needed=4.2" in done.stderr


def test_datasets_with_functions_are_pickled() -> None:
    ds = pt.range(3).map_batches(lambda batch: {"id": batch["id"] + 1}, schema=IDS)
    assert ids(pickle.loads(pickle.dumps(ds))) == [1, 2, 3]


def test_named_functions_and_pipeline_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_steps.py").write_text(
        "def add(batch, n, *, times=1):\n    return {'id': batch['id'] + n * times}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    ds = pt.range(3).map_batches("my_steps:add", fn_args=[2], fn_kwargs={"times": 5}, schema=IDS)
    assert ids(ds) == [10, 11, 12]
    text = ds.to_yaml()
    assert "my_steps:add" in text
    with pytest.raises(pt.UserError, match=r"package\.module:function"):
        pt.range(3).map_batches(lambda batch: batch, schema=IDS).to_yaml()


# -- What goes wrong ----


def fails_at(*bad: int) -> Any:
    def fails(batch: dict[str, Any]) -> dict[str, Any]:
        for value in batch["id"]:
            if value in bad:
                raise ValueError(f"{value} is bad")
        return {"id": batch["id"], "rows": [len(batch["id"])] * len(batch["id"])}

    return fails


ROWS = {"id": "int64", "rows": "int64"}


def test_an_exception_shows_the_users_frames_and_the_rows() -> None:
    with pytest.raises(pt.UserError) as caught:
        pt.range(100).map_batches(fails_at(37), batch_size=10, schema=ROWS, name="mine").to_arrow()
    text = str(caught.value)
    assert caught.value.step == "mine"
    assert caught.value.partition == 0
    assert "ValueError: 37 is bad" in text
    assert "rows 30 to 39" in text
    assert "test_functions.py" in text
    assert "partita/worker" not in text
    with pytest.raises(pt.UserError) as caught:
        pt.range(100).map(lambda row: {"id": 1 // (row["id"] - 37)}, schema=IDS).to_arrow()
    assert caught.value.row == 37


def test_bad_rows_are_left_out_and_the_batch_runs_again_without_them() -> None:
    ds = pt.range(30).map_batches(fails_at(3, 4, 17), batch_size=10, schema=ROWS, on_error="skip")
    got = ds.to_arrow()
    assert got["id"].to_pylist() == [i for i in range(30) if i not in (3, 4, 17)]
    assert got["rows"].to_pylist() == [8] * 8 + [9] * 9 + [10] * 10
    assert ds.stats().step("map_batches").rows_skipped == 3


def test_bad_rows_go_to_quarantine_in_order(tmp_path: Path) -> None:
    table = pa.table({"id": range(30), "text": [f"t{i}" for i in range(30)]})
    ds = pt.from_arrow(table).map_batches(fails_at(3, 17), batch_size=10, schema=ROWS, on_error="quarantine")
    result = ds.write_parquet("out")
    assert result.rows == 28
    assert result.quarantine is not None
    bad = pq.read_table(Path(result.quarantine.path) / result.quarantine.files[0].path)
    assert bad["id"].to_pylist() == [3, 17]
    assert bad["text"].to_pylist() == ["t3", "t17"]
    assert bad["__message"][0].as_py().startswith("ValueError: 3 is bad (test_functions.py:")


def dies_at(*bad: int, by: int = signal.SIGSEGV) -> Any:
    def dies(batch: dict[str, Any]) -> dict[str, Any]:
        if set(bad) & set(batch["id"].tolist()):
            os.kill(os.getpid(), by)
            time.sleep(60)
        return {"id": batch["id"]}

    return dies


def test_a_row_that_always_ends_its_worker_is_found() -> None:
    with pytest.raises(pt.UserError, match="SIGSEGV") as caught:
        ids(pt.range(40).map_batches(dies_at(21), batch_size=10, schema=IDS))
    assert caught.value.row == 21
    got = ids(pt.range(40).map_batches(dies_at(21, 22), batch_size=10, schema=IDS, on_error="skip"))
    assert got == [i for i in range(40) if i not in (21, 22)]


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_row_for_which_memory_is_lacking_is_found_and_never_left_out(on_error: str) -> None:
    def greedy(batch: dict[str, Any]) -> dict[str, Any]:
        if 21 in batch["id"]:
            np.ones(300 << 20, np.uint8)
        return {"id": batch["id"]}

    killed = pt.range(40).map_batches(dies_at(21, by=signal.SIGKILL), batch_size=10, schema=IDS, on_error=on_error)
    fenced = pt.range(40).map_batches(greedy, batch_size=10, schema=IDS, memory="64MiB", on_error=on_error)
    for ds, told in ((killed, "SIGKILL"), (fenced, "MemoryError")):
        with pytest.raises(pt.ResourceError, match=told) as caught:
            ids(ds)
        assert caught.value.row == 21


def test_a_worker_that_ends_once_costs_one_batch(tmp_path: Path) -> None:
    marker = str(tmp_path / "died")

    def dies_once(batch: dict[str, Any]) -> dict[str, Any]:
        if 25 in batch["id"] and not os.path.exists(marker):
            open(marker, "w").close()
            os._exit(9)
        return {"id": batch["id"]}

    assert ids(pt.range(100).map_batches(dies_once, batch_size=10, schema=IDS)) == list(range(100))


def test_a_batch_that_takes_too_long_is_ended_and_named() -> None:
    def stuck(batch: dict[str, Any]) -> dict[str, Any]:
        if 5 in batch["id"]:
            time.sleep(1000)
        return batch

    with pytest.raises(pt.UserError, match="timeout") as caught:
        ids(pt.range(8).map_batches(stuck, batch_size=2, timeout=0.3, retries=0, schema=IDS))
    assert caught.value.row == 5
    assert "in stuck" in str(caught.value), "its Python stack"


def test_memory_is_fenced() -> None:
    def greedy(batch: dict[str, Any]) -> dict[str, Any]:
        return {"id": np.ones(200 << 20, np.uint8)[: len(batch["id"])].astype(np.int64)}

    ds = pt.range(4).map_batches(greedy, memory="64MiB", schema=IDS, concurrency=1)
    with pytest.raises(pt.ResourceError, match="memory"):
        ds.to_arrow()


def test_a_constructor_that_fails_fails_the_run() -> None:
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("no model here")

        def __call__(self, batch: Any) -> Any:
            return batch

    with pytest.raises(pt.UserError, match="no model here"):
        ids(pt.range(4).map_batches(Broken, schema=IDS))


def test_wrong_arguments_are_told_when_the_step_is_made() -> None:
    ds, lock = pt.range(3), threading.Lock()
    for wrong, message in (
        (lambda: ds.map_batches(3), "a function is needed"),  # type: ignore[arg-type]
        (lambda: ds.map_batches(str.upper, fn_constructor_args=[1]), "no class"),
        (lambda: ds.map_batches(lambda b: b, compute=pt.Tasks(1), concurrency=2), "give one of them"),
        (lambda: ds.map_batches(lambda b: b, batch_format="jaxx"), "batch_format"),
        (lambda: ds.map_batches(lambda b: b, batch_size=0, schema=IDS).schema(), "batch_size"),
        (lambda: ds.map_batches("no_colon", schema=IDS).schema(), "package.module:function"),
        (lambda: ds.map_batches(lambda b: (b, lock)), "cannot be sent"),
    ):
        with pytest.raises(pt.UserError, match=message):
            wrong()


def test_a_large_closure_is_warned_of() -> None:
    large = np.zeros(9 << 20, np.uint8)
    with pytest.warns(UserWarning, match="carries 9 MiB"):
        pt.range(3).map_batches(lambda batch: {"id": batch["id"] + large[0]}, schema=IDS)


def test_what_functions_print_is_told_with_the_step(capfd: pytest.CaptureFixture[str]) -> None:
    def prints(batch: dict[str, Any]) -> dict[str, Any]:
        print("hello from", batch["id"][0])
        return batch

    ids(pt.range(400).map_batches(prints, batch_size=2, schema=IDS, name="talker"))
    told = sorted(line for line in capfd.readouterr().err.splitlines() if line.startswith("[talker]"))
    assert told == sorted(f"[talker] hello from {i}" for i in range(0, 400, 2)), "whole lines, whoever wrote them"


def test_what_functions_log_is_told_from_the_level_of_the_program_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def logs(batch: dict[str, Any]) -> dict[str, Any]:
        logging.getLogger("of.mine").info("rows from %d", batch["id"][0])
        logging.getLogger("of.mine").debug("too much")
        return batch

    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    ids(pt.range(4).map_batches(logs, batch_size=2, schema=IDS, name="talker"))
    told = sorted(line for line in capfd.readouterr().err.splitlines() if line.startswith("[talker]"))
    assert told == [f"[talker] INFO of.mine: rows from {i}" for i in (0, 2)]


def test_results_larger_than_the_budget_pass_through_it() -> None:
    def grow(batch: dict[str, Any]) -> dict[str, Any]:
        return {"blob": np.zeros((len(batch["id"]), 1 << 18), np.uint8)}

    ds = pt.range(2000).map_batches(grow, batch_size=16, schema={"blob": "fixed_size_list<uint8>[262144]"})
    total = sum(batch.num_rows for batch in ds.iter_batches(memory="192MiB"))  # 500 MiB in all
    assert total == 2000


def test_leaving_early_ends_the_workers() -> None:
    ds = pt.range(1_000_000).map_batches(lambda batch: batch, batch_size=100, schema=IDS)
    assert [row["id"] for row in ds.take(3)] == [0, 1, 2]
    for _ in ds.iter_batches(batch_size=10):
        break


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_driver(tmp_path: Path, end: signal.Signals) -> None:
    code = """
        import os, time, partita as pt
        def slow(batch):
            open(f"pid-{os.getpid()}", "w").close()
            time.sleep(600)
            return batch
        pt.range(100).map_batches(slow, batch_size=10, schema={"id": "int64"}).to_arrow()
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(pids := [int(path.name[4:]) for path in tmp_path.glob("pid-*")]) < 2:
        assert time.monotonic() < deadline, "the workers did not start"
        assert driver.poll() is None
        time.sleep(0.02)
    driver.send_signal(end)
    driver.wait(timeout=20)
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline + 10, f"workers {alive} are still there"
        time.sleep(0.02)


@pytest.mark.parametrize("compute", [pt.Tasks(1), pt.Threads(1)])
def test_stats_tell_where_the_time_of_workers_goes(compute: Any) -> None:
    def slow(batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.02)
        return batch

    ds = pt.range(40).map_batches(slow, batch_size=4, schema={"id": "int64"}, compute=compute, name="slow")
    ds = ds.map_batches(lambda batch: batch, batch_size=4, schema=IDS, compute=pt.Threads(1), name="quick")
    assert ds.to_arrow()["id"].to_pylist() == list(range(40))
    assert ds.stats().step("slow").details["function_ms"] >= 200, "ten batches slept"
    quick = ds.stats().step("quick").details
    assert quick["waiting_ms"] > quick.get("function_ms", 0), "for the other's rows"
    assert "slow: function " in str(ds.stats())


def test_a_batch_that_hangs_is_told_with_its_stack(tmp_path: Path) -> None:
    script = """
        import sys, time, partita as pt
        def hangs_here(batch):
            if 5 in batch["id"]:
                while True:
                    time.sleep(0.1)
            return batch
        compute = {"threads": pt.Threads(2), "processes": pt.Tasks(2)}[sys.argv[1]]
        pt.range(8).map_batches(hangs_here, batch_size=2, schema={"id": "int64"}, compute=compute).to_arrow()
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    started = [
        subprocess.Popen([sys.executable, "script.py", where], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for where in ("threads", "processes")
    ]
    try:
        for process in started:
            assert process.stderr is not None
            assert "step 'map_batches', partition 0: the function is at rows 4 to 5" in process.stderr.readline()
            innermost = process.stderr.readline()
            assert "script.py" in innermost
            assert "in hangs_here" in innermost
    finally:
        for process in started:
            process.kill()
            process.communicate()
