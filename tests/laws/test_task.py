"""The task contract: `partita task` runs one task through storage and makes the same bytes as the local engine."""

import json
import shutil
import subprocess

import pytest
from photos import write_inputs
from pipelines import PIPELINES


def verbs(workspace):
    text = subprocess.run([str(workspace.binary), "--help"], capture_output=True, text=True, check=False).stdout
    return {line.split()[0] for line in text.splitlines() if line.startswith("  ")}


def task(workspace, stage, partition):
    words = [str(workspace.binary), "task", "--plan", "plan.json", "--stage", str(stage), "--partition", str(partition)]
    return subprocess.run(words, cwd=workspace.path, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "name", ["filter", "several_sinks", "partition_by", "webdataset", "csv", "exact_shards", "limit"]
)
def test_each_task_alone_makes_the_bytes_of_the_engine(workspace, name):
    missing = {"task", "compile"} - verbs(workspace)
    if missing:
        pytest.skip(f"this build has no verb {', '.join(sorted(missing))}")
    write_inputs(workspace, 2000)
    workspace.write("p.yaml", PIPELINES[name])
    workspace.run_ok("p.yaml")
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / "out")
    workspace.run_ok("p.yaml", verb="compile", output="plan.json")
    stages = len(json.loads((workspace.path / "plan.json").read_text())["plan"]["stages"])
    for stage in range(stages):
        for partition in range(10000):
            done = task(workspace, stage, partition)
            if done.returncode != 0:
                assert partition > 0, done.stderr
                assert "user error" in done.stderr, done.stderr
                break
    # What the tasks committed is taken over; the run only writes the manifests.
    workspace.run_ok("plan.json")
    assert workspace.digests("out") == expected
    records = [json.loads(p.read_text()) for p in workspace.path.glob("out/**/_partita/runs/*.json")]
    tasks = max(records, key=lambda r: r["stats"]["started_us"])["stats"]["tasks"]
    assert tasks["resumed"] == tasks["total"]
