"""Sources on S3: the rows, the errors, and what is asked of the server."""

import contextlib
import io
import json
import os
import tarfile
import threading

import boto3
import pyarrow as pa
import pytest
from photos import rows, write_inputs
from PIL import Image
from s3_server import Front, error, new_bucket, running_server

COPY = """
steps:
  - {read}: {{path: "{path}"{more}}}
  - {write}: {{path: out}}
"""


def pipeline(read, path, write="write_parquet", more=""):
    return COPY.format(read=read, path=path, write=write, more=more)


def written(workspace):
    return {name: digest for name, digest in workspace.digests("out").items() if name != "_manifest.json"}


def copied(workspace, text, env=None, **options):
    workspace.write("p.yaml", text)
    workspace.run_ok("p.yaml", fresh=True, env=env, **options)
    return written(workspace)


@pytest.fixture
def mirrored(workspace, bucket):
    """The same files in a folder and in a bucket."""
    write_inputs(workspace, 3000)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as shard:
        for i in range(50):
            for name, content in ((f"{i:04}.txt", b"x" * i), (f"{i:04}.cls", str(i).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))
    workspace.write("in/shards/0.tar", tar.getvalue())
    for path in sorted((workspace.path / "in").rglob("*")):
        if path.is_file():
            bucket.put(str(path.relative_to(workspace.path)), path.read_bytes())
    return workspace


@pytest.mark.parametrize(
    ("read", "path", "more"),
    [
        ("read_parquet", "in/parquet", ", rows_per_partition: 300"),
        ("read_csv", "in/csv/*.csv", ", partition_bytes: 20000"),
        ("read_jsonl", "in/jsonl", ", partition_bytes: 20000"),
        ("read_text", "in/text/a.txt", ""),
        ("read_webdataset", "in/shards/0.tar", ""),
    ],
)
def test_rows_are_those_of_local_files(mirrored, bucket, read, path, more):
    local = copied(mirrored, pipeline(read, path, more=more))
    assert local
    assert copied(mirrored, pipeline(read, bucket.uri(path), more=more), bucket.env(), memory="32MiB") == local


def test_files_as_rows(workspace, bucket):
    for i in range(5):
        bucket.put(f"pictures/{i}.jpg", b"j" * (1000 + i))
    workspace.write("p.yaml", pipeline("read_files", bucket.uri("pictures/*.jpg")))
    workspace.run_ok("p.yaml", env=bucket.env())
    found = workspace.dataset("out").rows()
    assert sorted(len(v) for row in found for v in row.values() if isinstance(v, bytes)) == list(range(1000, 1005))


def test_a_pipeline_of_images(workspace, bucket):
    for i in range(12):
        picture = io.BytesIO()
        Image.effect_noise((300 + i, 200), 60).convert("RGB").save(picture, "JPEG")
        bucket.put(f"photos/{i:02}.jpg", picture.getvalue())
        workspace.write(f"photos/{i:02}.jpg", picture.getvalue())
    text = """
steps:
  - read_files: {path: "%s"}
  - resize_images: {image: bytes, size: 64}
  - select: [bytes]
  - write_parquet: {path: "%s"}
"""
    workspace.write("local.yaml", text % ("photos", "out"))
    workspace.run_ok("local.yaml")
    workspace.write("s3.yaml", text % (bucket.uri("photos"), bucket.uri("small")))
    workspace.run_ok("s3.yaml", env=bucket.env(), work_dir="books")
    there = bucket.digests("small")
    there.pop("_manifest.json")
    assert there == written(workspace)


