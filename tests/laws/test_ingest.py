"""Training ingest: a killed reader goes on from its last state, inside its budget, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from binary import HANG_SECONDS, SCALE, binary_path, left_in_shared_memory
from kernel_limit import kernel_limit

MIB = 1 << 20
PACKAGE = Path(os.environ.get("PARTITA_PYTHON", binary_path().parent.parent / "python"))

# Writes down each batch before it saves the state behind it, as a training loop that saves each step would.
READER = """
import json, os, sys
import partita as pt

folder, ranks, batch_size, ahead = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
shards = pt.read_parquet("in").select("id").streaming_split(
    ranks, equal=False, seed=6, chunk_bytes="4KiB", window_bytes="32KiB", memory="64MiB")
iterators = [shard.iter_batches(batch_size, prefetch_batches=ahead) for shard in shards]
if os.path.exists("state.json"):
    for iterator in iterators:
        iterator.load_state_dict(json.load(open("state.json")))
log = open("log.txt", "a")
print("ready", flush=True)
while True:
    batches = [next(iterator, None) for iterator in iterators]
    if any(batch is None or len(batch["id"]) < batch_size for batch in batches):
        # The end of this leg: a rank has fewer rows left. What was taken in the last step does not count.
        break
    log.write(json.dumps([row for batch in batches for row in batch["id"].tolist()]) + "\\n")
    log.flush()
    with open("state.tmp", "w") as file:
        json.dump(iterators[0].state_dict(), file)
    os.replace("state.tmp", "state.json")
"""


@pytest.fixture
def python(tmp_path):
    if not (PACKAGE / "partita").exists():
        pytest.skip(f"{PACKAGE} has no Python package; PARTITA_PYTHON names another folder")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "TMPDIR": str(scratch), "PARTITA_THREADS": "2"}
    environment["PARTITA_SPILL_DIR"] = str(scratch)

    def start(code, *arguments, **given):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **given
        )

    return start


def logged(folder):
    if not (folder / "log.txt").exists():
        return []
    return [json.loads(line) for line in (folder / "log.txt").read_text().splitlines() if line.endswith("]")]


def test_kill_9_and_resume_on_other_ranks_loses_and_doubles_nothing(python, tmp_path):
    rows = 20_011
    pq.write_table(pa.table({"id": np.arange(rows)}), tmp_path / "in", row_group_size=300)
    r = random.Random(3)
    kept = []  # rows of the steps whose state was saved
    for life in range(int(8 * SCALE)):
        process = python(READER, "", r.randint(1, 8), r.randint(1, 60), r.randint(0, 3))
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        steps = len(logged(tmp_path)) + r.randint(1, 20)
        deadline = time.monotonic() + HANG_SECONDS
        while process.poll() is None and len(logged(tmp_path)) < steps:
            assert time.monotonic() < deadline
            time.sleep(r.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not (tmp_path / "state.json").exists():
            (tmp_path / "log.txt").unlink(missing_ok=True)
            continue
        # A step may be written down and its state not saved: it is read again, so only what the state says counts.
        state = json.loads((tmp_path / "state.json").read_text())
        taken = sum(leg["ranks"] * leg["rows"] for leg in state["legs"])
        kept = []
        for step in logged(tmp_path):
            if len(kept) + len(step) <= taken:
                kept += step
        assert len(kept) == taken, f"life {life}"
        (tmp_path / "log.txt").write_text("".join(json.dumps([row]) + "\n" for row in kept))
    assert len(set(kept)) == len(kept) > 0
    rest = python(
        "import json, partita as pt\n"
        "(shard,) = pt.read_parquet('in').select('id').streaming_split(\n"
        "    1, equal=False, seed=6, chunk_bytes='4KiB', window_bytes='32KiB')\n"
        "batches = shard.iter_batches(1000)\n"
        "batches.load_state_dict(json.load(open('state.json')))\n"
        "print(json.dumps([row for batch in batches for row in batch['id'].tolist()]))\n"
    )
    out, err = rest.communicate(timeout=HANG_SECONDS)
    assert rest.returncode == 0, err
    assert sorted(kept + json.loads(out)) == list(range(rows))


def test_the_budget_holds_under_a_kernel_limit(python, tmp_path):
    # Four times the budget and the slack together, in windows of half the budget.
    r = np.random.default_rng(1)
    schema = pa.schema({"id": pa.int64(), "pixels": pa.list_(pa.uint8(), 64 * 64 * 3)})
    with pq.ParquetWriter(tmp_path / "in", schema, compression="none") as writer:
        for group in range(64):
            pixels = pa.array(r.integers(0, 255, 1000 * 64 * 64 * 3, dtype=np.uint8))
            ids = pa.array(np.arange(group * 1000, group * 1000 + 1000))
            writer.write_table(pa.table([ids, pa.FixedSizeListArray.from_arrays(pixels, 64 * 64 * 3)], schema=schema))
    code = (
        "import partita as pt\n"
        "(shard,) = pt.read_parquet('in').streaming_split(1, seed=1, window_bytes='48MiB', memory='128MiB')\n"
        "seen = set()\n"
        "for batch in shard.iter_batches(128):\n"
        "    assert batch['pixels'].shape[1:] == (64 * 64 * 3,)\n"
        "    seen.update(batch['id'].tolist())\n"
        "assert len(seen) == 64_000\n"
    )
    with kernel_limit(128 * MIB + 256 * MIB) as limit:
        process = python(code, preexec_fn=limit.enter)
        _, err = process.communicate(timeout=HANG_SECONDS)
        assert limit.kills == 0
        assert process.returncode == 0, err


def test_a_window_that_does_not_fit_is_an_error_that_says_so(python, tmp_path):
    pq.write_table(pa.table({"text": ["x" * 1000 + str(i) for i in range(100_000)]}), tmp_path / "in")
    process = python(
        "import partita as pt\n"
        "(shard,) = pt.read_parquet('in').streaming_split(1, seed=1, window_bytes='1GiB', memory='32MiB')\n"
        "try:\n"
        "    next(shard.iter_batches(10))\n"
        "except pt.ResourceError as error:\n"
        "    print(error.step)\n"
    )
    out, err = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, out) == (0, "read_parquet\n"), err


@pytest.mark.parametrize("end", ["done", "early", "error", "interrupt", "kill"])
def test_nothing_is_left_behind(python, tmp_path, end):
    pq.write_table(pa.table({"id": np.arange(5000)}), tmp_path / "in", row_group_size=50)
    shared = set(os.listdir("/dev/shm"))
    process = python(
        "import os, sys, time, partita as pt\n"
        "(shard,) = pt.read_parquet('in').streaming_split(1, seed=1, chunk_bytes='1KiB', window_bytes='8KiB')\n"
        "batches = shard.iter_batches(10, prefetch_batches=2)\n"
        "next(batches)\n"
        "print('ready', flush=True)\n"
        "end = sys.argv[1]\n"
        "if end == 'done': list(batches)\n"
        "if end == 'error': raise SystemExit(3)\n"
        "if end in ('interrupt', 'kill'): time.sleep(60)\n",
        end,
    )
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    if end in ("interrupt", "kill"):
        process.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == {"done": 0, "early": 0, "error": 3, "interrupt": -signal.SIGINT, "kill": -9}[end]
    assert left_in_shared_memory(shared) == set()
    left = [str(path.relative_to(tmp_path)) for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    assert left == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "tmp"]
