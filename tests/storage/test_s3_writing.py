"""Outputs on S3: the bytes of local outputs, whole or not there, never over another's."""

import json
import random
import shutil
import time

import pytest
from binary import SCALE, is_killed
from photos import write_inputs
from s3_server import Front, error

KILLS = int(10 * SCALE)

SEVERAL = """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 250}
  - with_columns: {caption: "repeat(coalesce(caption, 'x'), 20)"}
    name: base
  - with_columns: {odd: "cast(case when id %% 50 = 7 then 'seven' else cast(id as string) end as int64)"}
    name: odd
    on_error: quarantine
  - write_parquet: {path: "%(out)s/parquet", compression: zstd, compression_level: 15, rows_per_file: 100}
  - select: [id, caption, lang]
    input: base
  - write_csv: {path: "%(out)s/csv", partition_by: [lang]}
  - write_webdataset: {path: "%(out)s/shards", rows_per_shard: 700, exact: true}
    input: base
"""
# Some files of tens of megabytes: several parts each.
LARGE = """
steps:
  - range: {n: 6000000}
  - with_columns: {text: "concat('row ', cast(id * 7919 as string))"}
  - write_csv: {path: "%(out)s"}
"""
SMALL = """
steps:
  - read_parquet: {path: in/parquet}
  - filter: width > %(least)d
  - write_parquet: {path: "%(out)s"}
"""


@pytest.fixture
def inputs(workspace):
    write_inputs(workspace, 5000)
    return workspace


def without_manifests(found):
    """Manifests name the plan, which names the folder."""
    return {path: digest for path, digest in found.items() if not path.endswith("_manifest.json")}


def local_bytes(workspace, text):
    workspace.write("local.yaml", text)
    workspace.run_ok("local.yaml")
    return without_manifests(workspace.digests("out"))


def books(workspace):
    return [p for p in (workspace.path / "books").iterdir() if p.is_dir()]


def test_the_bytes_are_those_of_local_files(inputs, bucket):
    expected = local_bytes(inputs, SEVERAL % {"out": "out"})
    inputs.write("p.yaml", SEVERAL % {"out": bucket.uri("out")})
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books", memory="96MiB", threads=3)
    assert without_manifests(bucket.digests("out")) == expected
    manifest = json.loads(bucket.get("out/csv/_manifest.json"))
    named = {f["path"] for p in manifest["partitions"] for f in p["files"]}
    assert named == {key.removeprefix("out/csv/") for key in bucket.names("out/csv/lang=")}
    assert bucket.uploads() == []
    kept = {p.relative_to(folder).parts[0] for folder in books(inputs) for p in folder.rglob("*") if p.is_file()}
    assert kept == {"commits.log", "lock", "plan.json", "runs"}
    # What was written is read.
    inputs.write(
        "again.yaml",
        f'steps:\n  - read_csv: {{path: "{bucket.uri("out/csv")}", newlines_in_values: true}}\n  - write_csv: back\n',
    )
    inputs.run_ok("again.yaml", env=bucket.env())
    assert len(inputs.dataset("back").rows()) == 5000


def test_large_files_are_sent_in_parts(workspace, bucket):
    text = LARGE % {"out": "out"}
    expected = local_bytes(workspace, text)
    assert sum(p.stat().st_size for p in workspace.dataset("out").files()) > 100 << 20
    workspace.write("p.yaml", LARGE % {"out": bucket.uri("out")})
    with Front(bucket.url, lambda method, path, nth: error(503, "SlowDown") if nth % 7 == 0 else None) as front:
        env = bucket.env(AWS_ENDPOINT_URL=front.url)
        workspace.run_ok("p.yaml", env=env, work_dir="books", memory="64MiB", threads=2)
    assert without_manifests(bucket.digests("out")) == expected
    assert [path for method, path in front.requests if "partNumber=2" in path]
    assert bucket.uploads() == []


@pytest.mark.parametrize("text", [SEVERAL, LARGE], ids=["several", "large"])
def test_kill_9_at_random_points_loses_and_doubles_nothing(inputs, bucket, text):
    expected = local_bytes(inputs, text % {"out": "out"})
    inputs.write("p.yaml", text % {"out": bucket.uri("out")})
    began = time.monotonic()
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books")
    seconds = time.monotonic() - began
    first = "parquet/" if text is SEVERAL else ""
    r = random.Random(6)
    kills = runs = 0
    lines = []
    anew = True  # only what ended may be forgotten: the books of a killed run know of its uploads
    tasks = len(log_lines(inputs))
    while kills < KILLS:
        if anew:
            shutil.rmtree(inputs.path / "books", ignore_errors=True)
            for key in bucket.names("out"):
                bucket.delete(key)
        process = inputs.start(
            "p.yaml", options={"threads": r.choice([1, 2, 4]), "work_dir": "books"}, env=bucket.env()
        )
        at = time.monotonic() + 0.7 * seconds * r.random()
        while process.poll() is None and time.monotonic() < at:
            time.sleep(0.002)
        process.kill()
        stdout, stderr = process.communicate()
        runs += 1
        now = log_lines(inputs)
        assert now[: len(lines)] == lines, "a committed task was done again, or forgotten"
        finished = f"out/{first}_manifest.json" in bucket.names("out")
        assert not finished or len(now) == tasks, "a manifest before its data"
        lines = now
        anew = not is_killed(process.returncode)
        if anew:
            assert process.returncode == 0, stdout.decode() + stderr.decode()
            assert without_manifests(bucket.digests("out")) == expected
            lines = []
        else:
            kills += 1
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books")
    assert without_manifests(bucket.digests("out")) == expected
    assert bucket.uploads() == [], "an upload that nobody will end"


