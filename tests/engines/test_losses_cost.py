"""A worker, a node, the driver lost in each part of a run: it ends right, and little more than what was lost is done again."""

import itertools
import json
import shutil
import signal

import pyarrow.parquet as pq
import pytest
from binary import SCALE, Workspace
from clusters.hosts import wait_for
from under_test import Engine

MAPS, MERGES, ROWS = 32, 8, 10
PIPELINE = f"""
steps:
  - range: {{n: {MAPS * ROWS}, rows_per_partition: {ROWS}}}
  - map_batches: {{fn: "busy:mapped", batch_size: {ROWS}, schema: "id: int64", concurrency: 2}}
  - random_shuffle: {{seed: 3, partitions: {MERGES}}}
  - map_batches: {{fn: "busy:merged", batch_size: {MAPS * ROWS}, schema: "id: int64", concurrency: 2}}
  - write_parquet: out
"""
# Each call leaves a file: its stage, one row of its partition, its host, and itself.
BUSY = """
import os, socket, time, uuid


def called(stage, batch):
    open(f"calls/{stage}.{int(min(batch['id']))}.{socket.gethostname()}.{uuid.uuid4().hex}", "w").close()
    time.sleep(0.1)
    return batch


def mapped(batch):
    return called(0, batch)


def merged(batch):
    return called(1, batch)
"""
# What is lost when: (who, when). The first are tested always, all of them by PARTITA_TEST_SCALE of 2 or more.
WHEN = {"map": 8, "exchange": MAPS, "merge": MAPS + 2, "commit": MAPS + MERGES - 1}  # commits until then
OFTEN = [("worker", "merge"), ("node", "exchange"), ("driver", "map"), ("driver", "commit")]
ALL = list(itertools.product(("worker", "node", "driver"), WHEN))


class Costs:
    """A run whose tasks leave traces; a task is (stage, least id in its partition)."""

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        workspace.write("p.yaml", PIPELINE)
        workspace.write("busy.py", BUSY)
        (workspace.path / "calls").mkdir()
        Engine().run_ok(workspace)
        self.expected = workspace.digests("out")
        calls = [path.name.split(".") for path in self.calls()]
        assert len(calls) == MAPS + MERGES
        self._least = {(0, p): p * ROWS for p in range(MAPS)}
        for path in workspace.dataset("out").files():  # part-00003-000.parquet is of partition 3
            self._least[1, int(path.name.split("-")[1])] = min(pq.read_table(path)["id"].to_pylist())
        shutil.rmtree(workspace.path / "out")
        for path in self.calls():
            path.unlink()

    def calls(self):
        return list((self.workspace.path / "calls").iterdir())

    def begun(self, host=""):
        """Tasks that were begun, on a host or anywhere."""
        names = [path.name.split(".") for path in self.calls()]
        return {(int(stage), int(least)) for stage, least, where, _ in names if host in ("", where)}

    def committed(self):
        lines = [json.loads(line.split(b" ", 1)[1]) for line in self.workspace.dataset("out").commit_lines()]
        return {(line["s"], self._least[line["s"], line["p"]]) for line in lines}


def cells():
    return ALL if SCALE >= 2 else OFTEN


@pytest.mark.parametrize(("who", "when"), cells(), ids=lambda word: word)
def test_a_loss_costs_twice_what_was_lost(clustered, workspace, who, when):
    costs, cluster = Costs(workspace), clustered.cluster
    other = cluster.others[0]
    driver = clustered.start(workspace)

    def reached():
        assert driver.process.poll() is None, f"it ended before it was disturbed\n{driver.finish()}"
        there = when != "map" or who == "driver" or len(costs.begun(other.name)) > 2
        return there and len(workspace.dataset("out").commit_lines()) >= WHEN[when]

    wait_for(when, reached, 60, 0.01)
    if who == "worker":
        assert clustered.kill_workers(other) > 0
    elif who == "node":
        cluster.kill_node(other)
    else:
        driver.signal(signal.SIGKILL)
    lost = costs.begun("" if who == "driver" else other.name) - costs.committed()
    finished = driver.finish()
    if who == "driver":
        # What its workers still had under way ends with them.
        wait_for("the end of what runs", lambda: not clustered.left(), 30)
        lost = costs.begun() - costs.committed()
        finished = clustered.run(workspace)
    assert finished.exit_code == 0, str(finished)
    assert workspace.digests("out") == costs.expected
    redone = len(costs.calls()) - MAPS - MERGES
    print(f"{who} lost in {when}: {len(lost)} tasks lost, {redone} done again")
    # One that was about to begin leaves its file, or does not.
    assert redone <= 2 * max(1, len(lost))
