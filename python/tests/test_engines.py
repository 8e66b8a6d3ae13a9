"""The driver that all engines share, with workers in this process that do what a test wants to go wrong.

And the engine of worker processes. All engines are judged together in tests/engines.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from partita.engines import driver
from partita.engines.contract import Ended, Event, Lost, Setup, Submission
from partita.engines.worker import Worker

import partita as pt


class Threads:
    """An engine whose workers are objects of this process."""

    name = "threads"

    def __init__(self, workers: int = 2, run: Callable[[Worker, Submission], Event] | None = None) -> None:
        self.count = workers
        self.workers: list[Worker] = []
        self.descriptions: dict[int, bytes] = {}
        self.submitted: list[Submission] = []
        self.running: dict[int, Worker] = {}
        self.events: queue.Queue[Event] = queue.Queue()
        self.closed = False
        self.run = run or self.honest

    @staticmethod
    def honest(worker: Worker, submission: Submission) -> Event:
        return Ended(submission.key, worker.run(submission.tasks))

    def open(self, setup: Setup) -> None:
        self.workers = [Worker(setup) for _ in range(self.count)]

    def slots(self) -> int:
        return len(self.workers)

    def share(self, exchange: int, description: bytes) -> None:
        assert exchange not in self.descriptions, "shared once"
        self.descriptions[exchange] = description

    def submit(self, submission: Submission) -> None:
        self.submitted.append(submission)
        busy = self.running.values()
        worker = next(worker for worker in self.workers if worker not in busy)
        for exchange in submission.exchanges:
            worker.add_exchange(exchange, self.descriptions[exchange])
        self.running[submission.key] = worker
        threading.Thread(target=self._work, args=(worker, submission), daemon=True).start()

    def _work(self, worker: Worker, submission: Submission) -> None:
        event = self.run(worker, submission)
        del self.running[submission.key]
        self.events.put(event)

    def cancel(self, key: int) -> None:
        if worker := self.running.get(key):
            worker.cancel(next(s.tasks for s in self.submitted if s.key == key))

    def wait(self, seconds: float) -> list[Event]:
        try:
            found = [self.events.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self.events.empty():
            found.append(self.events.get())
        return found

    def under_way(self) -> list[str]:
        return [worker.under_way() for worker in self.workers]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Threads], Threads]:
    """Makes an engine the one that runs named `ray` start."""

    def install(engine: Threads) -> Threads:
        monkeypatch.setattr(driver, "open_engine", lambda name: engine)
        return engine

    return install


@pytest.fixture
def ds() -> pt.Dataset:
    """Twelve partitions, sorted: two stages."""
    pt.range(1200).with_columns(k="id * 37 % 101").write_parquet("in", rows_per_file=100)
    return pt.read_parquet("in").sort("k")


def files(folder: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}


def test_engines_write_the_bytes_of_the_local_one(ds, use):
    engine = use(Threads(3))
    ds.write_parquet("out", engine="local")
    expected = files("out")
    result = ds.write_parquet("out", engine="ray", fresh=True)
    assert files("out") == expected
    assert engine.closed
    assert result.stats.tasks_done == result.stats.tasks_total == 13
    assert {step.name: step.rows_out for step in result.stats.steps}["write_parquet"] == 1200
    assert any(name.startswith("read_parquet > sort") for name in {s.name for s in engine.submitted})


def test_what_is_lost_runs_again(ds, use):
    lost: set[tuple[int, int]] = set()

    def run(worker: Worker, submission: Submission) -> Event:
        if submission.tasks[0] not in lost:
            lost.add(submission.tasks[0])
            return Lost(submission.key, "its worker is gone")
        return Threads.honest(worker, submission)

    use(Threads(2, run))
    result = ds.write_parquet("out", engine="ray")
    assert result.rows == 1200
    assert (0, 0) in lost
    assert pt.read_parquet("out").to_arrow().equals(ds.to_arrow())


def test_what_is_lost_again_and_again_fails_and_resumes(ds, use):
    def run(worker: Worker, submission: Submission) -> Event:
        if (0, 11) in submission.tasks:
            return Lost(submission.key, "its worker is gone")
        return Threads.honest(worker, submission)

    engine = use(Threads(2, run))
    with pytest.raises(pt.RunEnvironmentError, match=r"read_parquet > sort.*partition 11: its worker is gone"):
        ds.write_parquet("out", engine="ray", max_attempts=2)
    assert engine.closed
    assert ds.write_parquet("out").stats.tasks_resumed > 0


def test_a_straggler_gets_a_copy_on_another_worker_and_the_first_counts(ds, use, monkeypatch):
    monkeypatch.setattr(driver, "COPY_AFTER_SECONDS", 0.1)
    copied = threading.Event()
    ran_on: dict[int, Worker] = {}

    def run(worker: Worker, submission: Submission) -> Event:
        ran_on[submission.key] = worker
        if submission.copy_of is not None:
            assert ran_on[submission.copy_of] is not worker
            event = Threads.honest(worker, submission)
            copied.set()
            return event
        if (0, 5) in submission.tasks:
            assert copied.wait(30)
        return Threads.honest(worker, submission)

    engine = use(Threads(2, run))
    ds.write_parquet("out", engine="local")
    expected = files("out")
    ds.write_parquet("out", engine="ray", fresh=True)
    assert files("out") == expected
    assert any(s.copy_of is not None for s in engine.submitted)
    assert not list(Path("out/_partita").glob("tmp/*"))


def test_small_tasks_go_in_batches(use):
    pt.range(400).write_parquet("in", rows_per_file=1)
    engine = use(Threads(2))
    pt.read_parquet("in", rows_per_partition=1).write_parquet("out", engine="ray")
    tasks = [task for s in engine.submitted for task in s.tasks]
    assert len(tasks) == len(set(tasks)) == 400
    assert len(engine.submitted) < 200


def test_many_slots_take_larger_batches(use, monkeypatch):
    """So that an engine is asked for no more submissions a second than it can carry."""
    monkeypatch.setattr(driver, "SUBMISSIONS_A_SECOND", 0.25)  # two slots are many
    engine = use(Threads())
    assert pt.range(1000, rows_per_partition=1).write_jsonl("out", engine="ray").stats.tasks_done == 1000
    assert driver.BATCH_MOST < max(len(s.tasks) for s in engine.submitted) <= 8 * driver.BATCH_MOST


def test_workers_may_come_and_go(ds, use):
    late: list[Worker] = []

    def run(worker: Worker, submission: Submission) -> Event:
        if len(engine.submitted) == 2 and len(engine.workers) == 1:
            engine.workers.extend(late)
        return Threads.honest(worker, submission)

    class Growing(Threads):
        def open(self, setup: Setup) -> None:
            late.extend(Worker(setup) for _ in range(2))
            super().open(setup)

    engine = use(Growing(1, run))
    assert ds.write_parquet("out", engine="ray").rows == 1200
    assert len(engine.workers) == 3


def test_without_workers_a_run_ends_and_resumes(ds, use, monkeypatch):
    monkeypatch.setattr(driver, "NO_WORKER_SECONDS", 0.2)

    def run(worker: Worker, submission: Submission) -> Event:
        if len(engine.submitted) == 5:
            engine.workers.clear()
        return Threads.honest(worker, submission)

    engine = use(Threads(1, run))
    with pytest.raises(pt.RunEnvironmentError, match="has had no worker"):
        ds.write_parquet("out", engine="ray")
    assert ds.write_parquet("out").stats.tasks_resumed >= 5


def test_a_worker_of_another_build_is_refused_before_work_starts(ds, use, monkeypatch):
    real = driver.build()
    monkeypatch.setattr(driver, "build", lambda: {**real, "pyarrow": "1.0"})
    engine = use(Threads())
    with pytest.raises(pt.RunEnvironmentError, match=r"pyarrow .* here, 1\.0 on the driver"):
        ds.write_parquet("out", engine="ray")
    assert engine.closed
    assert not engine.submitted


def test_an_engine_that_breaks_is_an_error_of_the_environment(ds, use):
    class Broken(Threads):
        def wait(self, seconds: float) -> list[Event]:
            raise RuntimeError("the cluster hiccuped\nat length")

    engine = use(Broken())
    with pytest.raises(pt.RunEnvironmentError, match="engine threads failed: RuntimeError: the cluster hiccuped"):
        ds.write_parquet("out", engine="ray")
    assert engine.closed
    assert ds.write_parquet("out").rows == 1200, "the folder is free"


def test_an_interrupt_ends_workers_and_the_run_resumes(ds, use):
    class Interrupted(Threads):
        def wait(self, seconds: float) -> list[Event]:
            if len(self.submitted) > 4:
                raise KeyboardInterrupt
            return super().wait(seconds)

    engine = use(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        ds.write_parquet("out", engine="ray")
    assert engine.closed
    assert ds.write_parquet("out").stats.tasks_resumed > 0


def test_a_finished_run_asks_no_engine(ds, use):
    ds.write_parquet("out")
    engine = use(Threads())
    assert ds.write_parquet("out", engine="ray").was_complete
    assert not engine.workers
    assert not engine.closed


def test_rows_and_functions_of_this_process_reach_the_workers():
    ds = pt.from_pydict({"a": list(range(500))}).map_batches(lambda batch: {"b": batch["a"] * 3})
    ds.write_jsonl("out", engine="local")
    expected = files("out")
    ds.write_jsonl("out", engine="processes:2", fresh=True)
    assert files("out") == expected


def test_a_run_without_such_an_engine():
    with pytest.raises(pt.UserError, match="unknown engine 'spark'"):
        pt.range(3).write_jsonl("out", engine="spark")
    with pytest.raises(pt.UserError, match="no number of processes"):
        pt.range(3).write_jsonl("out", engine="processes:none")
    assert pt.range(3).write_jsonl("out").rows == 3


def workers_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"partita.engines.processes" in (entry / "cmdline").read_bytes():
                status = (entry / "status").read_text()
                if f"PPid:\t{parent}\n" in status:
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_killed_worker_processes_are_replaced(tmp_path):
    def slow(batch):
        time.sleep(0.05)
        return batch

    pt.range(1000).write_parquet("in", rows_per_file=50)
    ds = pt.read_parquet("in").map_batches(slow, batch_size=50).sort("id", descending=True)
    killed = threading.Event()

    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if list(Path("out/_partita/exchange-0").glob("*[0-9]")) and (pids := workers_of(os.getpid())):
                os.kill(pids[0], signal.SIGKILL)
                return killed.set()
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    result = ds.write_parquet("out", engine="processes:2")
    thread.join()
    assert killed.is_set()
    assert result.rows == 1000
    assert pt.read_parquet("out").to_arrow()["id"].to_pylist() == list(reversed(range(1000)))
    assert not workers_of(os.getpid())
