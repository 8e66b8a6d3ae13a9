"""Programs that speak Arrow IPC as functions."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import partita as pt

DOUBLES = """
import os, sys
import pyarrow as pa
import pyarrow.compute as pc

while True:
    try:
        table = pa.ipc.open_stream(sys.stdin.buffer).read_all()
    except pa.ArrowInvalid:
        break
    if 37 in table["id"].to_pylist() and "--fails" in sys.argv:
        sys.exit(4)
    made = pa.table({"id": pc.multiply(table["id"], 2), "pid": [os.getpid()] * len(table)})
    with pa.ipc.new_stream(sys.stdout.buffer, made.schema) as writer:
        writer.write_table(made)
    sys.stdout.flush()
    if "--ends" in sys.argv:
        break
"""
SCHEMA = {"id": "int64", "pid": "int64"}


@pytest.fixture
def doubles(tmp_path: Path) -> list[str]:
    (tmp_path / "doubles.py").write_text(DOUBLES)
    return [sys.executable, str(tmp_path / "doubles.py")]


def test_a_program_gets_batch_after_batch(doubles: list[str]) -> None:
    ds = pt.range(100).map_batches(pt.Program(doubles), batch_size=10, schema=SCHEMA, concurrency=1)
    got = ds.to_arrow()
    assert got["id"].to_pylist() == list(range(0, 200, 2))
    assert len(set(got["pid"].to_pylist())) == 1
    ending = pt.Program([*doubles, "--ends"])
    got = pt.range(40).map_batches(ending, batch_size=10, schema=SCHEMA, concurrency=1).to_arrow()
    assert got["id"].to_pylist() == list(range(0, 80, 2))
    assert len(set(got["pid"].to_pylist())) == 4


def test_its_columns_are_asked_and_groups_are_given(doubles: list[str]) -> None:
    assert pt.range(3).map_batches(pt.Program(doubles)).schema().names == ["id", "pid"]
    sorts = pt.Program(["cat"], once=True)
    ds = pt.range(30).with_columns(k="id % 3").map_groups("k", sorts, schema={"id": "int64", "k": "int64"})
    assert sorted(ds.to_arrow()["id"].to_pylist()) == list(range(30))
    here = pt.range(5).map_batches(sorts, schema={"id": "int64"}, compute=pt.Inline()).to_arrow()
    assert here["id"].to_pylist() == [0, 1, 2, 3, 4]


def test_more_than_a_pipe_holds_passes() -> None:
    table = {"blob": np.random.default_rng(1).bytes(3 << 20)}
    ds = pt.from_pydict({"blob": [table["blob"]] * 4}).map_batches(
        pt.Program(["cat"], once=True), schema={"blob": "binary"}
    )
    assert [len(row["blob"]) for row in ds.take(9)] == [3 << 20] * 4


def test_a_program_that_fails_is_told_and_its_rows_found(doubles: list[str]) -> None:
    fails = pt.Program([*doubles, "--fails"])
    with pytest.raises(pt.UserError, match="exit code 4"):
        pt.range(60).map_batches(fails, batch_size=10, schema=SCHEMA).to_arrow()
    ds = pt.range(60).map_batches(fails, batch_size=4, schema=SCHEMA, on_error="skip")
    assert ds.to_arrow()["id"].to_pylist() == [2 * i for i in range(60) if i != 37]
    for wrong in (["no such program"], ["echo", "hi"]):
        with pytest.raises(pt.UserError, match=r"cannot be started|no Arrow stream|before it had"):
            pt.range(3).map_batches(pt.Program(wrong), schema=SCHEMA).to_arrow()


def test_in_a_pipeline_file(doubles: list[str]) -> None:
    text = f"""
        steps:
          - range: 4
          - map_batches:
              fn: "partita_worker.program:Program"
              fn_constructor_args: [["{doubles[0]}", "{doubles[1]}"]]
              batch_format: arrow
              schema: "id: int64, pid: int64"
          - write_parquet: out
    """
    Path("program.yaml").write_text(textwrap.dedent(text))
    pt.from_yaml("program.yaml").run()
    assert sorted(pt.read_parquet("out").to_arrow()["id"].to_pylist()) == [0, 2, 4, 6]
    assert os.path.exists("out")
