"""Law 4: nothing is half-written and nothing is done twice, also after kill -9 at any point."""

import random
import shutil
import signal
import time

import pytest
from binary import SCALE, is_killed
from photos import rows, write_inputs

KILLS = int(50 * SCALE)

# About a second of work in some sixty tasks: the strong compression takes most of it.
LONG = """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 150}
  - with_columns: {caption: "repeat(coalesce(caption, 'x'), 20)"}
    name: base
  - with_columns: {odd: "cast(case when id % 50 = 7 then 'seven' else cast(id as string) end as int64)"}
    name: odd
    on_error: quarantine
  - write_parquet: {path: out/parquet, compression: zstd, compression_level: 19, rows_per_file: 60}
  - select: [id, caption, lang]
    input: base
  - write_csv: {path: out/csv, partition_by: [lang]}
  - write_webdataset: {path: out/shards, rows_per_shard: 700, exact: true}
    input: base
  - filter: width > 2000
    input: base
  - limit: 1000
  - select: [id, width, caption]
  - write_jsonl: {path: out/limited, rows_per_file: 90}
"""
DATASETS = ["out/parquet", "out/csv", "out/shards", "out/limited"]


def test_kill_9_at_random_points_loses_and_doubles_nothing(workspace):
    write_inputs(workspace, 9000)
    workspace.write("p.yaml", LONG)
    whole = workspace.run_ok("p.yaml", threads=2, memory="128MiB")
    expected = workspace.digests("out")
    tasks = len(workspace.dataset("out/parquet").commit_lines())
    shutil.rmtree(workspace.path / "out")

    r = random.Random(4)
    kills = finished_runs = kills_of_this_run = 0
    lines: list[bytes] = []
    deadline = time.monotonic() + 120 * max(1.0, SCALE)
    while kills < KILLS:
        assert time.monotonic() < deadline, f"only {kills} kills"
        process = workspace.start("p.yaml", options={"threads": r.choice([1, 2, 8]), "memory": "128MiB"})
        # Most kills early, so that several hit one run.
        at = time.monotonic() + r.choice([0.1, 0.25, 0.5, 0.9]) * whole.seconds * r.random()
        while process.poll() is None and time.monotonic() < at:
            time.sleep(0.002)
        process.kill()
        stdout, stderr = process.communicate()
        main = workspace.dataset("out/parquet")
        now = main.commit_lines()
        assert now[: len(lines)] == lines, "a committed task was done again, or forgotten"
        lines = now
        if is_killed(process.returncode):
            kills += 1
            kills_of_this_run += 1
            if not main.is_finished:
                continue
        else:
            assert process.returncode == 0, stdout.decode() + stderr.decode()
        if not all(workspace.dataset(d).is_finished for d in DATASETS):
            continue
        # Killed at the very end or not killed: the same command finds nothing left to do.
        workspace.run_ok("p.yaml")
        check_whole(workspace, expected, tasks)
        finished_runs += 1
        kills_of_this_run = 0
        lines = []
        shutil.rmtree(workspace.path / "out")

    # The last, torn run is finished by one undisturbed run, which takes over all that was committed.
    committed = len(lines)
    workspace.run_ok("p.yaml", threads=2, memory="128MiB")
    check_whole(workspace, expected, tasks)
    if kills_of_this_run and committed:
        assert workspace.dataset("out/parquet").records()[-1]["stats"]["tasks"]["resumed"] == committed


def check_whole(workspace, expected, tasks):
    assert workspace.digests("out") == expected
    for folder in DATASETS:
        assert workspace.dataset(folder).leftovers() == []
    log = workspace.dataset("out/parquet").commit_lines()
    assert len(log) == tasks
    books = workspace.path / "out/parquet/_partita"
    kept = {p.relative_to(books).parts[0] for p in books.rglob("*") if p.is_file()}
    assert kept == {"commits.log", "lock", "owner.json", "plan.json", "runs"}


@pytest.mark.parametrize("signal_name", ["terminate", "interrupt"])
def test_a_signal_stops_the_run_cleanly_and_it_resumes(workspace, signal_name):
    write_inputs(workspace, 9000)
    workspace.write("p.yaml", LONG)
    whole = workspace.run_ok("p.yaml")
    expected = workspace.digests("out")
    tasks = len(workspace.dataset("out/parquet").commit_lines())
    shutil.rmtree(workspace.path / "out")
    process = workspace.start("p.yaml")
    time.sleep(whole.seconds / 3)
    process.send_signal(signal.SIGTERM if signal_name == "terminate" else signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode >= 0, "stops itself"
    if process.returncode != 0:
        dataset = workspace.dataset("out/parquet")
        assert not dataset.is_finished
    workspace.run_ok("p.yaml")
    check_whole(workspace, expected, tasks)


def interrupted(workspace):
    """The files of a run that was killed on its way, and what a whole run leaves."""
    write_inputs(workspace, 6000)
    workspace.write("p.yaml", LONG)
    workspace.run_ok("p.yaml")
    expected = workspace.digests("out")
    main = workspace.dataset("out/parquet")
    tasks = len(main.commit_lines())
    shutil.rmtree(workspace.path / "out")
    process = workspace.start("p.yaml")
    while process.poll() is None and len(main.commit_lines()) < 6:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not main.is_finished
    return expected, tasks


@pytest.mark.parametrize("damage", ["torn line", "no line end", "a flipped bit", "emptied"])
def test_a_torn_or_damaged_log_is_not_believed(workspace, damage):
    expected, _ = interrupted(workspace)
    log = workspace.path / "out/parquet/_partita/commits.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(
        {
            "torn line": b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2],
            "no line end": b"".join(lines[:3]).rstrip(b"\n"),
            "a flipped bit": b"".join(lines[:3]) + lines[3].replace(b'"out"', b'"oUt"') + b"".join(lines[4:]),
            "emptied": b"",
        }[damage]
    )
    workspace.run_ok("p.yaml")
    assert workspace.digests("out") == expected
    for folder in DATASETS:
        assert workspace.dataset(folder).leftovers() == []


@pytest.mark.parametrize("folder", DATASETS)
def test_an_output_that_was_removed_is_made_again(workspace, folder):
    write_inputs(workspace, 2000)
    workspace.write("p.yaml", LONG)
    workspace.run_ok("p.yaml")
    expected = workspace.digests("out")
    shutil.rmtree(workspace.path / folder)
    workspace.run_ok("p.yaml")
    assert workspace.digests("out") == expected


def test_a_missing_committed_file_is_noticed(workspace):
    """The log says what counts: a file it names that is gone, or of another size, must not end in a whole manifest."""
    workspace.write_table("in/parquet/a.parquet", rows(500))
    workspace.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in/parquet, rows_per_partition: 100}\n  - write_parquet: out/parquet\n",
    )
    workspace.run_ok("p.yaml")
    expected = workspace.digests("out")
    (workspace.path / "out/parquet/_manifest.json").unlink()
    (workspace.path / "out/parquet/part-00002-000.parquet").unlink()
    finished = workspace.run("p.yaml")
    if finished.exit_code == 0:
        assert workspace.digests("out") == expected
    else:
        assert "part-00002-000.parquet" in finished.stderr
