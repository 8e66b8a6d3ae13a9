"""A pipeline as a Ray job: submitted to a cluster with its code, by a program that is not on it when it runs."""

import importlib.util

import pytest
from clusters.hosts import Unsupported
from clusters.ray_cluster import RayCluster
from programs import run_program

for package in ("ray", "aiohttp", "opencensus", "prometheus_client"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"jobs are submitted with ray[default], of which {package} is missing", allow_module_level=True)


class ClusterWithJobs(RayCluster):
    dashboard = True


@pytest.fixture(scope="module")
def cluster():
    try:
        made = ClusterWithJobs()
    except Unsupported as reason:
        pytest.skip(f"no cluster can be made here: {reason}")
    yield made
    made.close()


JOB = """
import sys
import shipped
import partita as pt

ds = pt.range(400, rows_per_partition=20).map_batches(shipped.mark, batch_size=10, schema="id: int64, host: string")
ds.random_shuffle(seed=1).write_jsonl(sys.argv[1], engine="ray", progress="never")
print("written")
"""
SHIPPED = """
import os, socket

def mark(batch):
    return {"id": batch["id"], "host": [os.environ["WORD"] + " " + socket.gethostname()] * len(batch["id"])}
"""
SUBMIT = """
import time
from ray.job_submission import JobStatus, JobSubmissionClient

client = JobSubmissionClient(%r)
job = client.submit_job(
    entrypoint=%r, runtime_env={"working_dir": "code", "env_vars": {"WORD": "carried", "PYTHONPATH": %r}}
)
while not (status := client.get_job_status(job)).is_terminal():
    time.sleep(0.2)
answer([str(status), client.get_job_logs(job)])
"""


def test_a_pipeline_is_submitted_as_a_job(cluster, workspace):
    """Its code and variables are shipped to all nodes; nothing of the run is left there."""
    workspace.write("code/job.py", JOB)
    workspace.write("code/shipped.py", SHIPPED)
    address = f"http://{cluster.head.address}:8265"
    entrypoint = f"{cluster.python} job.py {workspace.path / 'out'}"
    path = cluster.environment().get("PYTHONPATH", "")
    status, logs = run_program(cluster, workspace, SUBMIT % (address, entrypoint, path))
    assert status == "SUCCEEDED", logs
    assert "written" in logs
    rows = workspace.dataset("out").rows()
    assert sorted(row["id"] for row in rows) == list(range(400))
    assert {row["host"] for row in rows} <= {f"carried {host.name}" for host in (cluster.head, *cluster.others)}
