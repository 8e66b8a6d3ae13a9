"""Law 1: texts pass as codes of the dictionaries that input files have; the bytes are those that values give."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_join import PROBED

ROWS = 6000
# How the input's files hold the same rows.
INPUTS = {
    "values": {"use_dictionary": False},
    "codes": {"use_dictionary": True},
    "some": {"use_dictionary": ["t", "name"]},
    # Dictionaries that end within a row group, and others in each row group.
    "short": {"dictionary_pagesize_limit": 900, "data_page_size": 512},
    "groups": {"row_group_size": 430},
}


def texts(seed: int, rows: int, distinct: int) -> pa.Array:
    r = np.random.default_rng(seed)
    words = [None, "", "ein Wörtchen", *(f"word {i}" for i in range(distinct))]
    return pa.array([words[i] for i in r.integers(0, len(words), rows)], pa.string())


def tables() -> tuple[pa.Table, pa.Table]:
    r = np.random.default_rng(7)
    left = pa.table(
        {
            "k": pa.array([None if v == 0 else int(v) for v in r.integers(0, 60, ROWS)], pa.int64()),
            "t": texts(1, ROWS, 40),
            "name": texts(2, ROWS, 900),
            "own": pa.array([f"row {i}" for i in range(ROWS)], pa.string()),
            "bytes": texts(3, ROWS, 5).cast(pa.binary()),
            "v": r.random(ROWS),
        }
    )
    right = pa.table({"k": list(range(5, 80)), "t": texts(4, 75, 9), "note": [f"note {i}" for i in range(75)]})
    return left, right


PIPELINES = {
    "copy": "",
    "sort": "  - sort: {by: [v]}\n",
    "shuffle": "  - random_shuffle: {seed: 3}\n",
    "repartition": "  - repartition: {n: 3, by: [k]}\n",
    **{how: f"  - join: {{on: k, how: {how}, strategy: broadcast}}\n    input: [l, r]\n" for how in PROBED},
    "hash": "  - join: {on: k, strategy: hash, partitions: 2}\n    input: [l, r]\n",
}


@pytest.mark.parametrize("name", PIPELINES)
def test_bytes_do_not_depend_on_how_files_hold_texts(workspace, name):
    left, right = tables()
    step = PIPELINES[name]
    joins = "join" in step
    source = "  - read_parquet: {path: right}\n    name: r\n" if joins else ""
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: left, rows_per_partition: 2500}\n    name: l\n"
        + source
        + step
        + "  - write_parquet: {path: out, row_group_size: 1700, data_page_bytes: 2000}\n",
    )
    seen = {}
    for kind, options in INPUTS.items():
        workspace.write_table("left/0.parquet", left, **{"row_group_size": 2000, **options})
        workspace.write_table("right/0.parquet", right, **{"row_group_size": 20, **options})
        for threads, memory in ((1, "64MiB"), (3, "1GiB")):
            workspace.run_ok("p.yaml", threads=threads, memory=memory, fresh=True)
            files = sorted(workspace.dataset("out").files())
            seen[kind, threads] = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert len(set(map(tuple, seen.values()))) == 1, seen
    found = pa.concat_tables(pq.read_table(file) for file in sorted(workspace.dataset("out").files()))
    if name == "copy":
        assert found.equals(left)
    if not joins:
        assert sorted(map(str, found.to_pylist())) == sorted(map(str, left.to_pylist()))
        return
    assert found.column_names[:6] == left.column_names
    own = {row["own"]: row for row in left.to_pylist()}
    notes = {row["k"]: row for row in right.to_pylist()}
    for row in found.to_pylist():
        assert {column: row[column] for column in left.column_names} == own[row["own"]]
        if name in ("inner", "left", "hash"):
            match = notes.get(row["k"], {"t": None, "note": None})
            assert (row["t_right"], row["note"]) == (match["t"], match["note"])
