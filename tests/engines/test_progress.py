"""Progress moves while a task runs, wherever it runs; what is counted in the end is what was written."""

import json
import subprocess
import sys

from binary import Workspace
from clusters.cluster import environment
from programs import ANSWER
from under_test import Engine

# One task of some seconds, in sixteen batches.
PROGRAM = (
    ANSWER
    + """
import sys, threading, time
import partita as pt

def slowly(batch):
    time.sleep(0.25)
    return batch

ds = pt.range(160, rows_per_partition=160).map_batches(slowly, batch_size=10, name="slow")
seen, over = set(), threading.Event()

def look():
    while not over.wait(0.1):
        try:
            steps = {step.name: step.rows_out for step in ds.stats().steps}
        except pt.UserError:  # not begun
            continue
        seen.add(steps.get("slow", 0))

looker = threading.Thread(target=look)
looker.start()
result = ds.write_jsonl("out", engine=sys.argv[1], progress="never")
over.set()
looker.join()
last = {step.name: [step.rows_in, step.rows_out] for step in result.stats.steps}
answer([sorted(seen), last])
"""
)


def run(engine: Engine, workspace: Workspace):
    workspace.write("program.py", PROGRAM)
    command = [sys.executable, "program.py", engine.address]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if engine.cluster is not None:
        process = engine.cluster.start(command, cwd=workspace.path, **pipes)
    else:
        process = subprocess.Popen(command, cwd=workspace.path, env=environment(), **pipes)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()
    return json.loads((workspace.path / "answer.json").read_text())


def test_rows_of_a_running_task_are_shown(driven, workspace):
    seen, last = run(driven, workspace)
    between = [rows for rows in seen if 0 < rows < 160]
    assert between, f"only {seen} was ever shown"
    assert max(seen) <= 160
    assert last["slow"] == [160, 160]
    assert last["range"][1] == 160
    assert last["write_jsonl"][0] == 160
