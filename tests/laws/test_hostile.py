"""Hostile input, storage and names: the right rows, or an error that says what and where; no crash, no hang."""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from binary import MIB, SCALE
from photos import rows

COPY = "steps:\n  - %s\n  - write_parquet: out\n"


def parquet_bytes(count=2000, **options):
    sink = io.BytesIO()
    pq.write_table(rows(count), sink, **options)
    return sink.getvalue()


def fails_cleanly(workspace, reader, word=None, **options):
    workspace.write("p.yaml", COPY % reader)
    finished = workspace.run_bad("p.yaml", fresh=True, **options)
    assert not workspace.dataset("out").is_finished
    if word:
        assert word in finished.stderr, str(finished)
    return finished


# ------------------------------------------------------------ damaged files


@pytest.mark.parametrize("cut", [0, 3, 4, 8, 11, 12, 100, -1, -4, -8, -9, -300])
def test_truncated_parquet(workspace, cut):
    data = parquet_bytes()
    workspace.write("in/a.parquet", data[:cut] if cut else b"")
    fails_cleanly(workspace, "read_parquet: in", "a.parquet")


def test_parquet_with_flipped_bytes(workspace):
    """Each damage either is noticed or does no harm; none kills the process. PARTITA_TEST_SCALE makes more of them."""
    data = parquet_bytes(300, compression="snappy")
    r = Random(11)
    for _ in range(int(25 * SCALE)):
        damaged = bytearray(data)
        for _ in range(r.choice([1, 1, 5, 40])):
            at = r.randrange(4, len(damaged) - 8)
            if r.random() < 0.5:
                at = max(4, len(damaged) - 8 - r.randrange(600))  # the footer
            damaged[at] = r.randrange(256)
        workspace.write("in/a.parquet", bytes(damaged))
        workspace.write("p.yaml", COPY % "read_parquet: in")
        finished = workspace.run("p.yaml", memory="128MiB", fresh=True)
        assert 0 <= finished.exit_code < 128, str(finished)
        if finished.exit_code:
            assert "error" in finished.stderr
            assert "std::" not in finished.stderr


def test_parquet_of_another_schema_among_the_files(workspace):
    workspace.write_table("in/a.parquet", pa.table({"x": [1, 2]}))
    workspace.write_table("in/b.parquet", pa.table({"x": ["one", "two"]}))
    fails_cleanly(workspace, "read_parquet: in", "b.parquet")


def test_a_footer_that_lies_about_its_length(workspace):
    data = bytearray(parquet_bytes())
    for length in [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, len(data)]:
        data[-8:-4] = length.to_bytes(4, "little")
        workspace.write("in/a.parquet", bytes(data))
        fails_cleanly(workspace, "read_parquet: in", "a.parquet")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'{"a": 1}\n{"a": \n', "line 2"),
        (b'{"a": 1}\nnonsense\n', "line 2"),
        (b'{"a": 1}\n[1, 2]\n', "line 2"),
        (b'{"a": "\xff\xfe"}\n', "line 1"),
        (b'{"a": 1}\n{"a": "x"}\n' * 1, "line 2"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", "line 1"),
        (b"\x1f\x8b\x08\x00garbage", "a.jsonl"),
        (b"\x00" * 100, "line 1"),
    ],
)
def test_bad_jsonl(workspace, content, word):
    workspace.write("in/a.jsonl", content)
    reader = "read_jsonl: {path: in, column_types: {a: int64}}"
    finished = fails_cleanly(workspace, reader)
    assert "a.jsonl" in finished.stderr
    assert word in finished.stderr


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"a,b\n1,2\n3\n", "line 3"),
        (b"a,b\n1,2\n3,4,5\n", "line 3"),
        (b'a,b\n1,"2\n', "a.csv"),
        (b"a,b\n1,x\n", "line 2"),
        (b"a,b\n1,\xff\xfe\n", "line 2"),
        (b"a,a\n1,2\n", "a"),
    ],
)
def test_bad_csv(workspace, content, word):
    workspace.write("in/a.csv", content)
    finished = fails_cleanly(workspace, "read_csv: {path: in, column_types: {a: int64, b: int64}}", word)
    assert "a.csv" in finished.stderr


def shard(*members, **extra):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", **extra) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()


GOOD_SHARD = shard(("0.txt", b"zero"), ("0.bin", b"\x00"), ("1.txt", b"one"), ("1.bin", b"\x01"))


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 700, 1100])
def test_truncated_tar(workspace, cut):
    workspace.write("in/a.tar", GOOD_SHARD[:cut])
    fails_cleanly(workspace, "read_webdataset: in", "a.tar")


