"""How much is done twice: what a lost worker had under way and little more; a slow node's share, elsewhere."""

import json
import shutil
import time

import pytest
from clusters.hosts import wait_for
from under_test import Engine

TASKS = 60
PIPELINE = """
steps:
  - range: {n: 600, rows_per_partition: 10}
  - map_batches: {fn: "busy:work", batch_size: 10, schema: "id: int64, n: int64", concurrency: 2}
  - write_parquet: out
"""
# Each call of the function leaves a file that names its partition, its host and itself.
BUSY = """
import os, socket, time, uuid


def work(batch):
    partition = int(batch["id"][0]) // 10
    open(f"calls/{partition}.{socket.gethostname()}.{uuid.uuid4().hex}", "w").close()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    return {"id": batch["id"], "n": batch["id"] * 2}
"""


class Calls:
    def __init__(self, workspace):
        self.folder = workspace.path / "calls"

    def by_host(self, host):
        """Partitions that were begun there."""
        return {int(path.name.split(".")[0]) for path in self.folder.glob(f"*.{host}.*")}

    def count(self):
        return len(list(self.folder.iterdir()))


@pytest.fixture
def busy(workspace):
    workspace.write("p.yaml", PIPELINE)
    workspace.write("busy.py", BUSY)
    (workspace.path / "calls").mkdir()
    Engine().run_ok(workspace)
    expected = workspace.digests("out")
    again(workspace)
    return workspace, expected


def again(workspace):
    shutil.rmtree(workspace.path / "out")
    shutil.rmtree(workspace.path / "calls")
    (workspace.path / "calls").mkdir()


def committed(workspace):
    return {json.loads(line.split(b" ", 1)[1])["p"] for line in workspace.dataset("out").commit_lines()}


def test_a_slow_node_holds_nobody_up(clustered, busy, capsys):
    """A node slows down to a tenth of a processor while it works: what it has is done elsewhere as well.

    How long that takes beside a run without the node is printed, and judged by nobody: the machine is shared.
    """
    workspace, expected = busy
    cluster, calls = clustered.cluster, Calls(workspace)
    node = cluster.others[0]
    if node.limits:
        pytest.skip(node.limits)
    driver = clustered.start(workspace)
    wait_for("work there", lambda: calls.by_host(node.name) or driver.process.poll() is not None, 60, 0.01)
    node.slow(0.1)
    began = time.monotonic()
    try:
        finished = driver.finish()
    finally:
        node.slow(0)
    slowed_s = time.monotonic() - began
    assert finished.exit_code == 0, str(finished)
    assert workspace.digests("out") == expected
    there, here = calls.by_host(node.name), calls.by_host("head")
    assert there & here, "what the slow node had begun was done by the other"
    assert len(there) < TASKS / 2, "the slow node does the smaller part"

    again(workspace)
    cluster.remove_node(node)
    driver = clustered.start(workspace)
    wait_for("work", lambda: calls.by_host("head") or driver.process.poll() is not None, 60, 0.01)
    began = time.monotonic()
    finished = driver.finish()
    alone_s = time.monotonic() - began
    assert finished.exit_code == 0, str(finished)
    with capsys.disabled():
        print(
            f" [{cluster.kind}: {slowed_s:.1f} s, {alone_s:.1f} s without the node: {slowed_s / alone_s:.2f}]", end=""
        )
