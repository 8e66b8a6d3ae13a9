"""Python functions as steps under the laws: the same bytes whatever the workers and the budget; kills; nothing left."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from binary import SCALE, binary_path, is_killed
from test_budget import run_limited

FUNCTIONS = '''
import os
import numpy as np

def of_the_batch(batch):
    """Depends on how batches are cut: a wrong cut shows in the output."""
    v = batch["v"] - batch["v"].mean(axis=0)
    if (batch["id"] % 997 == 5).any():
        raise ValueError("five")
    return {"id": batch["id"], "v": v, "rows": np.full(len(v), len(v)), "text": batch["text"]}

def twice(row):
    for k in range(row["id"] % 3):
        yield {"id": row["id"], "k": k, "text": row["text"], "first": row["v"][0]}

def keep(row):
    return row["k"] == 0 or row["id"] % 2

def grow(batch):
    return {"blob": np.full((len(batch["id"]), 1 << 18), 7, np.uint8)}

def broken(batch):
    return batch["no such column"]

def uneven(batch):
    """Takes its time, another in each run: when workers start and end differs, and what they make does not."""
    import random, time
    time.sleep(random.choice([0, 0, 0.002, 0.01]) * float(os.environ.get("UNEVEN", "1")))
    open("pids/%d" % os.getpid(), "w").close()
    return {"id": batch["id"], "mean": np.full(len(batch["id"]), batch["v"].mean())}

class Dear:
    """Its making is dear: workers are forked from the one that made it."""

    def __init__(self):
        self.weights = np.ones(24 << 17)

    def __call__(self, batch):
        assert self.weights[7] == 1
        return uneven(batch)

def again(batch):
    open("pids/%d" % os.getpid(), "w").close()
    return {"id": batch["id"], "mean": batch["mean"] - batch["mean"].max()}

def slow(batch):
    import time
    time.sleep(0.01)
    open("pids/%d" % os.getpid(), "w").close()
    return {"id": batch["id"], "mean": np.full(len(batch["id"]), batch["v"].mean())}
'''

PIPELINE = """
parameters: {workers: {type: int, default: 2}}
options: {quarantine: out/bad}
steps:
  - read_parquet: {path: in, rows_per_partition: 3000}
  - filter: id % 7 <> 3
  - map_batches:
      fn: "functions:of_the_batch"
      batch_size: 100
      schema: "id: int64, v: fixed_size_list<float>[8], rows: int64, text: string"
      concurrency: "${workers}"
    on_error: quarantine
    name: batches
  - write_parquet: {path: out/batches, rows_per_file: 700}
  - flat_map: {fn: "functions:twice", schema: "id: int64, k: int64, text: string, first: float", concurrency: "${workers}"}
    input: batches
  - filter_rows: {fn: "functions:keep", batch_size: 64}
  - random_shuffle: {seed: 4}
  - write_jsonl: out/shuffled
"""

SLOW = """
steps:
  - read_parquet: {path: in, rows_per_partition: 1500}
  - map_batches: {fn: "functions:slow", batch_size: 100, schema: "id: int64, mean: double", retries: 100}
  - write_parquet: {path: out, rows_per_file: 500}
"""

UNEVEN = """
steps:
  - read_parquet: {path: in, rows_per_partition: 1500}
  - map_batches:
      fn: "functions:FIRST"
      batch_size: 40
      schema: "id: int64, mean: double"
      min_concurrency: LEAST
      concurrency: MOST
      retries: 100
      resources: {seat: 1}
  - map_batches: {fn: "functions:SECOND", batch_size: 70, schema: "id: int64, mean: double", concurrency: OTHERS, resources: {seat: 1}}
  - write_parquet: {path: out, rows_per_file: 500}
