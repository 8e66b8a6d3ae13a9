"""How runs end that do not go well: what users see, what is left, what the next run does; alike on each engine."""

import json
import shutil
import signal
from typing import Any

import pyarrow as pa
import pytest
from binary import Workspace
from inputs import FUNCTIONS
from photos import write_inputs
from test_kill import DATASETS, LONG
from under_test import Engine, wait_for_commits

BAD = """
steps:
  - read_parquet: {path: in, rows_per_partition: 120}
  - with_columns: {n: cast(text as int64)}
    name: parse
    on_error: %s
  - sort: {by: n, descending: true}
  - write_parquet: out
"""


@pytest.fixture
def texts(workspace):
    for f in range(3):
        ids = list(range(f * 300, f * 300 + 300))
        texts = [f"no {i}" if i % 97 == 5 else str(i) for i in ids]
        workspace.write_table(f"in/{f}.parquet", pa.table({"id": ids, "text": texts}), row_group_size=50)
    return workspace


def test_a_data_error_names_step_file_and_row(engine, texts):
    texts.write("p.yaml", BAD % "fail")
    expected = Engine().run_bad(texts, threads=1).stderr
    shutil.rmtree(texts.path / "out")
    finished = engine.run_bad(texts)
    assert finished.stderr.startswith("data error in step 'parse'")
    assert ".parquet" in finished.stderr
    assert "row " in finished.stderr
    assert "no " in finished.stderr, "shows the value"
    assert finished.stderr.splitlines()[-1] == expected.splitlines()[-1], "the next thing to try is the same"
    assert not texts.dataset("out").is_finished


def test_bad_rows_go_to_the_quarantine_and_are_run_again(engine, texts):
    texts.write("p.yaml", BAD % "quarantine")
    finished = engine.run_ok(texts)
    bad = [i for i in range(900) if i % 97 == 5]
    assert [row["id"] for row in texts.dataset("out/_quarantine").rows()] == bad
    assert [row["id"] for row in texts.dataset("out").rows()] == [i for i in reversed(range(900)) if i not in bad]
    steps = {step["name"]: step for step in texts.dataset("out").records()[-1]["stats"]["steps"]}
    assert steps["parse"]["rows_quarantined"] == len(bad), finished.stderr


def test_skipped_rows_are_counted(engine, texts):
    texts.write("p.yaml", BAD % "skip")
    engine.run_ok(texts)
    steps = {step["name"]: step for step in texts.dataset("out").records()[-1]["stats"]["steps"]}
    assert steps["parse"]["rows_skipped"] == 10
    assert steps["parse"]["rows_in"] == 900
    assert len(texts.dataset("out").rows()) == 890


def test_a_column_that_is_not_there(engine, texts):
    texts.write("p.yaml", "steps:\n  - read_parquet: in\n  - filter: width > 1\n  - write_parquet: out\n")
    finished = engine.run_bad(texts)
    assert finished.stderr.startswith("user error")
    assert "width" in finished.stderr
    assert not (texts.path / "out").exists()


def test_an_input_that_vanished(engine, texts):
    """After it was planned: what went is named, and nothing is written that looks whole."""
    texts.write("p.yaml", "steps:\n  - read_parquet: in\n  - write_parquet: out\n")
    texts.run_ok("p.yaml", verb="compile", output="plan.json")
    (texts.path / "in/1.parquet").unlink()
    finished = engine.run_bad(texts, "plan.json")
    assert "1.parquet" in finished.stderr
    assert not texts.dataset("out").is_finished


def test_a_folder_of_something_else_is_left_alone(engine, texts):
    texts.write("out/mine.txt", "mine")
    texts.write("p.yaml", "steps:\n  - read_parquet: in\n  - write_parquet: out\n")
    finished = engine.run_bad(texts)
    assert finished.stderr.startswith("user error")
    assert (texts.path / "out/mine.txt").read_text() == "mine"


