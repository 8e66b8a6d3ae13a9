"""Law 4: an output of another plan is never overwritten or mixed in; what Partita did not write is never touched."""

import json
import os
import time

import pytest
from binary import digests
from photos import rows

COPY = """
steps:
  - read_parquet: {path: in, rows_per_partition: 100}
  - filter: width > %d
  - write_parquet: out
"""


def everything(folder):
    """All names and bytes below a folder, Partita's books included; but not who asked for the lock last."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() and p.name != "lock" else None
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def copied(workspace):
    workspace.write_table("in/a.parquet", rows(500))
    workspace.write("p.yaml", COPY % 0)
    workspace.write("other.yaml", COPY % 2000)
    workspace.run_ok("p.yaml")
    return workspace


def test_the_same_command_again_does_nothing(copied):
    before = {p: p.stat().st_mtime_ns for p in copied.dataset("out").files()}
    copied.run_ok("p.yaml")
    assert {p: p.stat().st_mtime_ns for p in copied.dataset("out").files()} == before


def test_another_plan_is_refused(copied):
    before = everything(copied.path / "out")
    finished = copied.run_bad("other.yaml")
    assert "another plan" in finished.stderr
    assert "--fresh" in finished.stderr
    assert everything(copied.path / "out") == before


def test_fresh_starts_over(copied):
    first = copied.dataset("out").rows()
    copied.run_ok("other.yaml", fresh=True)
    assert copied.dataset("out").rows() == [row for row in first if row["width"] > 2000]
    assert copied.dataset("out").leftovers() == []
    copied.run_bad("p.yaml")


def test_fresh_leaves_no_quarantine_of_the_earlier_plan(workspace):
    text = """
steps:
  - range: {n: 20}
  - with_columns: {x: "cast(case when id = 7 then 'no' else '1' end as int64)"}
    on_error: quarantine
  - write_parquet: out
"""
    workspace.write("p.yaml", text)
    workspace.run_ok("p.yaml")
    assert (workspace.path / "out/_quarantine").exists()
    workspace.write("p.yaml", text.replace("'no'", "'2'").replace("    on_error: quarantine\n", ""))
    workspace.run_ok("p.yaml", fresh=True)
    assert not list((workspace.path / "out").rglob("_quarantine/**/*.parquet"))


def test_a_changed_source_is_noticed(copied):
    before = everything(copied.path / "out")
    copied.write_table("in/a.parquet", rows(500, seed=2))
    finished = copied.run_bad("p.yaml")
    assert "changed" in finished.stderr
    assert everything(copied.path / "out") == before
    copied.run_ok("p.yaml", fresh=True)
    copied.write_table("in/b.parquet", rows(10))
    assert "changed" in copied.run_bad("p.yaml").stderr


@pytest.mark.parametrize(
    "foreign", ["notes.txt", "part-00000-3f2a.snappy.parquet", "k=1/part-00000-000.csv", "sub/x", "_SUCCESS", ".hidden"]
)
@pytest.mark.parametrize("fresh", [False, True])
def test_foreign_files_are_refused_and_stay(workspace, foreign, fresh):
    workspace.write_table("in/a.parquet", rows(100))
    workspace.write("p.yaml", COPY % 0)
    workspace.write(f"out/{foreign}", "mine")
    before = everything(workspace.path / "out")
    finished = workspace.run_bad("p.yaml", fresh=fresh)
    assert foreign.split("/")[0] in finished.stderr
    assert everything(workspace.path / "out") == before


@pytest.mark.parametrize("fresh", [False, True])
def test_a_refused_second_output_leaves_the_first_alone(copied, fresh):
    copied.write("two/notes.txt", "mine")
    copied.write("q.yaml", (COPY % 2000) + "  - write_jsonl: two\n")
    before = everything(copied.path / "out")
    copied.run_bad("q.yaml", fresh=fresh)
    assert everything(copied.path / "out") == before
    assert os.listdir(copied.path / "two") == ["notes.txt"]


def test_foreign_files_beside_ours_survive_fresh(copied):
    """Refused or kept; never removed."""
    copied.write("out/part-mine.parquet", "mine")
    copied.run("other.yaml", fresh=True)
    assert (copied.path / "out/part-mine.parquet").read_text() == "mine"


def test_the_output_is_a_file(workspace):
    workspace.write_table("in/a.parquet", rows(10))
    workspace.write("p.yaml", COPY % 0)
    workspace.write("out", "mine")
    assert "out" in workspace.run_bad("p.yaml").stderr
    assert (workspace.path / "out").read_text() == "mine"


@pytest.mark.parametrize("second", ["out", "out/", "./out", "other/../out"])
def test_two_sinks_never_share_a_folder(workspace, second):
    workspace.write_table("in/a.parquet", rows(10))
    workspace.write("p.yaml", (COPY % 0) + f"  - write_jsonl: {second}\n")
    workspace.run_bad("p.yaml")


def test_the_output_is_never_the_input(workspace):
    workspace.write_table("in/a.parquet", rows(10))
    before = digests(workspace.path / "in")
    for out in ["in", "in/"]:
        for fresh in [False, True]:
            workspace.write("p.yaml", f"steps:\n  - read_parquet: in\n  - write_parquet: {out}\n")
            workspace.run_bad("p.yaml", fresh=fresh)
            assert digests(workspace.path / "in") == before


def test_a_second_run_at_the_same_time_is_refused(workspace):
    workspace.write(
        "p.yaml",
        """
steps:
  - range: {n: 200000, rows_per_partition: 10000}
  - with_columns: {t: "repeat(cast(id as string), 200)"}
  - write_parquet: {path: out, compression: zstd, compression_level: 15}
""",
    )
    first = workspace.start("p.yaml", options={"threads": 1})
    lock = workspace.path / "out/_partita/commits.log"
    while first.poll() is None and not lock.exists():
        time.sleep(0.005)
    assert first.poll() is None
    for fresh in [False, True]:
        second = workspace.run("p.yaml", fresh=fresh)
        if first.poll() is not None:
            pytest.skip("the first run ended too soon")
        assert second.exit_code > 0, str(second)
        assert "run" in second.stderr
    _, stderr = first.communicate()
    assert first.returncode == 0, stderr.decode()
    assert workspace.dataset("out").manifest["num_rows"] == 200000


def test_the_lock_of_a_killed_run_is_free(workspace):
    workspace.write_table("in/a.parquet", rows(2000))
    workspace.write("p.yaml", COPY % 0)
    process = workspace.start("p.yaml")
    while process.poll() is None and not (workspace.path / "out/_partita/lock").exists():
        time.sleep(0.001)
    process.kill()
    process.communicate()
    workspace.run_ok("p.yaml")


def test_a_manifest_holds_no_time_and_no_host(copied):
    text = json.dumps(copied.dataset("out").manifest)
    assert os.uname().nodename not in text
    assert str(copied.path) not in text
