"""Exchanged rows that stay on the nodes which made them: the same bytes, whatever is lost; and nothing stays behind."""

import json
import shutil
import signal
import time
from typing import Any

import pyarrow as pa
import pytest
from binary import Workspace
from clusters.hosts import MIB, wait_for
from inputs import ALL, write_all
from under_test import Engine, ProcessEngine

TASKS, ROWS = 16, 400
# Sorted and hashed exchanges, one that keeps its order, and a join of two.
PIPELINES = {
    "sort": "  - sort: {by: [k, id]}\n",
    "group_by": "  - group_by: {by: [k], aggregates: {n: count(), s: sum(id)}}\n",
    "shuffle": "  - random_shuffle: {seed: 5, partitions: 6}\n",
    "rebalance": "  - repartition: {n: 5}\n",
    "after_another": "  - sort: {by: k}\n  - random_shuffle: {seed: 5}\n  - sort: {by: id}\n",
}
JOIN = """
steps:
  - read_parquet: {path: in, rows_per_partition: 700}
    name: whole
  - with_columns: {k: id % 11}
    name: keyed
  - group_by: {by: [k], aggregates: {n: count()}}
    name: counts
  - join: {on: [k], how: left, partitions: 3}
    input: [keyed, counts]
  - write_parquet: out
"""
# Functions leave a file of each call: what was done, for which rows, on which host.
BUSY = """
import os, socket, time, uuid


def note(what, batch):
    first = int(batch["id"][0])
    open(f"calls/{what}.{first}.{socket.gethostname()}.{uuid.uuid4().hex}", "w").close()
    end = time.process_time() + 0.08
    while time.process_time() < end:
        pass


def make(batch):
    note("map", batch)
    return {"id": batch["id"], "k": (batch["id"] * 7919) % 50}


def take(batch):
    note("merge", batch)
    return {"id": batch["id"], "k": batch["k"]}
"""
SLOW = """
steps:
  - range: {n: 480, rows_per_partition: 10}
  - map_batches: {fn: "busy:make", batch_size: 10, schema: "id: int64, k: int64"}
  - sort: {by: [k, id], partitions: 24}
  - map_batches: {fn: "busy:take", batch_size: 20, schema: "id: int64, k: int64"}
  - write_parquet: out
"""
MAPS, MERGES = 48, 24


def written(pipeline: str) -> str:
    steps = f"  - range: {{n: {TASKS * ROWS}, rows_per_partition: {ROWS}}}\n"
    return f'steps:\n{steps}  - with_columns: {{k: "(id * 7919) % 50"}}\n{pipeline}  - write_parquet: out\n'


def expect(workspace: Workspace) -> dict[str, str]:
    Engine().run_ok(workspace)
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    return expected


@pytest.mark.parametrize("name", PIPELINES)
def test_the_same_bytes(driven, workspace, name):
    workspace.write("p.yaml", written(PIPELINES[name]))
    expected = expect(workspace)
    driven.run_ok(workspace, exchange="nodes", spill_dir=scratch(driven, workspace))
    assert workspace.digests("out") == expected
    assert exchanged(workspace) == []
    assert blocks_left(driven, workspace) == []


def test_a_join_gives_the_same_bytes(driven, workspace):
    workspace.write_table("in/a.parquet", pa.table({"id": list(range(5000))}), row_group_size=100)
    workspace.write("p.yaml", JOIN)
    expected = expect(workspace)
    driven.run_ok(workspace, exchange="nodes", spill_dir=scratch(driven, workspace))
    assert workspace.digests("out") == expected


