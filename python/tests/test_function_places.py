"""Where functions run: in threads of this process, or in one for debuggers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import partita as pt

IDS = {"id": "int64"}
HERE = [pt.Inline(), pt.Threads(3)]


@pytest.mark.parametrize("compute", HERE)
def test_rows_are_those_of_processes(compute: Any) -> None:
    def work(batch: dict[str, Any]) -> dict[str, Any]:
        batch["x"] -= batch["x"].mean(axis=0)  # its own memory, though others read the same rows
        return {"id": batch["id"], "x": batch["x"], "rows": np.full(len(batch["id"]), len(batch["id"]))}

    x = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(4000.0)), 4)
    ds = pt.from_arrow(pa.table({"id": range(1000), "x": x}), rows_per_partition=300)
    there = ds.map_batches(work, batch_size=64).to_arrow()
    assert ds.map_batches(work, batch_size=64, compute=compute).to_arrow().equals(there)
    assert ds.to_arrow()["x"].combine_chunks().equals(x), "the input is as it was"
    rows = ds.select("id").flat_map(lambda row: [row] * (row["id"] % 3), schema=IDS, compute=compute).to_arrow()
    assert rows["id"].to_pylist() == [i for i in range(1000) for _ in range(i % 3)]


@pytest.mark.parametrize("compute", HERE)
def test_bad_rows_are_found_as_in_processes(compute: Any) -> None:
    def fails(batch: dict[str, Any]) -> dict[str, Any]:
        if 37 in batch["id"]:
            raise ValueError("37 is bad")
        return {"id": batch["id"]}

    ds = pt.range(100)
    got = ds.map_batches(fails, batch_size=10, schema=IDS, on_error="skip", compute=compute).to_arrow()
    assert got["id"].to_pylist() == [i for i in range(100) if i != 37]
    with pytest.raises(pt.UserError, match="37 is bad") as caught:
        ds.map_batches(fails, batch_size=10, schema=IDS, compute=compute).to_arrow()
    assert "test_function_places.py" in str(caught.value)
    with pytest.raises(pt.UserError, match="SystemExit"):
        ds.map_batches(lambda batch: sys.exit(3), schema=IDS, compute=compute).to_arrow()


def test_inline_runs_here_one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(threading.current_thread().name))

    def stopped(batch: dict[str, Any]) -> dict[str, Any]:
        breakpoint()
        return {"id": batch["id"], "pid": [os.getpid()] * len(batch["id"])}

    got = pt.range(30).map_batches(stopped, batch_size=10, compute=pt.Inline(), name="mine").to_arrow()
    assert set(got["pid"].to_pylist()) == {os.getpid()}
    assert stops[-3:] == ["mine-0"] * 3


def test_pdb_stops_in_the_function(tmp_path: Path) -> None:
    script = """
        import partita as pt
        def halves(batch):
            x = batch["id"] / 2
            breakpoint()
            return {"x": x}
        print(pt.range(3).map_batches(halves, schema={"x": "double"}, compute=pt.Inline()).to_arrow()["x"].to_pylist())
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, input="p x.sum()\nc\n", capture_output=True, text=True, check=True
    )
    assert "1.5" in done.stdout
    assert "[0.0, 0.5, 1.0]" in done.stdout


def test_threads_run_at_once_and_make_a_class_each() -> None:
    both = threading.Barrier(2, timeout=30)
    sys.modules["_barrier_of_test"] = both  # type: ignore[assignment]  # not pickled with the function

    class Meets:
        def __init__(self) -> None:
            self.thread = threading.get_ident()

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            assert self.thread == threading.get_ident()
            sys.modules["_barrier_of_test"].wait()  # type: ignore[attr-defined]
            return {"id": batch["id"]}

    ds = pt.range(40).map_batches(Meets, batch_size=10, schema=IDS, compute=pt.Threads(2))
    assert ds.to_arrow(threads=2)["id"].to_pylist() == list(range(40))


@pytest.mark.parametrize("compute", HERE)
def test_results_larger_than_the_budget_pass_through_it(compute: Any) -> None:
    def grow(batch: dict[str, Any]) -> dict[str, Any]:
        return {"blob": np.zeros((len(batch["id"]), 1 << 18), np.uint8)}

    schema = {"blob": "fixed_size_list<uint8>[262144]"}
    ds = pt.range(1000).map_batches(grow, batch_size=16, schema=schema, compute=compute)
    assert sum(batch.num_rows for batch in ds.iter_batches(memory="192MiB")) == 1000  # 250 MiB in all


def test_what_needs_a_process_is_told() -> None:
    for wrong in ({"timeout": 3}, {"memory": "64MiB"}):
        with pytest.raises(pt.UserError, match="needs a process"):
            pt.range(3).map_batches(len, schema=IDS, compute=pt.Inline(), **wrong).schema()  # type: ignore[arg-type]


def test_leaving_early_and_interrupting_end_the_threads(tmp_path: Path) -> None:
    ds = pt.range(1_000_000).map_batches(lambda batch: batch, batch_size=100, schema=IDS, compute=pt.Threads(2))
    assert [row["id"] for row in ds.take(3)] == [0, 1, 2]
    deadline = time.monotonic() + 10
    while [t for t in threading.enumerate() if t.name.startswith("map_batches-")]:
        assert time.monotonic() < deadline, "its threads are still there"
        time.sleep(0.01)
    script = """
        import time, partita as pt
        def slow(batch):
            print("begun", flush=True)
            time.sleep(600)
        try:
            pt.range(9).map_batches(slow, schema={"id": "int64"}, compute=pt.Inline()).to_arrow()
        except KeyboardInterrupt:
            print("interrupted")
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "interrupted\n"
    assert process.returncode == 0
