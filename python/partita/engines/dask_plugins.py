"""What a run puts into a Dask cluster, shipped with its code: a worker or a scheduler may not have the package.

So nothing of the package is imported here but where it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from typing import Any

from distributed import Scheduler, SchedulerPlugin, Worker, WorkerPlugin

MEMORY_SHARE = 0.6  # of a worker's memory limit: Dask's own data, and its first measures at 70 %, need the rest
READY_SECONDS = 60.0


class RunPlugin(WorkerPlugin):  # type: ignore[misc]
    """Opens a run's worker in each worker of Dask, those that join later too, and tells the driver how that went."""

    def __init__(self, run: str, setup: dict[str, Any], paths: list[str], look_seconds: float) -> None:
        self.run = run
        self.run_setup = setup
        self.paths = paths  # where the driver finds modules: functions that steps name, on shared storage
        self.look_seconds = look_seconds  # between words of what is under way

    async def setup(self, worker: Worker) -> None:
        self.worker: Any = None
        self.problem = ""
        self.known: set[int] = set()  # exchanges
        self.running: dict[int, Any] = {}  # tasks, by submission
        self.cancelled: set[int] = set()
        self.added: list[str] = []
        self.ready = threading.Event()
        try:
            self.worker = await asyncio.to_thread(self._open, worker)
            self._tell(worker, "ready", slots=min(worker.state.nthreads, self.worker.slots))
            self.telling = asyncio.ensure_future(self._tell_progress(worker))
        except ModuleNotFoundError as missing:
            self.problem = f"the package {missing.name} is not installed there"
        except Exception as error:  # it is the driver's to judge; this worker goes on with other work
            self.problem = str(error)
        finally:
            self.ready.set()
        if self.problem:
            self._tell(worker, "problem", text=self.problem)

    def _open(self, worker: Worker) -> Any:
        from partita._functions import set_runtime
        from partita.engines.worker import Worker as RunWorker

        self.added = [path for path in self.paths if path not in sys.path and os.path.isdir(path)]
        sys.path.extend(self.added)
        set_runtime()
        # What Dask says of the worker is weaker than what the user gave.
        options = list(self.run_setup["options"])
        given = {name for name, _ in options}
        if "threads" not in given:
            options.append(("threads", str(worker.state.nthreads)))
        limit_bytes = worker.memory_manager.memory_limit
        if "memory" not in given and limit_bytes:
            options.append(("memory", str(int(limit_bytes * MEMORY_SHARE))))
        host = worker.address.rpartition("//")[2].rpartition(":")[0].strip("[]")
        where = host if worker.address.startswith(("tcp:", "tls:")) else "127.0.0.1"  # else all are in one process
        return RunWorker({**self.run_setup, "options": options}, where)  # type: ignore[typeddict-item]

    def _tell(self, worker: Worker, what: str, **more: Any) -> None:
        with contextlib.suppress(Exception):
            worker.log_event(self.run, {"what": what, "worker": worker.address, "name": str(worker.name), **more})

    async def _tell_progress(self, worker: Worker) -> None:
        """Rows of tasks that run, while they change."""
        told = "[]"
        while True:
            await asyncio.sleep(self.look_seconds)
            held = self.worker
            if held is None:
                return
            if (text := held.under_way()) != told:
                told = text
                self._tell(worker, "under way", text=text)

    def wait(self) -> Any:
        """The run's worker, for a task that came before it was ready."""
        self.ready.wait(READY_SECONDS)
        if self.worker is None:
            raise RuntimeError(self.problem or "the worker was not ready in time")
        return self.worker

    async def teardown(self, worker: Worker) -> None:
        self.ready.set()
        self.problem = "the run has ended"
        for path in self.added:
            with contextlib.suppress(ValueError):
                sys.path.remove(path)
        self.cancelled.update(self.running)
        held, self.worker = self.worker, None
        if held is not None:
            await asyncio.to_thread(held.close, [task for tasks in self.running.values() for task in tasks])


class SweepPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Tells the driver which workers left; and ends the run's workers when the driver is gone without a word."""

    def __init__(self, run: str, client: str) -> None:
        self.run = run
        self.client = client
        self.name = run

    async def start(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any) -> None:
        scheduler.log_event(self.run, {"what": "left", "worker": worker})

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        if client == self.client:
            self.sweeping = asyncio.ensure_future(self._sweep())

    async def _sweep(self) -> None:
        with contextlib.suppress(Exception):
            await self.scheduler.unregister_worker_plugin(None, self.run)
        with contextlib.suppress(Exception):
            await self.scheduler.unregister_scheduler_plugin(self.run)