@pytest.mark.parametrize("name", ALL)
def test_each_kind_of_pipeline(tmp_path, name):
    """Exchanges of every kind, together in a plan: zips, unions, limits, tables, volatile and quarantining steps."""
    write_all(tmp_path, [name])
    workspace = Workspace(tmp_path / name)
    given = {path.name for path in workspace.path.iterdir()} | {"__pycache__", "scratch"}

    def written_by(engine, **options):
        engine.run_ok(workspace, "pipeline.yaml", **options)
        folders = [path for path in sorted(workspace.path.iterdir()) if path.name not in given]
        digests = {f"{path.name}/{k}": v for path in folders for k, v in workspace.digests(path.name).items()}
        for path in folders:
            shutil.rmtree(path)
        return digests

    expected = written_by(Engine())
    assert expected
    assert written_by(ProcessEngine(), exchange="nodes", spill_dir=scratch(ProcessEngine(), workspace)) == expected


@pytest.fixture
def slow(workspace):
    """A run of some seconds, what it writes, and the calls of its functions."""
    workspace.write("busy.py", BUSY)
    workspace.write("p.yaml", SLOW)
    (workspace.path / "calls").mkdir()
    expected = expect(workspace)
    calls = Calls(workspace)
    assert len(calls.of("map")) == MAPS
    assert len(calls.of("merge")) == MERGES
    calls.clear()
    return workspace, expected, calls


class Calls:
    def __init__(self, workspace):
        self.folder = workspace.path / "calls"

    def of(self, what, host="*"):
        """The first row of each call."""
        return [int(path.name.split(".")[1]) for path in self.folder.glob(f"{what}.*.{host}.*")]

    def wait(self, what, host, count, driver):
        """Until there were so many."""
        deadline = time.monotonic() + 60
        while len(self.of(what, host)) < count:
            if driver.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"there were not {count} calls in time\n{driver.finish(1)}")
            time.sleep(0.01)

    def clear(self):
        for path in self.folder.iterdir():
            path.unlink()


@pytest.mark.parametrize("what", ["worker", "node"])
@pytest.mark.parametrize("when", ["map", "merge"])
def test_what_is_lost_is_made_again(clustered, slow, what, when):
    """With the worker or node go the rows that it had made: their tasks are done again, and no others."""
    workspace, expected, calls = slow
    cluster = clustered.cluster
    node = cluster.others[0]
    driver = clustered.start(workspace, exchange="nodes", spill_dir=scratch(clustered, workspace))
    calls.wait(when, node.name, 4, driver)
    if what == "worker":
        assert clustered.kill_workers(node) > 0
    else:
        cluster.kill_node(node)
    maps_there, merges_there = len(calls.of("map", node.name)), len(calls.of("merge", node.name))
    finished = driver.finish()
    assert finished.exit_code == 0, str(finished)
    assert workspace.digests("out") == expected
    assert workspace.dataset("out").leftovers() == []
    maps, merges = len(calls.of("map")) - MAPS, len(calls.of("merge")) - MERGES
    print(f"of {maps_there} and {merges_there} tasks there {maps} and {merges} were done again")
    assert maps >= 3, "rows were lost with the worker"
    assert maps + merges <= 2 * (maps_there + merges_there)
    steps = {step["name"]: step for step in workspace.dataset("out").records()[-1]["stats"]["steps"]}
    assert steps["write_parquet"]["rows_in"] == 480
    assert blocks_left(clustered, workspace) == []


@pytest.mark.parametrize("when", ["map", "merge"])
def test_a_dead_driver_leaves_nothing_and_the_next_run_ends(clustered, slow, when):
    """What lay on the nodes went with the workers: no later run believes in it."""
    workspace, expected, calls = slow
    node = clustered.cluster.others[0]
    options = {"exchange": "nodes", "spill_dir": scratch(clustered, workspace)}
    driver = clustered.start(workspace, **options)
    calls.wait(when, node.name, 2, driver)
    driver.signal(signal.SIGKILL)
    driver.finish()
    assert blocks_left(clustered, workspace) == []
    clustered.run_ok(workspace, **options)
    assert workspace.digests("out") == expected
    assert blocks_left(clustered, workspace) == []