def test_a_tar_member_larger_than_the_file(workspace):
    damaged = bytearray(GOOD_SHARD)
    damaged[124:136] = b"77777777777\0"
    damaged[148:156] = b"        "
    checksum = sum(damaged[:512])
    damaged[148:156] = b"%06o\0 " % checksum
    workspace.write("in/a.tar", bytes(damaged))
    fails_cleanly(workspace, "read_webdataset: in", "a.tar", memory="64MiB")


def test_a_tar_header_of_noise(workspace):
    workspace.write("in/a.tar", os.urandom(4096))
    fails_cleanly(workspace, "read_webdataset: in", "a.tar")


@pytest.mark.parametrize("name", ["../../escape.txt", "/tmp/partita-escape.txt", "a/../../escape.txt"])
def test_tar_members_never_leave_the_shard(workspace, name):
    """Members are rows, not files: whatever a member is called, nothing is written at that place."""
    workspace.write("w/in/a.tar", shard((name, b"out")))
    workspace.write("p.yaml", "steps:\n  - read_webdataset: w/in\n  - write_webdataset: w/out\n")
    finished = workspace.run("p.yaml")
    assert finished.exit_code in (0, 3), str(finished)
    assert not (workspace.path / "escape.txt").exists()
    assert not (workspace.path / "w/escape.txt").exists()
    assert not os.path.exists("/tmp/partita-escape.txt")
    for tar in (workspace.path / "w/out").glob("*.tar"):
        with tarfile.open(tar) as file:
            for member in file.getnames():
                assert not member.startswith("/")
                assert ".." not in member.split("/")


# ------------------------------------------------------------ nothing there, or little


@pytest.mark.parametrize("kind", ["jsonl", "csv", "text", "webdataset"])
def test_an_empty_file_among_others(workspace, kind):
    ending, content = {
        "jsonl": ("jsonl", b'{"a": 1}\n'),
        "csv": ("csv", b"a\n1\n"),
        "text": ("txt", b"one\n"),
        "webdataset": ("tar", shard(("0.txt", b"zero"))),
    }[kind]
    workspace.write(f"in/a.{ending}", b"")
    workspace.write(f"in/b.{ending}", content)
    workspace.write(f"in/c.{ending}", b"")
    workspace.write("p.yaml", COPY % f"read_{kind}: in")
    workspace.run_ok("p.yaml")
    assert workspace.dataset("out").manifest["num_rows"] == 1


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "text", "files", "webdataset"])
@pytest.mark.parametrize("path", ["missing", "missing/*.x", "empty"])
def test_nothing_to_read_is_an_error_that_names_the_path(workspace, kind, path):
    (workspace.path / "empty").mkdir()
    fails_cleanly(workspace, f"read_{kind}: {path}", path.split("/")[0])


def test_zero_rows(workspace):
    workspace.write_table("in/a.parquet", rows(30).slice(0, 0))
    workspace.write_table("in/b.parquet", rows(30))
    for predicate, count in [("width < 0", 0), ("width > 0", 30)]:
        workspace.write(
            "p.yaml",
            f"""
steps:
  - read_parquet: in
  - filter: {predicate}
  - write_parquet: out/parquet
  - write_webdataset: {{path: out/shards, exact: true, rows_per_shard: 7}}
  - select: [id, width, caption]
  - write_csv: out/csv
  - write_jsonl: out/jsonl
  - limit: 3
  - write_parquet: {{path: out/by, partition_by: [width]}}
""",
        )
        workspace.run_ok("p.yaml", fresh=True)
        assert workspace.dataset("out/parquet").manifest["num_rows"] == count
        assert workspace.dataset("out/by").manifest["num_rows"] == min(count, 3)
        assert len(workspace.dataset("out/csv").rows()) == count


def test_zero_rows_in_all(workspace):
    workspace.write("p.yaml", "steps:\n  - range: {n: 0}\n  - write_parquet: out\n  - write_csv: csv\n")
    workspace.run_ok("p.yaml")
    assert workspace.dataset("out").manifest["num_rows"] == 0


def test_zero_columns(workspace):
    """Rows without columns still are rows."""
    workspace.write_table("in/a.parquet", rows(10))
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {{path: in}}\n  - drop: [{}]\n  - write_parquet: out\n".format(
            ", ".join(rows(0).column_names)
        ),
    )
    finished = workspace.run("p.yaml")
    if finished.exit_code == 0:
        assert workspace.dataset("out").manifest["num_rows"] == 10
    else:
        assert "user error" in finished.stderr


