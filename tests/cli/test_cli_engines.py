"""`partita run --engine …`: the same words, output and exit codes as without."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from binary import Workspace

FIVE = """
steps:
  - range: {n: 5, rows_per_partition: 2}
  - with_columns: {double: id * 2}
  - sort: {by: double, descending: true}
  - write_jsonl: {path: out/}
"""
BAD = FIVE.replace("{double: id * 2}", "{double: \"cast(concat('x', cast(id as string)) as int64)\"}")
PROCESSES = {"engine": "processes:2", "env": {**os.environ, "PARTITA_PYTHON": sys.executable}}


def shape(value: object) -> object:
    """The names in a result, without what differs from run to run."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items() if name not in ("wait_ms", "details")}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def test_the_result_has_the_shape_of_a_local_one(workspace: Workspace):
    workspace.write("p.yaml", FIVE)
    local = json.loads(workspace.run_ok("p.yaml", json=True, quiet=True).stdout)
    expected = workspace.digests("out")
    other = json.loads(workspace.run_ok("p.yaml", json=True, quiet=True, fresh=True, **PROCESSES).stdout)
    assert workspace.digests("out") == expected
    assert other["datasets"] == local["datasets"]
    assert shape(other) == shape(local)
    again = json.loads(workspace.run_ok("p.yaml", json=True, quiet=True, **PROCESSES).stdout)
    assert again["was_complete"]


def test_words_of_a_summary(workspace: Workspace):
    workspace.write("p.yaml", FIVE)
    local = workspace.run_ok("p.yaml").stdout
    other = workspace.run_ok("p.yaml", fresh=True, **PROCESSES).stdout
    assert other.splitlines()[0] == local.splitlines()[0] == "write_jsonl: 5 rows in 1 file, 100 B -> out/"


def test_a_failure_tells_the_same(workspace: Workspace):
    workspace.write("p.yaml", BAD)
    local = workspace.run("p.yaml", json=True, quiet=True, threads=1)
    other = workspace.run("p.yaml", json=True, quiet=True, fresh=True, **PROCESSES)
    assert other.exit_code == local.exit_code == 3
    error, expected = json.loads(other.stdout)["error"], json.loads(local.stdout)["error"]
    assert error.keys() == expected.keys()
    assert (error["kind"], error["step"], error["exit_code"]) == ("data", "with_columns", 3)


@pytest.mark.parametrize(
    ("python", "message"),
    [("/nowhere/python", "does not start: No such file"), ("without", "has no package partita")],
)
def test_a_python_that_cannot_drive(workspace: Workspace, tmp_path: Path, python: str, message: str):
    workspace.write("p.yaml", FIVE)
    if python == "without":
        wrapper = workspace.write("python", f'#!/bin/sh\nexec {sys.base_prefix}/bin/python3 -I "$@"\n')
        wrapper.chmod(0o755)
        python = str(wrapper)
    finished = workspace.run("p.yaml", engine="ray", env={"PARTITA_PYTHON": python, "TMPDIR": str(tmp_path)})
    assert finished.exit_code == 5
    assert finished.stderr.startswith("environment error: ")
    assert message in finished.stderr
    assert not list(tmp_path.glob("partita-run-*"))
    assert not (workspace.path / "out").exists()