def test_a_failing_run_leaves_nothing(driven, workspace):
    workspace.write("p.yaml", written("  - sort: {by: k}\n  - with_columns: {d: cast('x' as int64)}\n"))
    driven.run_bad(workspace, exchange="nodes", spill_dir=scratch(driven, workspace))
    assert blocks_left(driven, workspace) == []


def test_a_node_that_is_cut_off_is_done_without(clustered, slow):
    """Packets are lost while its rows are read: they are made again; what it says later does not count twice."""
    workspace, expected, calls = slow
    cluster = clustered.cluster
    node = cluster.others[0]
    driver = clustered.start(workspace, exchange="nodes", spill_dir=scratch(clustered, workspace))
    calls.wait("merge", node.name, 2, driver)
    node.cut_off()
    try:
        time.sleep(3)
    finally:
        node.heal()
    finished = driver.finish()
    assert finished.exit_code == 0, str(finished)
    assert workspace.digests("out") == expected
    cluster.kill_node(node)  # who knows what the cluster thinks of it


def test_rows_of_a_full_disk_go_to_the_storage(clustered, workspace):
    workspace.write(
        "p.yaml",
        "steps:\n  - range: {n: 3000000, rows_per_partition: 100000}\n"
        "  - random_shuffle: {seed: 1, partitions: 4}\n  - write_parquet: out\n",
    )
    expected = expect(workspace)
    cluster = clustered.cluster
    cluster.remove_node(cluster.others[0])
    cluster.add_node("small", disk_bytes=2 * MIB)
    clustered.run_ok(workspace, exchange="nodes", spill_dir=scratch(clustered, workspace))
    assert workspace.digests("out") == expected
    files = exchanged(workspace)
    assert 0 < len(files) < 30, "those of the small node alone"


def test_rows_that_cannot_be_made_again_go_to_the_storage(driven, workspace):
    """The first exchange holds what is counted once, the second what may be lost: only the first has files."""
    workspace.write_table("in/a.parquet", pa.table({"text": [str(i) if i % 50 else "no" for i in range(400)]}))
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, rows_per_partition: 100}\n"
        "  - with_columns: {n: cast(text as int64)}\n    on_error: quarantine\n"
        "  - sort: {by: n, descending: true, partitions: 3}\n  - random_shuffle: {seed: 2}\n  - write_parquet: out\n",
    )
    expected = expect(workspace)
    finished = driven.run_ok(workspace, exchange="nodes", spill_dir=scratch(driven, workspace))
    assert workspace.digests("out") == expected
    first = [line for line in commits(workspace) if line["s"] == 0]
    others = [line for line in commits(workspace) if line["s"] == 1]
    assert first
    assert all(output["f"] for line in first for output in line["out"] if output["d"] < 0), str(finished)
    assert others
    assert not any(output["f"] for line in others for output in line["out"])


def scratch(driven, workspace) -> str:
    """A folder that each node has for itself; of worker processes, one for all."""
    if driven.cluster is not None:
        return str(driven.cluster.head.disk)
    (workspace.path / "scratch").mkdir(exist_ok=True)
    return str(workspace.path / "scratch")


def exchanged(workspace) -> list[str]:
    """Files that commits of exchanges name on the run's storage."""
    return [f for line in commits(workspace) for output in line["out"] if output["d"] < 0 for f in output["f"]]


def commits(workspace) -> list[dict[str, Any]]:
    return [json.loads(line.split(b" ", 1)[1]) for line in workspace.dataset("out").commit_lines()]


def blocks_left(driven, workspace) -> list[str]:
    """Folders of exchanged rows; they go just after their worker."""
    folder = scratch(driven, workspace)
    hosts = [None] if driven.cluster is None else [driven.cluster.head, *driven.cluster.others]

    def found():
        names = []
        for host in hosts:
            if host is None:
                names += [path.name for path in (workspace.path / "scratch").iterdir()]
            else:
                names += host.run(["ls", folder]).split()
        return [name for name in names if name.startswith("partita")]

    wait_for("the end of exchanged rows", lambda: not found(), 30)
    return found()