def log_lines(workspace):
    lines = []
    for folder in (workspace.path / "books").glob("*"):
        log = folder / "commits.log"
        if log.exists():
            lines += log.read_bytes().split(b"\n")[:-1]
    return lines


def test_ownership(inputs, bucket):
    out = bucket.uri("out")
    inputs.write("p.yaml", SMALL % {"out": out, "least": 0})
    inputs.write("other.yaml", SMALL % {"out": out, "least": 2000})
    env = bucket.env()
    inputs.run_ok("p.yaml", env=env, work_dir="books")
    before = bucket.digests("out")
    assert "nothing to do" in inputs.run_ok("p.yaml", env=env, work_dir="books").stdout
    # Neither this machine nor one without the books writes over another plan's output.
    for work_dir in ("books", "elsewhere"):
        finished = inputs.run_bad("other.yaml", env=env, work_dir=work_dir)
        assert "another plan" in finished.stderr
        assert "--fresh" in finished.stderr
        assert bucket.digests("out") == before
    # A machine without the books sees what is done.
    assert "nothing to do" in inputs.run_ok("p.yaml", env=env, work_dir="third").stdout
    assert bucket.digests("out") == before
    # One that begins anew removes Partita's own files, and refuses where there are others.
    bucket.put("out/notes.txt", "mine")
    finished = inputs.run_bad("other.yaml", env=env, work_dir="books", fresh=True)
    assert "notes.txt" in finished.stderr
    bucket.delete("out/notes.txt")
    inputs.run_ok("other.yaml", env=env, work_dir="books", fresh=True)
    inputs.write("local.yaml", SMALL % {"out": "out", "least": 2000})
    inputs.run_ok("local.yaml")
    assert without_manifests(bucket.digests("out")) == without_manifests(inputs.digests("out"))


def test_a_folder_with_other_files_is_refused(inputs, bucket):
    bucket.put("out/notes.txt", "mine")
    inputs.write("p.yaml", SMALL % {"out": bucket.uri("out"), "least": 0})
    for options in ({}, {"fresh": True}):
        finished = inputs.run_bad("p.yaml", env=bucket.env(), work_dir="books", **options)
        assert "notes.txt" in finished.stderr
    assert bucket.names("out") == ["out/notes.txt"]


def test_a_lost_object_is_written_again(inputs, bucket):
    inputs.write("p.yaml", SMALL % {"out": bucket.uri("out"), "least": 0})
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books")
    before = bucket.digests("out")
    bucket.delete(next(key for key in bucket.names("out") if key.endswith(".parquet")))
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books")
    assert bucket.digests("out") == before


def test_an_upload_whose_answer_is_lost_is_no_error(workspace, bucket):
    """The server completes, its answer does not arrive; asked again, it knows no such upload any more."""
    workspace.write("p.yaml", LARGE % {"out": bucket.uri("out")})
    seen = set()

    def after(method, path):
        if method != "POST" or "uploadId=" not in path or path in seen:
            return None
        seen.add(path)
        return error(500, "InternalError")

    with Front(bucket.url, lambda *_: None, after=after) as front:
        workspace.run_ok("p.yaml", env=bucket.env(AWS_ENDPOINT_URL=front.url), work_dir="books")
    assert seen
    assert "out/_manifest.json" in bucket.names("out")


def test_no_permission_to_write(inputs, bucket):
    inputs.write("p.yaml", SMALL % {"out": bucket.uri("out"), "least": 0})
    denied = error(403, "AccessDenied")
    with Front(bucket.url, lambda method, path, nth: denied if method in ("PUT", "POST") else None) as front:
        finished = inputs.run_bad("p.yaml", env=bucket.env(AWS_ENDPOINT_URL=front.url), work_dir="books")
    assert finished.exit_code == 5
    assert "no permission to write" in finished.stderr
    assert "s3:PutObject" in finished.stderr


def test_books_torn_by_a_power_failure_keep_nobody_from_going_on(inputs, bucket):
    inputs.write("p.yaml", SMALL % {"out": bucket.uri("out"), "least": 0})
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books")
    expected = bucket.digests("out")
    bucket.delete("out/_manifest.json")
    temporary = books(inputs)[0] / "tmp"
    temporary.mkdir(exist_ok=True)
    (temporary / "x.parquet.s3-upload").write_bytes(b"")
    (temporary / "y.parquet.s3-upload.block").write_bytes(b"y")
    inputs.run_ok("p.yaml", env=bucket.env(), work_dir="books")
    assert bucket.digests("out") == expected
    assert not temporary.exists()