def test_limit_zero_reads_nothing(workspace):
    workspace.write_table("in/a.parquet", rows(10))
    workspace.write("p.yaml", "steps:\n  - read_parquet: in\n  - limit: 0\n  - write_parquet: out\n")
    workspace.run_ok("p.yaml")
    assert workspace.dataset("out").manifest["num_rows"] == 0


def test_ten_thousand_tiny_partitions(workspace):
    workspace.write(
        "p.yaml",
        "steps:\n  - range: {n: 10000, rows_per_partition: 2}\n  - filter: id % 5 = 0\n"
        "  - limit: 1500\n  - write_jsonl: out\n",
    )
    workspace.run_ok("p.yaml", memory="64MiB", threads=8)
    assert [row["id"] for row in workspace.dataset("out").rows()] == list(range(0, 7500, 5))


# ------------------------------------------------------------ names and links

NAMES = [
    "a b.parquet",
    "ünïcødé.parquet",
    "line\nbreak.parquet",
    "-rf.parquet",
    "'quo\"te.parquet",
    "[x].parquet",
    "%41.parquet",
    "#.parquet",
    "x" * 200 + ".parquet",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_file_names(workspace, name):
    workspace.write_table("in/" + name, rows(20))
    workspace.write("p.yaml", COPY % "read_parquet: in")
    workspace.run_ok("p.yaml")
    assert workspace.dataset("out").manifest["num_rows"] == 20


def test_a_file_name_that_is_no_utf8(workspace):
    (workspace.path / "in").mkdir()
    with open(os.fsencode(workspace.path) + b"/in/\xff\xfe.parquet", "wb") as file:
        file.write(parquet_bytes(20))
    workspace.write("p.yaml", COPY % "read_parquet: in")
    finished = workspace.run("p.yaml")
    assert 0 <= finished.exit_code < 128, str(finished)
    if finished.exit_code == 0:
        assert workspace.dataset("out").manifest["num_rows"] == 20


@pytest.mark.parametrize(
    "value", ["../../up", "/abs", "a=b", "a/b", ".", "..", "", "sp ace", "ü", "x" * 300, "new\nline", "%2e%2e", "nul\0"]
)
def test_partition_values_never_leave_the_folder(workspace, value):
    workspace.write_table("in/a.parquet", pa.table({"k": [value, "plain"], "v": [1, 2]}))
    workspace.write("p.yaml", "steps:\n  - read_parquet: in\n  - write_parquet: {path: w/out, partition_by: [k]}\n")
    finished = workspace.run("p.yaml")
    assert sorted(p.name for p in (workspace.path / "w").iterdir()) == ["out"]
    assert 0 <= finished.exit_code < 128, str(finished)
    if finished.exit_code == 0:
        # What was written comes back through the same reader.
        workspace.write("q.yaml", "steps:\n  - read_parquet: w/out\n  - write_jsonl: back\n")
        workspace.run_ok("q.yaml")
        assert sorted(r["v"] for r in workspace.dataset("back").rows()) == [1, 2]
        found = {r["v"]: r["k"] for r in workspace.dataset("back").rows()}
        assert found[1] in (value, None) if value == "" else found[1] == value
    else:
        assert "error" in finished.stderr
        assert len(value) > 200 or "\0" in value, f"refused: {finished}"


def test_links(workspace):
    workspace.write_table("real/a.parquet", rows(20))
    (workspace.path / "in").mkdir()
    (workspace.path / "in/loop").symlink_to("..")
    (workspace.path / "in/a.parquet").symlink_to("../real/a.parquet")
    (workspace.path / "in/gone.parquet").symlink_to("../nowhere")
    workspace.write("p.yaml", COPY % "read_parquet: in/a.parquet")
    workspace.run_ok("p.yaml")
    assert workspace.dataset("out").manifest["num_rows"] == 20
    workspace.write("p.yaml", COPY % "read_parquet: in")
    finished = workspace.run("p.yaml", fresh=True)
    assert 0 <= finished.exit_code < 128, str(finished)


def test_a_fifo_in_the_folder_does_not_hang(workspace):
    workspace.write_table("in/a.parquet", rows(20))
    os.mkfifo(workspace.path / "in/pipe.parquet")
    workspace.write("p.yaml", COPY % "read_parquet: in")
    finished = workspace.run("p.yaml")
    assert 0 <= finished.exit_code < 128, str(finished)


# ------------------------------------------------------------ storage


@pytest.fixture
def small_disk(workspace):
    """A file system of 24 MiB; needs the right to mount."""
    folder = workspace.path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "sink",
    [
        "write_parquet: {path: disk/out, compression: none}",
        "write_csv: disk/out",
        "write_jsonl: disk/out",
        "write_webdataset: disk/out",
        "write_parquet: {path: disk/out, compression: none, exact: true, rows_per_file: 100000}",
    ],
)
def test_a_full_disk(workspace, small_disk, sink):
    workspace.write(
        "p.yaml",
        "steps:\n  - range: {n: 900000, rows_per_partition: 50000}\n"
        f"  - with_columns: {{t: \"cast(id as string) || '-abcdefghijklmnopqrstuvwxyz'\"}}\n  - {sink}\n",
    )
    filler = small_disk / "filler"
    filler.write_bytes(bytes(8 * MIB))
    finished = workspace.run_bad("p.yaml", max_attempts=2)
    assert "environment error" in finished.stderr or "resource error" in finished.stderr
    assert "space" in finished.stderr
    assert "disk" in finished.stderr, "names the place"
    assert not workspace.dataset("disk/out").is_finished
    # With room again the same command goes on from what is there. (All of it may not fit.)
    filler.unlink()
    before = workspace.dataset("disk/out").commit_lines()
    again = workspace.run("p.yaml", max_attempts=1)
    assert again.exit_code in (0, 4, 5), str(again)
    assert workspace.dataset("disk/out").commit_lines()[: len(before)] == before