"""


def uneven(first, least, most, others, second="again"):
    text = UNEVEN.replace("FIRST", first).replace("SECOND", second)
    return text.replace("LEAST", str(least)).replace("MOST", str(most)).replace("OTHERS", str(others))


@pytest.fixture
def udf(workspace, monkeypatch):
    """A workspace with functions, and an environment in which workers find them."""
    package = binary_path().parent.parent / "python"
    if not (package / "partita").exists():
        pytest.skip("the Python package is not built beside the binary")
    monkeypatch.setenv("PARTITA_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", f"{package}:{workspace.path}")
    workspace.write("functions.py", FUNCTIONS)
    (workspace.path / "pids").mkdir()
    rows = 9000
    values = pa.array([float((i * 7919) % 1000) for i in range(rows * 8)], pa.float32())
    table = pa.table(
        {
            "id": range(rows),
            "v": pa.FixedSizeListArray.from_arrays(values, 8),
            "text": [None if i % 11 == 0 else f"text {i}" * (i % 4) for i in range(rows)],
        }
    )
    for part in range(3):
        workspace.write_table(f"in/{part}.parquet", table.slice(part * rows // 3, rows // 3), row_group_size=437)
    return workspace


def alive(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(pid)
    return found


def worker_pids(workspace) -> set[int]:
    return {int(path.name) for path in (workspace.path / "pids").iterdir()}


def assert_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 10
    while left := alive(pids):
        assert time.monotonic() < deadline, f"workers {left} are still there"
        time.sleep(0.01)


def test_bytes_are_the_same_for_all_workers_threads_and_budgets(udf):
    udf.write("p.yaml", PIPELINE)
    expected = None
    for workers, threads, memory in ((1, 1, "160MiB"), (2, 2, "512MiB"), (3, 1, "2GiB"), (4, 8, "512MiB")):
        udf.run_ok("p.yaml", threads=threads, memory=memory, set=f"workers={workers}")
        found = udf.digests("out")
        expected = expected or found
        assert found == expected, (workers, threads, memory)
        rows = udf.dataset("out/batches").rows()
        bad = udf.dataset("out/bad").manifest["num_rows"]
        assert bad == 9
        assert len(rows) == sum(1 for i in range(9000) if i % 7 != 3) - 9
        shutil.rmtree(udf.path / "out")


@pytest.mark.parametrize("fn", ["uneven", "Dear"])
def test_bytes_are_the_same_whatever_workers_came_and_went(udf, fn):
    """Steps take seats from each other: idle workers of one end for those of the other, never in the same order."""
    expected = None
    histories = set()
    r = random.Random(3)
    for least, most, others, seats, kills in (
        (1, 1, 1, 2, 0), (2, 2, 2, 4, 3), (0, 3, 2, 3, 0), (1, 4, 3, 5, 5),
    ):  # fmt: skip
        (udf.path / "pids").mkdir(exist_ok=True)
        udf.write("p.yaml", uneven(fn, least, most, others))
        given = {"threads": r.randint(1, 4), "memory": "512MiB", "resources": f"seat={seats}"}
        process = udf.start("p.yaml", options=given)
        while process.poll() is None:
            time.sleep(r.uniform(0.02, 0.1))
            pids = alive(worker_pids(udf))
            if kills > 0 and pids:
                os.kill(r.choice(sorted(pids)), signal.SIGTERM)
                kills -= 1
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr.decode()
        histories.add(len(worker_pids(udf)))
        found = udf.digests("out")
        expected = expected or found
        assert found == expected, (least, most, others, seats)
        shutil.rmtree(udf.path / "out")
        shutil.rmtree(udf.path / "pids")
    assert len(histories) > 2, "other numbers of workers came and went"


def marked(mark: str) -> set[int]:
    """Processes that have the mark in their environment: those that a program started, however deep."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def open_files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


