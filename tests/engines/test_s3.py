"""S3 as the storage of a run on a cluster: workers on all nodes read a bucket and write to it, the driver completes."""

import importlib.util
import json
import signal
import subprocess
import sys

import pytest
from clusters.hosts import wait_for
from under_test import Engine

if importlib.util.find_spec("moto") is None:
    pytest.skip("tools/requirements.txt has moto", allow_module_level=True)

PORT = 9100
KEYS = "[default]\naws_access_key_id = partita-test\naws_secret_access_key = not-so-secret-0123456789\n"
# A task takes a moment, so that each node gets some and a kill finds some under way.
PIPELINE = """
steps:
  - read_csv: {path: "s3://rows/in/*.csv", partition_bytes: 2000}
  - map_batches: {fn: "slowly:work", batch_size: 200, schema: "x: int64", concurrency: 2}
  - with_columns: {text: "repeat('0123456789', 20)"}
  - random_shuffle: {seed: 3, partitions: 6}
  - write_csv: {path: "%s", rows_per_file: 300}
"""
SLOWLY = """
import socket, time


def work(batch):
    open("hosts/" + socket.gethostname(), "w").close()
    time.sleep(0.1)
    return batch
"""
# Runs on the head: this program does not reach the server.
TOOL = """
import hashlib, json, sys
import boto3
from botocore.config import Config
client = boto3.client(
    "s3", endpoint_url=sys.argv[1], region_name="us-east-1", config=Config(s3={"addressing_style": "path"})
)
if sys.argv[2] == "fill":
    client.create_bucket(Bucket="rows")
    for f in range(4):
        rows = "x\\n" + "".join(f"{i}\\n" for i in range(f * 2000, f * 2000 + 2000))
        client.put_object(Bucket="rows", Key=f"in/{f}.csv", Body=rows)
keys = [o["Key"] for o in client.list_objects_v2(Bucket="rows", Prefix="out/").get("Contents", [])]
bodies = {key: client.get_object(Bucket="rows", Key=key)["Body"].read() for key in keys if "/_partita/" not in key}
print(json.dumps([
    {key[4:]: hashlib.sha256(body).hexdigest() for key, body in bodies.items()},
    len(client.list_multipart_uploads(Bucket="rows").get("Uploads", [])),
]))
"""


class Server:
    """On the head of a cluster, seen by all of its nodes; credentials are in the home folder that these share."""

    def __init__(self, cluster, workspace):
        self.cluster, self.workspace = cluster, workspace
        self.url = f"http://{cluster.head.address}:{PORT}"
        workspace.write("tool.py", TOOL)
        (workspace.path / "hosts").mkdir()
        workspace.write("slowly.py", SLOWLY)
        (cluster.home / ".aws").mkdir(exist_ok=True)
        (cluster.home / ".aws" / "credentials").write_text(KEYS)
        command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "0.0.0.0", "-p", str(PORT)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = cluster.start(command, cwd=workspace.path, **quiet)
        connect = f"import socket; socket.create_connection(('{cluster.head.address}', {PORT}), 1)"

        def answers():
            assert self._process.poll() is None, "the S3 server ended"
            asked = cluster.start([sys.executable, "-S", "-c", connect], cwd=workspace.path, **quiet)
            return asked.wait(20) == 0

        wait_for("the S3 server", answers, 60, 0.3)

    def ask(self, what):
        """What readers see below out/, and how many uploads nobody has ended."""
        command = [sys.executable, "tool.py", self.url, what]
        env = self.cluster.environment()
        return json.loads(self.cluster.head.run(command, cwd=self.workspace.path, env=env).splitlines()[-1])

    @property
    def options(self):
        return {
            "storage_options": f"endpoint_url={self.url},region=us-east-1",
            "work_dir": self.workspace.path / "books",
        }

    def close(self):
        self.cluster.head.signal(self._process, signal.SIGKILL)
        self._process.wait()
        (self.cluster.home / ".aws" / "credentials").unlink()


def assert_local_writes(found, pipeline, clustered, workspace, server):
    """The local engine reads the same bucket, and writes to a folder what was written to the bucket."""
    workspace.write("local.yaml", pipeline % "out")
    local = Engine()
    local.cluster = clustered.cluster
    local.run_ok(workspace, "local.yaml", storage_options=server.options["storage_options"])
    expected = workspace.digests("out")
    del expected["_manifest.json"], found["_manifest.json"]  # they name the plan, and it the folder
    assert found == expected


@pytest.fixture
def server(clustered, workspace):
    made = Server(clustered.cluster, workspace)
    yield made
    made.close()


def test_a_bucket_is_the_shared_storage(clustered, workspace, server):
    """Also of a run whose driver is killed and which begins again: nothing is lost, doubled or left."""
    server.ask("fill")
    workspace.write("p.yaml", PIPELINE % "s3://rows/out")
    driver = clustered.start(workspace, **server.options)
    commits = lambda: sum(log.read_bytes().count(b"\n") for log in workspace.path.glob("books/*/commits.log"))  # noqa: E731
    wait_for("commits", lambda: commits() > 8 or driver.process.poll() is not None, 60, 0.02)
    driver.signal(signal.SIGKILL)
    assert driver.finish().exit_code != 0, "it was killed under way"
    done = commits()
    clustered.run_ok(workspace, **server.options)
    assert commits() > done
    assert {path.name for path in (workspace.path / "hosts").iterdir()} == {"head", clustered.cluster.others[0].name}
    found, uploads = server.ask("look")
    assert uploads == 0, "an upload that nobody will end"

    assert_local_writes(found, PIPELINE, clustered, workspace, server)


# What needs no folder that nodes share: rows that change partition stay where they are made.
NATIVE = """
steps:
  - read_csv: {path: "s3://rows/in/*.csv", partition_bytes: 2000}
  - with_columns: {text: "repeat('0123456789', 20)"}
  - random_shuffle: {seed: 3, partitions: 6}
  - write_csv: {path: "%s", rows_per_file: 300}
"""


def test_a_bucket_is_the_only_storage(clustered, workspace, server):
    """The books are on the head's own disk: what other nodes stage is published with the reports of their tasks."""
    server.ask("fill")
    workspace.write("p.yaml", NATIVE % "s3://rows/out")
    books = clustered.cluster.head.disk / "books"
    finished = clustered.run(workspace, **{**server.options, "work_dir": books})
    assert finished.exit_code == 0, str(finished)
    found, uploads = server.ask("look")
    assert uploads == 0, "an upload that nobody will end"
    assert_local_writes(found, NATIVE, clustered, workspace, server)

    workspace.write("p.yaml", NATIVE % "s3://rows/other")
    finished = clustered.run_bad(workspace, exchange="disk", **{**server.options, "work_dir": books})
    assert "does not see the folder of the run" in finished.stderr
    assert "--work-dir" in finished.stderr

