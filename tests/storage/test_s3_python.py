"""S3 from Python, and on other engines."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import partita as pt
pt.options.storage_options = {{"endpoint_url": "{url}", "region": "us-east-1"}}
ds = pt.read_csv("{source}")
assert ds.count() == 3, ds.count()
assert ds.filter(pt.col("x") > 1).take(5) == [{{"x": 2}}, {{"x": 3}}]
ds.write_parquet("{out}", work_dir="books", progress="never")
assert pt.read_parquet("{out}").take(1) == [{{"x": 1}}]
try:
    pt.read_csv("s3://partita-no-such-bucket/a.csv").count()
except pt.UserError as error:
    assert "no bucket" in str(error)
else:
    raise AssertionError("no error")
pt.options.storage_options = ""
"""

SHUFFLE = """
steps:
  - read_csv: {path: "%s", partition_bytes: 2000}
  - random_shuffle: {seed: 3}
  - write_csv: {path: "%s", rows_per_file: 300}
"""


def test_python(workspace, bucket):
    pytest.importorskip("partita")
    bucket.put("in.csv", "x\n1\n2\n3\n")
    script = SCRIPT.format(url=bucket.url, source=bucket.uri("in.csv"), out=bucket.uri("out"))
    env = {k: v for k, v in bucket.env().items() if k != "AWS_ENDPOINT_URL"}
    subprocess.run([sys.executable, "-c", script], cwd=workspace.path, env=env, check=True, timeout=120)
    assert "out/_manifest.json" in bucket.names("out")


def test_workers_send_and_the_driver_completes(workspace, bucket):
    pytest.importorskip("partita")
    bucket.put("in.csv", "x\n" + "".join(f"{i}\n" for i in range(3000)))
    workspace.write("local.yaml", SHUFFLE % (bucket.uri("in.csv"), "out"))
    workspace.run_ok("local.yaml", env=bucket.env())
    workspace.write("p.yaml", SHUFFLE % (bucket.uri("in.csv"), bucket.uri("out")))
    env = bucket.env(PARTITA_PYTHON=sys.executable, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    workspace.run_ok("p.yaml", env=env, engine="processes:2", work_dir=str(workspace.path / "books"))
    local, there = workspace.digests("out"), bucket.digests("out")
    assert {k: v for k, v in local.items() if k != "_manifest.json"} == {
        k: v for k, v in there.items() if k != "_manifest.json"
    }
    assert bucket.uploads() == []