@pytest.mark.parametrize("end", ["done", "error", "interrupt", "kill"])
@pytest.mark.parametrize("fn", ["uneven", "Dear"])
def test_nothing_is_left_behind(udf, fn, end):
    """No process, not even a dead one that nobody reaps; nothing in shared memory."""
    udf.write("p.yaml", uneven(fn, 2, 2, 2, second="broken" if end == "error" else "again"))
    mark = f"mark-{os.getpid()}-{fn}-{end}"
    env = {**os.environ, "MARK": mark, "UNEVEN": "1" if end in ("done", "error") else "30"}
    options = {"threads": 2, "memory": "512MiB", "resources": "seat=4"}
    process = udf.start("p.yaml", options=options, env=env)
    seen, shared = set(), set()
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        seen |= marked(mark)
        shared |= {path for pid in seen for path in open_files(pid) if path.startswith("/dev/shm/")}
        if end in ("interrupt", "kill") and len(worker_pids(udf)) >= 2:
            process.send_signal(signal.SIGINT if end == "interrupt" else signal.SIGKILL)
            break
        time.sleep(0.01)
    _, stderr = process.communicate(timeout=30)
    assert len(seen) >= 4, "the program, a base process, a fork server, a worker"
    if end == "kill":
        assert is_killed(process.returncode)
    else:
        assert process.returncode == {"done": 0, "error": 2, "interrupt": 130}[end], stderr.decode()
    while left := {pid for pid in seen if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < deadline, f"processes {left} are left"
        time.sleep(0.01)
    assert not marked(mark)
    assert not [path for path in shared if Path(path).exists()]


def test_kills_of_the_driver_lose_and_double_nothing_and_leave_no_process(udf):
    udf.write("p.yaml", SLOW)
    whole = udf.run_ok("p.yaml", threads=2, memory="256MiB")
    expected = udf.digests("out")
    shutil.rmtree(udf.path / "out")
    r = random.Random(5)
    for kill in range(max(4, int(6 * SCALE))):
        process = udf.start("p.yaml", options={"threads": 2, "memory": "256MiB"})
        end = signal.SIGKILL if kill % 3 else signal.SIGINT
        time.sleep(whole.seconds * r.uniform(0.3, 0.9))
        process.send_signal(end)
        process.communicate(timeout=30)
        assert end == signal.SIGINT or is_killed(process.returncode) or process.returncode == 0
        assert_gone(worker_pids(udf))
    udf.run_ok("p.yaml", threads=2, memory="256MiB")
    assert udf.digests("out") == expected
    assert not udf.dataset("out").leftovers()


def test_kills_of_workers_cost_their_batch(udf):
    udf.write("p.yaml", SLOW)
    udf.run_ok("p.yaml", threads=2, memory="256MiB")
    expected = udf.digests("out")
    shutil.rmtree(udf.path / "out")
    process = udf.start("p.yaml", options={"threads": 2, "memory": "256MiB"})
    r = random.Random(6)
    kills = 0
    while process.poll() is None:
        time.sleep(r.uniform(0.02, 0.1))
        for pid in alive(worker_pids(udf)):
            if kills < 8:
                os.kill(pid, r.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]))
                kills += 1
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr.decode()
    assert kills > 0
    assert udf.digests("out") == expected
    assert_gone(worker_pids(udf))


def test_much_more_than_the_budget_passes_through_functions(udf, capsys):
    """300 MiB made in workers, in all their processes within the kernel's limit."""
    udf.write(
        "p.yaml",
        """
steps:
  - range: 1200
  - map_batches: {fn: "functions:grow", batch_size: 16, schema: "blob: fixed_size_list<uint8>[262144]"}
  - write_parquet: {path: out, compression: none, dictionary: false, rows_per_file: 100}
""",
    )
    run_limited(udf, 192, capsys, threads=2)
    assert udf.dataset("out").manifest["num_rows"] == 1200


def test_a_plan_without_its_python_says_so(udf, monkeypatch):
    udf.write("p.yaml", SLOW)
    monkeypatch.setenv("PARTITA_PYTHON", str(udf.path / "no-python"))
    assert "no-python" in udf.run_bad("p.yaml", memory="256MiB").stderr
    monkeypatch.setenv("PARTITA_PYTHON", sys.executable)
    monkeypatch.delenv("PYTHONPATH")
    env = dict(os.environ)
    no_package = subprocess.run([sys.executable, "-c", "import partita"], capture_output=True, check=False, env=env)
    finished = udf.run_bad("p.yaml", memory="256MiB", env=env)
    if no_package.returncode != 0:
        assert "PARTITA_PYTHON" in finished.stderr


def test_an_error_in_a_named_function_says_where(udf):
    udf.write("p.yaml", SLOW.replace("functions:slow", "functions:broken"))
    stderr = udf.run_bad("p.yaml", memory="256MiB").stderr
    assert "functions.py" in stderr
    assert "map_batches" in stderr
    udf.write("p.yaml", SLOW.replace("functions:slow", "functions:missing"))
    assert "missing" in udf.run_bad("p.yaml", memory="256MiB", fresh=True).stderr