def test_globs_folders_hive_columns_and_strange_keys(workspace, bucket):
    for key in (
        "t/year=2024/m=1/a.csv",
        "t/year=2024/m=2/b c+d%20&ü.csv",
        "t/year=2025/m=1/'(e)'.csv",
        "t/_hidden/x.csv",
        "t/.x.csv",
        "t/year=2024/readme.md",
    ):
        bucket.put(key, f"name\n{json.dumps(key)}\n" if "," in key else f"name\n{key}\n")
    bucket.put("t/", "")  # as consoles make folders

    def found(path):
        workspace.write("p.yaml", pipeline("read_csv", bucket.uri(path)))
        workspace.run_ok("p.yaml", fresh=True, env=bucket.env())
        return {
            (row["name"].rsplit("/", 1)[1], row.get("year"), row.get("m")) for row in workspace.dataset("out").rows()
        }

    everything = {("a.csv", 2024, 1), ("b c+d%20&ü.csv", 2024, 2), ("'(e)'.csv", 2025, 1)}
    assert found("t") == everything
    assert found("t/") == everything
    assert found("t/**/*.csv") == everything
    assert found("t/year=*/m=1") == {f for f in everything if f[2] == 1}
    assert {name for name, *_ in found("t/year=2024/m={1,2}/?*.csv")} == {"a.csv", "b c+d%20&ü.csv"}


def test_many_objects_are_listed_in_pages(workspace, bucket):
    for i in range(120):
        bucket.put(f"many/{i % 7}/{i:04}.txt", f"line {i}")
    workspace.write("p.yaml", pipeline("read_text", bucket.uri("many")))

    def fewer(path):  # the server's pages have a thousand keys
        return path.replace("max-keys=1000", "max-keys=50")

    with Front(bucket.url, lambda *_: None, rewrite=fewer) as front:
        workspace.run_ok("p.yaml", env=bucket.env(AWS_ENDPOINT_URL=front.url))
    found = [row["text"] for row in workspace.dataset("out").rows()]
    assert sorted(found) == sorted(f"line {i}" for i in range(120))
    lists = [path for method, path in front.requests if method == "GET" and "list-type=2" in path]
    assert len(lists) == 1 + 3  # is it a folder? and three pages, not one of each folder
    assert len([1 for method, _ in front.requests if method == "HEAD"]) == 1, "no question for each object"


def test_only_the_columns_that_are_used_are_read(workspace, bucket):
    workspace.write_table("a.parquet", rows(4000))
    size = (workspace.path / "a.parquet").stat().st_size
    bucket.put("a.parquet", (workspace.path / "a.parquet").read_bytes())
    workspace.write(
        "p.yaml",
        f'steps:\n  - read_parquet: {{path: "{bucket.uri("a.parquet")}"}}\n  - select: [id]\n  - write_parquet: out\n',
    )
    workspace.run_ok("p.yaml", env=bucket.env())
    assert workspace.dataset("out").records()[-1]["stats"]["source_bytes_read"] < size / 3


def test_large_ranges_are_asked_for_in_pieces_at_once(workspace, bucket):
    noise = os.urandom(24 << 20)
    table = pa.table({"noise": [noise[i : i + 4096] for i in range(0, len(noise), 4096)]})
    workspace.write_table("a.parquet", table)
    bucket.put("a.parquet", (workspace.path / "a.parquet").read_bytes())
    workspace.write("p.yaml", pipeline("read_parquet", bucket.uri("a.parquet")))
    company = threading.Barrier(2)
    met = []

    def answer(method, path, nth):
        if method == "GET" and "a.parquet" in path and not met:
            with contextlib.suppress(threading.BrokenBarrierError):
                company.wait(timeout=1)
                met.append(nth)
            company.reset()

    with Front(bucket.url, answer) as front:
        workspace.run_ok("p.yaml", threads=1, env=bucket.env(AWS_ENDPOINT_URL=front.url))
    assert met
    assert [row["noise"] for row in workspace.dataset("out").rows()] == table["noise"].to_pylist()


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_a_changed_object_is_an_error(workspace, bucket, change):
    bucket.put("a.csv", "x\n1\n")
    workspace.write("p.yaml", pipeline("read_csv", bucket.uri("a.csv")))
    plan = workspace.run_ok("p.yaml", verb="compile", env=bucket.env()).stdout
    workspace.write("plan.json", plan)
    bucket.delete("a.csv")
    if change == "replaced":
        bucket.put("a.csv", "x\n2\n")  # as long as before
    finished = workspace.run_bad("plan.json", env=bucket.env())
    assert finished.exit_code == 5
    assert "changed since it was listed" in finished.stderr
    assert bucket.uri("a.csv") in finished.stderr
    bucket.put("a.csv", "x\n1\n")  # the same bytes again are the same file
    workspace.run_ok("plan.json", env=bucket.env())


