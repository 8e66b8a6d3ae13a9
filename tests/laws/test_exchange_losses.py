"""Exchanges that spill, killed in each of their phases, on a full disk, and read back damaged: law 4 holds for sort, group_by and joins alike."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from binary import MIB, is_killed
from test_hostile import small_disk  # noqa: F401

PARTS = 300  # more than are merged at once, so that some are merged to scratch files first
STEPS = {
    "sort": "  - sort: {by: k, partitions: 6}\n    input: left\n",
    "group_by": "  - group_by: {by: k, aggregates: {n: count(), s: sum(v), texts: list(text)}}\n    input: left\n",
    "join": "  - join: {on: k, how: full, strategy: hash, partitions: 6}\n    input: [left, right]\n",
    "join_asof": "  - join_asof: {on: v, by: k, strategy: hash, partitions: 6}\n    input: [left, right]\n",
    "map_groups": "  - map_groups: {by: k, steps: [{sort: v}, with_row_index]}\n    input: left\n",
}

# What else moves rows, for the tests that take a second.
MORE_STEPS = STEPS | {
    "random_shuffle": "  - random_shuffle: {seed: 5, partitions: 6}\n    input: left\n",
    "distinct": "  - distinct: {by: k}\n    input: left\n",
    "repartition": "  - repartition: {n: 6}\n    input: left\n",
    "repartition_by": "  - repartition: {n: 6, by: k}\n    input: left\n",
}


def table(seed: int, rows: int) -> pa.Table:
    r = np.random.default_rng(seed)
    return pa.table(
        {
            "k": pa.array(r.integers(0, rows // 2 + 1, rows), pa.int64()),
            "v": pa.array(r.random(rows)),
            "text": pa.array([f"{n:020d}" * 3 for n in r.integers(0, 2**62, rows)]),
        }
    )


def write_pipeline(workspace, step: str, out: str, rows: int) -> None:
    for seed, name in enumerate(("left", "right")):
        workspace.write_table(f"{name}/0.parquet", table(seed, rows), row_group_size=rows // 8)
    lines = "".join(
        f"  - read_parquet: {{path: {name}, rows_per_partition: {rows // PARTS}}}\n    name: {name}\n"
        for name in ("left", "right")
        if name == "left" or step.startswith("join")
    )
    workspace.write("p.yaml", f"steps:\n{lines}{MORE_STEPS[step]}  - write_parquet: {{path: {out}, rows_per_file: 2000}}\n")


def files_under(folder: Path, word: str) -> int:
    return sum(1 for path in folder.rglob(f"*{word}*") if path.is_file()) if folder.exists() else 0


def phases(workspace) -> dict[str, Callable[[], bool]]:
    """When a run has come to a point: writing what moves, being done with half of that, merging, committing."""
    out, spill = workspace.path / "out", workspace.path / "spill"
    books = out / "_partita"
    return {
        "partition": lambda: files_under(books, ".pxf") > 5,
        "spill": lambda: len(workspace.dataset("out").commit_lines()) > PARTS // 2,
        "merge": lambda: files_under(spill, "merge-") + files_under(spill, "join-") > 0,
        "commit": lambda: files_under(out, ".parquet") > 1,
    }


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_in_each_phase(workspace, step):
    write_pipeline(workspace, step, "out", 30_000)
    options = {"memory": "48MiB", "threads": 2, "exchange": "disk", "spill_dir": "spill"}
    workspace.run_ok("p.yaml", **options)
    expected = workspace.digests("out")
    for phase, reached in phases(workspace).items():
        shutil.rmtree(workspace.path / "out")
        kills = 0
        lines: list[bytes] = []
        for _ in range(3):  # the same run, hit again further on
            process = workspace.start("p.yaml", options=options)
            deadline = time.monotonic() + 60
            while process.poll() is None and not reached():
                assert time.monotonic() < deadline, f"{phase} never came"
            was_reached = process.poll() is None
            time.sleep(random.random() / 50)
            process.kill()
            process.communicate()
            kills += was_reached and is_killed(process.returncode)
            now = workspace.dataset("out").commit_lines()
            assert now[: len(lines)] == lines, "a committed task was done again, or forgotten"
            lines = now
            if process.returncode == 0:
                break
        assert kills > 0, f"no kill in phase {phase}"
        workspace.run_ok("p.yaml", **options)
        assert workspace.digests("out") == expected, phase
        assert workspace.dataset("out").leftovers() == []
        assert files_under(workspace.path / "spill", "") == 0, "scratch files outlive the run"


@pytest.mark.parametrize("step", MORE_STEPS)
def test_a_full_disk_while_spilling(workspace, small_disk, step):  # noqa: F811
    # All that moves and comes out fits on the disk, but not beside the filler. (Joins have two sides, and more rows.)
    rows = 24_000 if step.startswith("join") else 60_000
    write_pipeline(workspace, step, "disk/out", rows)
    options = {"memory": "48MiB", "threads": 2, "exchange": "disk"}
    filler = small_disk / "filler"
    filler.write_bytes(bytes(21 * MIB))
    finished = workspace.run_bad("p.yaml", max_attempts=2, **options)
    assert "resource error" in finished.stderr
    assert "No space left" in finished.stderr
    assert "disk/out" in finished.stderr, "names the place"
    assert files_under(small_disk, ".tmp") == 0, "what did not fit is gone"
    assert files_under(small_disk, "merge-") + files_under(small_disk, "join-") == 0
    assert not workspace.dataset("disk/out").is_finished
    before = workspace.dataset("disk/out").commit_lines()
    assert before, "what fitted before counts"
    filler.unlink()
    small = workspace.path / "disk"
    # With room again the same command goes on, does nothing twice, and makes what an unhindered run makes.
    workspace.run_ok("p.yaml", **options)
    assert workspace.dataset("disk/out").commit_lines()[: len(before)] == before
    found = {name: digest for name, digest in workspace.digests("disk/out").items() if name.endswith(".parquet")}
    shutil.rmtree(small / "out")
    workspace.run_ok("p.yaml", memory="1GiB")
    whole = workspace.digests("disk/out")
    assert found == {name: digest for name, digest in whole.items() if name.endswith(".parquet")}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_spill_is_caught(workspace, step, damage):
    """A byte that turned on the disk is an error or is made again, and is in no output."""
    write_pipeline(workspace, step, "out", 30_000)
    workspace.run_ok("p.yaml", threads=2)
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    process = workspace.start("p.yaml", options={"threads": 1, "exchange": "disk"})
    while process.poll() is None and len(workspace.dataset("out").commit_lines()) < 60:
        pass
    process.kill()
    process.communicate()
    files = sorted((workspace.path / "out/_partita").rglob("in-*.pxf"))
    if not files or workspace.dataset("out").is_finished:
        pytest.skip("the run was faster than the kill")
    for number, path in enumerate(files[:3]):
        content = bytearray(path.read_bytes())
        if damage == "flip":
            content[len(content) * (number + 1) // 5] ^= 1 << number
            path.write_bytes(content)
        elif damage == "truncate":
            path.write_bytes(content[: len(content) * (number + 1) // 5])
        else:
            path.unlink()
    finished = workspace.run("p.yaml", exchange="disk")
    if finished.exit_code != 0:
        assert 0 < finished.exit_code < 128, str(finished)
        assert "damaged" in finished.stderr, str(finished)
        workspace.run_ok("p.yaml", fresh=True)
    assert workspace.digests("out") == expected
