"""The task contract: `partita task` runs one task through storage and makes the same bytes as the local engine."""

import json
import shutil
import subprocess

import pytest
from photos import write_inputs
from pipelines import PIPELINES


@pytest.fixture
def tasks(workspace):
    """The workspace, where the binary has the verbs."""
    text = subprocess.run([str(workspace.binary), "--help"], capture_output=True, text=True, check=False).stdout
    missing = {"task", "compile"} - {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
    if missing:
        pytest.skip(f"this build has no verb {', '.join(sorted(missing))}")
    return workspace


def run_task(workspace, stage, partition):
    return workspace.run("", verb="task", plan="plan.json", stage=stage, partition=partition)


def committed(workspace):
    """(stage, partition) of all commits."""
    log = next(workspace.path.glob("out/**/_partita/commits.log"))
    commits = [json.loads(line.split(b" ", 1)[1]) for line in log.read_bytes().splitlines()]
    return sorted((commit["s"], commit["p"]) for commit in commits)


def last_record(workspace):
    records = [json.loads(p.read_text()) for p in workspace.path.glob("out/**/_partita/runs/*.json")]
    return max(records, key=lambda record: record["stats"]["started_us"])


@pytest.mark.parametrize(
    "name", ["filter", "several_sinks", "webdataset", "csv", "exact_shards", "limit", "broadcast_and_zip"]
)
def test_each_task_alone_makes_the_bytes_of_the_engine(tasks, name):
    write_inputs(tasks, 2000)
    tasks.write("p.yaml", PIPELINES[name])
    tasks.run_ok("p.yaml")
    expected = tasks.digests("out")
    done = committed(tasks)
    shutil.rmtree(tasks.path / "out")
    tasks.run_ok("p.yaml", verb="compile", output="plan.json")
    for stage, partition in done:
        finished = run_task(tasks, stage, partition)
        assert finished.exit_code == 0, str(finished)
    # The run takes over what the tasks committed, and writes the manifests.
    tasks.run_ok("plan.json")
    assert tasks.digests("out") == expected
    assert committed(tasks) == done
    assert last_record(tasks)["stats"]["tasks"]["resumed"] == len(done)


EXACT = (
    "steps:\n  - range: {n: 10, rows_per_partition: 3}\n  - write_jsonl: {path: out, rows_per_file: 4, exact: true}\n"
)


def test_a_task_waits_for_its_exchange(tasks):
    """An exchange counts once all that write it are committed; before, a task would read too little."""
    tasks.write("p.yaml", EXACT)
    tasks.run_ok("p.yaml", verb="compile", output="plan.json")
    for partition in range(4):
        finished = run_task(tasks, 1, 0)
        assert finished.exit_code > 0, str(finished)
        assert run_task(tasks, 0, partition).exit_code == 0
    assert run_task(tasks, 1, 0).exit_code == 0
    tasks.run_ok("plan.json")
    assert [row["id"] for row in tasks.dataset("out").rows()] == list(range(10))


@pytest.mark.parametrize(("stage", "partition"), [(0, 4), (0, -1), (1, 3), (1, 99), (2, 0), (-1, 0)])
def test_a_task_that_does_not_exist(tasks, stage, partition):
    tasks.write("p.yaml", EXACT)
    tasks.run_ok("p.yaml", verb="compile", output="plan.json")
    for p in range(4):
        assert run_task(tasks, 0, p).exit_code == 0
    finished = run_task(tasks, stage, partition)
    assert finished.exit_code == 2, str(finished)
    assert "user error" in finished.stderr


def test_a_task_twice_is_one_task(tasks):
    tasks.write("p.yaml", "steps:\n  - range: {n: 10, rows_per_partition: 3}\n  - write_jsonl: out\n")
    tasks.run_ok("p.yaml", verb="compile", output="plan.json")
    for partition in [2, 0, 2, 2]:
        assert run_task(tasks, 0, partition).exit_code == 0
    assert committed(tasks) == [(0, 0), (0, 2)]
    tasks.run_ok("plan.json")
    assert [row["id"] for row in tasks.dataset("out").rows()] == list(range(10))