def test_a_run_that_is_done_does_nothing(engine, texts):
    texts.write("p.yaml", "steps:\n  - read_parquet: in\n  - write_parquet: out\n")
    engine.run_ok(texts)
    expected = texts.digests("out")
    commits = texts.dataset("out").commit_lines()
    engine.run_ok(texts)
    assert texts.digests("out") == expected
    assert texts.dataset("out").commit_lines() == commits


@pytest.fixture
def long(workspace):
    """A run of some sixty tasks, and what it writes."""
    write_inputs(workspace, 9000)
    workspace.write("p.yaml", LONG)
    Engine().run_ok(workspace)
    expected = workspace.digests("out")
    tasks = len(workspace.dataset("out/parquet").commit_lines())
    shutil.rmtree(workspace.path / "out")
    return workspace, expected, tasks


def check_whole(workspace: Workspace, expected: dict[str, str], tasks: int) -> None:
    assert workspace.digests("out") == expected
    for folder in DATASETS:
        assert workspace.dataset(folder).leftovers() == []
    commits: dict[tuple[int, int], dict[str, Any]] = {}
    for line in workspace.dataset("out/parquet").commit_lines():
        commit = json.loads(line.split(b" ", 1)[1])
        before = commits.get((commit["s"], commit["p"]))
        # What an engine exchanged in its memory went with it, and only that is done again.
        assert before is None or not any(output.get("f") for output in before["out"]), "a task was committed twice"
        commits[commit["s"], commit["p"]] = commit
    assert len(commits) == tasks, "a task was not committed"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_driver_that_ends_early(engine, long, number):
    """Killed, interrupted or terminated: nothing goes on running, and the same command goes on where it was."""
    workspace, expected, tasks = long
    driver = engine.start(workspace)
    wait_for_commits(workspace, "out/parquet", 5, driver)
    if engine.is_remote:
        driver.signal(signal.SIGSTOP)  # or it may have ended before the look
        assert engine.left(), "what is looked for below is there now"
        driver.signal(signal.SIGCONT)
    driver.signal(number)
    finished = driver.finish()
    assert finished.exit_code != 0, str(finished)
    if number == signal.SIGINT:
        assert "Traceback" not in finished.stderr, str(finished)
    lines = workspace.dataset("out/parquet").commit_lines()
    wait_until_nothing_is_left(engine)
    engine.run_ok(workspace)
    check_whole(workspace, expected, tasks)
    assert workspace.dataset("out/parquet").commit_lines()[: len(lines)] == lines, "a committed task was done again"


def wait_until_nothing_is_left(engine: Engine) -> None:
    from clusters.hosts import wait_for

    wait_for(f"the end of what runs: {engine.left()}", lambda: not engine.left(), 30)


def test_an_engine_takes_over_from_another(engine, long):
    """A run that one engine began, another ends: the plan decides what, engines when and where."""
    workspace, expected, tasks = long
    driver = Engine().start(workspace)
    wait_for_commits(workspace, "out/parquet", 5, driver)
    driver.signal(signal.SIGKILL)
    driver.finish()
    engine.run_ok(workspace)
    check_whole(workspace, expected, tasks)
    shutil.rmtree(workspace.path / "out")
    driver = engine.start(workspace)
    wait_for_commits(workspace, "out/parquet", 5, driver)
    driver.signal(signal.SIGKILL)
    driver.finish()
    wait_until_nothing_is_left(engine)
    Engine().run_ok(workspace)
    check_whole(workspace, expected, tasks)


def test_a_function_of_the_users_module_that_fails(engine, texts):
    texts.write("functions.py", FUNCTIONS + "\n\ndef broken(batch):\n    return {'id': batch['nowhere']}\n")
    texts.write(
        "p.yaml",
        "steps:\n  - read_parquet: {path: in, rows_per_partition: 200}\n"
        '  - map_batches: {fn: "functions:broken", schema: "id: int64"}\n    name: mine\n  - write_parquet: out\n',
    )
    finished = engine.run_bad(texts)
    assert "'mine'" in finished.stderr
    assert "nowhere" in finished.stderr