def test_a_file_that_vanishes_between_plan_and_read(workspace):
    """The plan is compiled from a snapshot; what changed since is an error, not other rows."""
    for i in range(30):
        workspace.write_table(f"in/{i:02}.parquet", rows(1500))
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, partition_bytes: 1}\n"
        "  - write_parquet: {path: out, compression: zstd, compression_level: 19}\n",
    )
    process = workspace.start("p.yaml", options={"threads": 1})
    log = workspace.path / "out/_partita/commits.log"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        pass
    (workspace.path / "in/29.parquet").unlink()
    workspace.write_table("in/28.parquet", rows(1500, seed=9))
    _, stderr = process.communicate(timeout=60)
    assert process.returncode > 0, stderr.decode()
    assert b"28.parquet" in stderr or b"29.parquet" in stderr
    assert not workspace.dataset("out").is_finished


def test_an_unreadable_file(workspace):
    workspace.write_table("in/a.parquet", rows(20))
    (workspace.path / "in/a.parquet").chmod(0)
    workspace.write("p.yaml", COPY % "read_parquet: in")
    if os.geteuid() == 0:
        nobody = shutil.which("setpriv")
        if not nobody:
            pytest.skip("root may read everything")
        workspace.path.chmod(0o777)
        for parent in workspace.path.parents:
            if parent.stat().st_mode & 0o001 == 0:
                pytest.skip("the folders above are private")
        finished = subprocess.run(
            [nobody, "--reuid=65534", "--regid=65534", "--clear-groups", *workspace.command("p.yaml")],
            cwd=workspace.path,
            capture_output=True,
        )
        code, text = finished.returncode, finished.stderr.decode()
    else:
        finished = workspace.run("p.yaml")
        code, text = finished.exit_code, finished.stderr
    assert 0 < code < 128, text
    assert "a.parquet" in text


@pytest.mark.parametrize("out", ["/proc/nope/out", "/dev/null/out", "in/a.parquet/out"])
def test_an_output_that_cannot_be_made(workspace, out):
    workspace.write_table("in/a.parquet", rows(20))
    workspace.write("p.yaml", f"steps:\n  - read_parquet: in\n  - write_parquet: {out}\n")
    finished = workspace.run_bad("p.yaml")
    assert out.split("/")[1] in finished.stderr


def test_compressed_text_files_expand_within_the_budget(workspace):
    """A gzip bomb: a thousandfold. Read in pieces, or refused by name."""
    bomb = gzip.compress((b'{"a": "' + b"x" * 200 + b'"}\n') * 600_000)
    assert len(bomb) < MIB
    workspace.write("in/a.jsonl.gz", bomb)
    workspace.write("p.yaml", "steps:\n  - read_jsonl: in/a.jsonl.gz\n  - filter: a = 'no'\n  - write_parquet: out\n")
    finished = workspace.run("p.yaml", memory="64MiB")
    assert 0 <= finished.exit_code < 128, str(finished)
    if finished.exit_code:
        assert "a.jsonl.gz" in finished.stderr