def test_what_is_not_there(workspace, bucket):
    bucket.put("data/urls.csv", "x\n1\n")
    for path, exit_code, words in (
        (bucket.uri("data/url.csv"), 2, ["no file is found", "did you mean", "urls.csv"]),
        (bucket.uri("nothing/*.csv"), 2, ["no file is found"]),
        ("s3://partita-no-such-bucket/x.csv", 2, ["no bucket 'partita-no-such-bucket'", "endpoint"]),
        ("s3:///x.csv", 2, ["names no bucket"]),
        ("gs://bucket/x.csv", 2, ["no reader for gs://"]),
    ):
        workspace.write("p.yaml", pipeline("read_csv", path))
        finished = workspace.run_bad("p.yaml", env=bucket.env())
        assert finished.exit_code == exit_code, str(finished)
        for word in words:
            assert word in finished.stderr, str(finished)


def test_a_busy_server_is_asked_again(workspace, bucket):
    bucket.put("a.csv", "x\n1\n")
    workspace.write("p.yaml", pipeline("read_csv", bucket.uri("a.csv")))
    busy = error(503, "SlowDown")
    with Front(bucket.url, lambda method, path, nth: busy if nth % 3 != 0 else None) as front:
        workspace.run_ok("p.yaml", env=bucket.env(AWS_ENDPOINT_URL=front.url))
    with Front(bucket.url, lambda *_: busy) as front:
        finished = workspace.run_bad("p.yaml", fresh=True, max_attempts=1, env=bucket.env(AWS_ENDPOINT_URL=front.url))
    assert finished.exit_code == 5
    assert "the server answered 503" in finished.stderr


def test_the_bucket_of_another_region_is_asked_there(workspace, bucket):
    bucket.put("a.csv", "x\n1\n")
    workspace.write("p.yaml", pipeline("read_csv", bucket.uri("a.csv")))
    moved = error(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-central-1"})
    with Front(bucket.url, lambda method, path, nth: moved if nth == 1 else None) as front:
        workspace.run_ok("p.yaml", env=bucket.env(AWS_ENDPOINT_URL=front.url))
    unsaid = error(301, "PermanentRedirect")
    with Front(bucket.url, lambda *_: unsaid) as front:
        finished = workspace.run_bad("p.yaml", fresh=True, env=bucket.env(AWS_ENDPOINT_URL=front.url))
    assert "another region" in finished.stderr
    assert "AWS_REGION" in finished.stderr


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (error(403, "AccessDenied"), "no permission to read"),
        (error(403, "InvalidAccessKeyId"), "AWS_ACCESS_KEY_ID"),
        (error(403, "SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY"),
        (error(400, "ExpiredToken"), "expired"),
        (error(403, "RequestTimeTooSkewed"), "clock"),
    ],
)
def test_refusals_say_who_must_act(workspace, bucket, answer, word):
    workspace.write("p.yaml", pipeline("read_csv", bucket.uri("a.csv")))
    with Front(bucket.url, lambda *_: answer) as front:
        finished = workspace.run_bad("p.yaml", env=bucket.env(AWS_ENDPOINT_URL=front.url))
    assert finished.exit_code == 5
    assert word in finished.stderr


