"""What only Dask has: the program's own client, annotations, adaptive clusters, workers without memory."""

import subprocess

import pytest
from clusters.hosts import MIB

PROGRAM = """
import json, sys
import dask, partita as pt
from dask.distributed import Client, LocalCluster

def where(batch):
    import socket
    return {"host": [socket.gethostname()] * len(batch["id"])}

def job(out):
    pt.range(400, rows_per_partition=20).map_batches(where, batch_size=10).write_jsonl(out, engine="dask")

if __name__ == "__main__":
%s
"""


def run(cluster, workspace, body: str) -> str:
    workspace.write("program.py", PROGRAM % "\n".join("    " + line for line in body.strip().splitlines()))
    driver = cluster.start(
        [cluster.python, "program.py"], cwd=workspace.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = driver.communicate(timeout=120)[0].decode()
    assert driver.returncode == 0, output
    return output


def hosts(workspace, folder: str) -> set[str]:
    rows = workspace.dataset(folder).rows()
    assert len(rows) == 400
    return {row["host"] for row in rows}


def test_the_programs_own_client_and_annotations(dask_cluster, workspace):
    node = dask_cluster.others[0].name
    run(
        dask_cluster,
        workspace,
        f"""
client = Client({dask_cluster.scheduler!r})
job("everywhere")
with dask.annotate(workers=[{node!r}]):
    job("there")
assert client.submit(lambda: 1).result() == 1, "the client is the program's, and still open"
""",
    )
    assert hosts(workspace, "there") == {node}
    assert hosts(workspace, "everywhere") <= {node, "head"}


def test_two_runs_share_a_cluster(dask_cluster, workspace):
    """Each has its own workers in Dask's, and takes none of the other's away."""
    run(
        dask_cluster,
        workspace,
        f"""
import concurrent.futures
client = Client({dask_cluster.scheduler!r})
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(job, ["one", "two"]))
left = client.run(lambda dask_worker: [n for n in dask_worker.plugins if "partita" in n])
assert not any(left.values()), left
""",
    )
    assert hosts(workspace, "one")
    assert hosts(workspace, "two")


def test_an_adaptive_cluster_begins_without_workers(dask_cluster, workspace):
    run(
        dask_cluster,
        workspace,
        """
with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None, memory_limit="1GB") as local:
    local.adapt(minimum=0, maximum=2, interval="200ms")
    with Client(local) as client:
        job("out")
""",
    )
    assert hosts(workspace, "out") == {"head"}


def test_more_rows_than_the_memory_of_a_worker_holds(dask_cluster, workspace):
    """600 MB handed over to a worker that may have 800: Dask spills, and they are read back from there."""
    dask_cluster.memory_limit = "800MB"
    try:
        node = dask_cluster.add_node("small", disk_bytes=1536 * MIB)
    finally:
        del dask_cluster.memory_limit
    output = run(
        dask_cluster,
        workspace,
        f"""
client = Client({dask_cluster.scheduler!r})
text = pt.sql("repeat('0123456789', 100000)")
with dask.annotate(workers=[{node.name!r}]):
    frame = pt.range(600, rows_per_partition=12).with_columns(text=text).to_dask(memory="256MiB")
def spilled(dask_worker):
    return len(dask_worker.data.disk)
names = client.run(lambda dask_worker: dask_worker.name)
there = client.run(spilled, workers=[w for w in names if names[w] == {node.name!r}])
back = pt.from_dask(frame).with_columns(size="length(text)").select("id", "size")
back.write_parquet("sizes", engine="dask")
sizes = pt.read_parquet("sizes").to_arrow()
kept = sizes["id"].to_pylist() == list(range(600))
print("FOUND", sum(there.values()) > 0, set(sizes["size"].to_pylist()), kept)
""",
    )
    assert "FOUND True {1000000} True" in output, output


@pytest.mark.parametrize("text", ["dask", "dask:no such thing", "dask://localhost:4"])
def test_a_wrong_address(dask_cluster, workspace, text):
    output = run(
        dask_cluster,
        workspace,
        f"""
try:
    pt.range(3).write_jsonl("out", engine={text!r})
except pt.PartitaError as error:
    print(type(error).__name__, error)
""",
    )
    assert "environment error" in output or "user error" in output
    assert "try:" in output
    assert "Traceback" not in output
