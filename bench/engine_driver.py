"""What does the driver of an engine cost a task? Runs a plan of N tasks on an engine that does nothing and says it did.

PYTHONPATH=<build>/python .venv/bin/python bench/engine_driver.py TASKS [SLOTS]
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time

from partita.engines import driver
from partita.engines.contract import Ended, Event, Setup, Submission

import partita as pt

ROWS = 5


class Nothing:
    """Each task is told as done at once."""

    name = "nothing"

    def __init__(self, slots: int) -> None:
        self.most = slots
        self.waiting: list[Submission] = []
        self.submissions = 0
        self.described_bytes = 0

    def open(self, setup: Setup) -> None:
        pass

    def slots(self) -> int:
        return self.most

    def share(self, exchange: int, description: bytes) -> None:
        self.described_bytes += len(description)

    def submit(self, submission: Submission) -> None:
        self.waiting.append(submission)
        self.submissions += 1

    def cancel(self, key: int) -> None:
        pass

    def wait(self, seconds: float) -> list[Event]:
        ended, self.waiting = self.waiting, []
        return [Ended(s.key, [report(*task) for task in s.tasks]) for s in ended]

    def under_way(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


def report(stage: int, partition: int) -> bytes:
    outputs = [{"output": 0, "rows": ROWS, "bytes": 8 * ROWS, "files": []}]
    end = {"stage": stage, "partition": partition, "status": None, "outputs": outputs, "steps": [[ROWS, ROWS, 0, 0]]}
    counted = {"steps": [], "source_bytes_read": 0, "memory_peak": 0, "memory_limit": 0, "events": []}
    return json.dumps({"end": end, "counted": counted}).encode()


def main(tasks: int, slots: int) -> None:
    engine = Nothing(slots)
    driver.open_engine = lambda name: engine  # type: ignore[assignment]
    ds = pt.range(tasks, rows_per_partition=1).random_shuffle(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        memory, began = peak_kib(), time.process_time()
        result = ds.write_jsonl(folder + "/out", engine="processes")
        seconds = time.process_time() - began
    done = result.stats.tasks_done
    print(
        f"{done:,} tasks in {engine.submissions:,} submissions: {seconds:.2f} s of CPU, {seconds / done * 1e6:.1f} µs a task"
    )
    print(
        f"{(peak_kib() - memory) / 1024:.0f} MiB more than before; {engine.described_bytes:,} bytes tell of the exchange"
    )


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("100000", "64")[len(sys.argv) - 1 :])))