def test_credentials(workspace, bucket):
    bucket.put("a.csv", "x\n1\n")
    workspace.write("p.yaml", pipeline("read_csv", bucket.uri("a.csv")))
    nobody = {k: v for k, v in bucket.env().items() if k not in bucket.keys}
    finished = workspace.run_bad("p.yaml", env=nobody)
    assert finished.exit_code == 5
    assert "no credentials" in finished.stderr
    assert "anon=true" in finished.stderr
    # A profile, as AWS's tools keep it.
    keys = "\n".join(f"{name.lower()} = {value}" for name, value in bucket.keys.items())
    workspace.write("credentials", f"[work]\n{keys}\n")
    profile = {**nobody, "AWS_SHARED_CREDENTIALS_FILE": str(workspace.path / "credentials"), "AWS_PROFILE": "work"}
    workspace.run_ok("p.yaml", env=profile)


def test_signatures_permissions_and_secrets(workspace):
    """A server that checks signatures knows two users, of which one may read."""
    with running_server(INITIAL_NO_AUTH_ACTION_COUNT="8") as url:
        iam = boto3.client(
            "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        users = {}
        for user in ("reader", "stranger"):
            iam.create_user(UserName=user)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            users[user] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        allowed = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
        iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=json.dumps(allowed))
        bucket = new_bucket(url, users["reader"])
        bucket.put("in put/a+b.csv", "x\n1\n")
        bucket.put("in put/=ü~.csv", "x\n2\n")
        workspace.write("p.yaml", pipeline("read_csv", bucket.uri("in put/*.csv"), write="write_csv"))
        workspace.write(
            "q.yaml",
            pipeline("read_csv", bucket.uri("in put")).replace("path: out", f"path: '{bucket.uri('out put')}'"),
        )
        workspace.run_ok("p.yaml", env=bucket.env())
        finished = workspace.run_ok("q.yaml", env=bucket.env(), work_dir="books")
        plan = workspace.run_ok("p.yaml", verb="compile", env=bucket.env())
        secret = users["reader"]["AWS_SECRET_ACCESS_KEY"]
        assert secret not in finished.stdout + finished.stderr + plan.stdout
        for path in workspace.path.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()
        finished = workspace.run_bad("p.yaml", fresh=True, env={**bucket.env(), **users["stranger"]})
        assert "no permission to read" in finished.stderr
        wrong = {**users["reader"], "AWS_SECRET_ACCESS_KEY": "x" * 40}
        finished = workspace.run_bad("p.yaml", fresh=True, env={**bucket.env(), **wrong})
        assert "AWS_SECRET_ACCESS_KEY" in finished.stderr


def test_options(workspace, bucket):
    bucket.put("a.csv", "x\n1\n")
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    bucket.client.put_object_acl(Bucket=bucket.name, Key="a.csv", ACL="public-read")
    workspace.write("p.yaml", pipeline("read_csv", bucket.uri("a.csv")))
    env = {k: v for k, v in bucket.env().items() if k != "AWS_ENDPOINT_URL" and k not in bucket.keys}
    options = f"endpoint_url={bucket.url},anon=true,region=eu-west-1"
    workspace.run_ok("p.yaml", env=env, storage_options=options)
    workspace.run_ok("p.yaml", fresh=True, env={**env, "PARTITA_STORAGE_OPTIONS": options})
    workspace.write(
        "o.yaml",
        f"options: {{storage_options: {{endpoint_url: '{bucket.url}', anon: true}}}}\n"
        + pipeline("read_csv", bucket.uri("a.csv")),
    )
    workspace.run_ok("o.yaml", env=env, fresh=True)
    for wrong, word in (("secret_access_key=x", "secret"), ("endpoint_url=host:1", "http"), ("regoin=x", "unknown")):
        finished = workspace.run_bad("p.yaml", env=env, storage_options=wrong)
        assert finished.exit_code == 2
        assert word in finished.stderr
