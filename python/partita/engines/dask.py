"""The engine of Dask clusters: one worker in each of Dask's, put there by a plugin; submissions are futures.

Addresses: `dask` takes the client that the program has, or the scheduler that Dask's configuration names
(`DASK_SCHEDULER_ADDRESS`); `dask://host:8786`, `dask:tls://host:8786` and the like name a scheduler. Whatever made the
cluster (dask-jobqueue, dask-kubernetes, a LocalCluster) is no matter. Annotations are followed: `resources`, `workers`,
`priority`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import secrets
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import dask
import distributed
from distributed import Client, Future, KilledWorker, get_worker
from distributed.comm import get_address_host_port
from distributed.protocol.pickle import dumps

from ..errors import RunEnvironmentError, UserError
from . import dask_plugins
from .contract import Ended, Event, Lost, Setup, Submission, TaskId, by_task, first_line, look_seconds, patience
from .dask_plugins import RunPlugin, SweepPlugin

REACH_SECONDS = 15.0  # for the scheduler to answer
OPEN_SECONDS = 60.0  # for the first of its workers
CLOSE_SECONDS = 15.0  # for rows that are handed over to be apart from what they were made with
LEAVE_SECONDS = 5.0  # for the workers to give up what they hold
GATHER_SECONDS = 10.0  # a worker that dies with results is waited for elsewhere
PORT = 8786

# The plugins are shipped with their code, so that a worker or a scheduler without the package can say what it lacks.
cloudpickle.register_pickle_by_value(dask_plugins)


@dataclass
class _Worker:
    """One that is ready, and the submissions that were given to it."""

    slots: int
    running: set[int] = field(default_factory=set)
    under_way: str = "[]"


@dataclass
class _Running:
    submission: Submission
    future: Future
    address: str | None  # where it was sent; None: where Dask likes
    whole: Future | None = None  # reports and tables, where rows are handed over; `future` is of the reports


class Dask:
    name = "dask"

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Any = None
        self._own = False  # ours to close
        self._run = f"partita-{secrets.token_hex(6)}"
        self._workers: dict[str, _Worker] = {}
        self._problems: dict[str, str] = {}
        self._running: dict[int, _Running] = {}
        self._descriptions: dict[int, Future] = {}
        self._news: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._annotations: dict[str, Any] = {}
        self._rows: list[Future] = []  # handed over, and perhaps not yet apart from what they were made with

    def keep_connection(self) -> None:
        if self._address:
            raise UserError(
                "rows are handed over to the program's own client", hint="make a distributed.Client; engine='dask'"
            )

    def open(self, setup: Setup) -> None:
        self._annotations = dict(dask.get_annotations())
        if isinstance(wanted := self._annotations.get("workers"), str):
            self._annotations["workers"] = [wanted]
        self._connect()
        self._client.subscribe_topic(self._run, self._hear)
        self._client.register_plugin(SweepPlugin(self._run, self._client.id), name=self._run)
        paths = [os.path.abspath(path) for path in sys.path]  # "" is the folder the driver is in
        seconds = look_seconds(len(self._ask(self._client.scheduler.ncores(), REACH_SECONDS)))
        plugin = RunPlugin(self._run, dict(setup), paths, seconds)
        # Not waited for: workers tell themselves when they are ready, and one that is lost would hold the others up.
        registered = self._later(
            self._client.scheduler.register_worker_plugin(plugin=dumps(plugin), name=self._run, idempotent=False)
        )
        self._greet(registered)

    def slots(self) -> int:
        self._listen()
        ready = sum(worker.slots for worker in self._workers.values())
        if not self._is_adaptive():
            return ready
        # An adaptive cluster grows when there is more to do than it has workers for, and it may begin with none.
        return max(1, 2 * ready)

    def share(self, number: int, description: bytes) -> None:
        # A task, not scattered data: when the worker that holds it dies, Dask makes it again.
        self._descriptions[number] = self._client.submit(
            _constant, description, key=(f"exchange-{self._run}", number), pure=False
        )

    def submit(self, submission: Submission) -> None:
        address, wanted = self._choose(submission), self._annotations.get("workers")
        future = self._client.submit(
            _run_tasks,
            self._run,
            submission.key,
            submission.tasks,
            submission.exchanges,
            submission.outputs,
            *(self._descriptions[x] for x in submission.exchanges),
            key=(f"{submission.name}-{self._run}", submission.key),
            pure=False,
            retries=0,
            # Where that worker is lost, Dask gives the task to another one: of those that the user allows.
            workers=wanted or ([address] if address else None),
            allow_other_workers=wanted is None and address is not None,
            resources=self._annotations.get("resources"),
            priority=self._annotations.get("priority", 0),
        )
        whole = None
        if submission.outputs:  # tables stay where they are made
            whole, future = future, self._client.submit(_part_of, future, 0, pure=False)
        self._running[submission.key] = _Running(submission, future, address, whole)
        if address:
            self._workers[address].running.add(submission.key)
        key = submission.key
        future.add_done_callback(lambda _: self._done.put(key))

    def cancel(self, key: int) -> None:
        running = self._running.get(key)
        if running is not None:  # its worker tells how it ended
            where = [running.address] if running.address else None
            told = self._client.run(_cancel_tasks, self._run, key, workers=where, on_error="ignore", asynchronous=True)
            self._later(_quietly(told))

    def wait(self, seconds: float) -> list[Event]:
        self._listen()
        if self._client.status != "running":
            raise RunEnvironmentError(
                f"the Dask scheduler at {self._address} is gone", hint="the same command resumes on another cluster"
            )
        keys: list[int] = []
        with contextlib.suppress(queue.Empty):
            keys.append(self._done.get(timeout=seconds))
            while True:
                keys.append(self._done.get_nowait())
        return self._end([key for key in keys if key in self._running])

    def under_way(self) -> list[str]:
        return [worker.under_way for worker in self._workers.values()]

    def close(self) -> None:
        if self._client is None:
            return
        if self._rows:  # the reports said that they are there
            with contextlib.suppress(Exception):
                distributed.wait(self._rows, timeout=CLOSE_SECONDS)
            self._rows.clear()
        with contextlib.suppress(Exception):
            self._client.cancel([running.future for running in self._running.values()], force=True)
        self._running.clear()
        self._descriptions.clear()
        # A slow worker is not waited for long: the client goes on with it, or SweepPlugin when the client is gone.
        with contextlib.suppress(Exception):
            self._later(self._leave()).result(LEAVE_SECONDS)
        with contextlib.suppress(Exception):
            self._client.unsubscribe_topic(self._run)
        if self._own:
            self._client.close(timeout=CLOSE_SECONDS)

    # -- the cluster ----

    def _connect(self) -> None:
        if not self._address:
            with contextlib.suppress(ValueError):  # there is none
                self._client = distributed.default_client()
                self._address = self._client.scheduler.address
                return
        address = self._address or dask.config.get("scheduler-address", None)
        if not address:
            raise UserError(
                "the engine dask was given no cluster",
                hint="name its scheduler: dask://host:8786; or make a distributed.Client before",
            )
        self._own = True
        self._address = address
        try:
            # Asked first: a client that never was connected cannot be closed quietly.
            host, port = get_address_host_port(address)
            socket.create_connection((host, port), REACH_SECONDS).close()
            self._client = Client(address, timeout=REACH_SECONDS, set_as_default=False, name="partita")
        except (OSError, ValueError) as error:
            raise RunEnvironmentError(
                f"the Dask scheduler at {address} cannot be reached: {first_line(error)}",
                hint="check the address; `dask scheduler` prints it when it starts",
            ) from None

    async def _leave(self) -> None:
        scheduler = self._client.scheduler
        for remove in (scheduler.unregister_worker_plugin, scheduler.unregister_scheduler_plugin):
            with contextlib.suppress(Exception):
                await remove(name=self._run)

    def _is_adaptive(self) -> bool:
        return getattr(self._client.cluster, "_adaptive", None) is not None

    def _greet(self, registered: concurrent.futures.Future[Any]) -> None:
        """Waits for the workers that are there; one that refuses to work ends the run before it begins."""
        began = time.monotonic()
        first: float | None = None  # when a worker was ready
        while True:
            known = set(self._ask(self._client.scheduler.ncores(), REACH_SECONDS))
            # Asked for: what was said before the scheduler knew of the subscription was not sent.
            for _, news in self._ask(self._client.scheduler.events(topic=self._run), REACH_SECONDS):
                self._take(news)
            if self._problems:
                address, problem = next(iter(self._problems.items()))
                raise RunEnvironmentError(f"the Dask worker at {address}: {problem}")
            if (known and known <= self._workers.keys()) or (not known and self._is_adaptive()):
                return
            now = time.monotonic()
            if first is None and self._workers:
                first = now
            if first is not None and now > first + patience(first - began):
                return  # the others come when they can
            if not known and now > began + REACH_SECONDS:
                raise RunEnvironmentError(f"the Dask cluster at {self._address} has no workers", hint="start some")
            if now > began + OPEN_SECONDS:
                error = registered.exception() if registered.done() else None
                raise RunEnvironmentError(
                    f"no worker of the Dask cluster at {self._address} was ready within {OPEN_SECONDS:.0f} seconds"
                    + (f": {first_line(error)}" if error else ""),
                    hint="the workers' logs tell why",
                )
            time.sleep(0.02)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Of the client's thread."""
        self._news.put(event[1])

    def _listen(self) -> None:
        """What plugins said: workers that became ready, that cannot work, that left."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._news.get_nowait())

    def _take(self, news: dict[str, Any]) -> None:
        address, wanted = news["worker"], self._annotations.get("workers")
        if news["what"] == "left":
            self._problems.pop(address, None)
            if worker := self._workers.pop(address, None):
                for key in worker.running:
                    self._running[key].address = None  # Dask gives it to another
        elif news["what"] == "under way":
            if worker := self._workers.get(address):
                worker.under_way = news["text"]
        elif news["what"] == "problem":
            self._problems[address] = news["text"]
        elif not wanted or address in wanted or news["name"] in wanted:
            self._workers.setdefault(address, _Worker(news["slots"]))  # said twice while the run opens

    def _choose(self, submission: Submission) -> str | None:
        """The worker with the most free slots; of a copy another than the original's."""
        original = self._running.get(submission.copy_of) if submission.copy_of is not None else None
        addresses: Iterable[str] = [a for a in self._workers if original is None or a != original.address]
        return max(
            addresses or self._workers,
            key=lambda a: self._workers[a].slots - len(self._workers[a].running),
            default=None,
        )

    def _later(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Runs it in the client's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)

    def _ask(self, coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """Its result; a TimeoutError when it takes longer."""
        asked = self._later(coroutine)
        try:
            return asked.result(seconds)
        except TimeoutError:
            asked.cancel()
            raise

    # -- ends ----

    def _end(self, keys: list[int]) -> list[Event]:
        finished = [key for key in keys if self._running[key].future.status == "finished"]
        reports = self._gather(finished)
        events: list[Event] = []
        for key in keys:
            running = self._running[key]
            if key in finished and key not in reports:
                self._done.put(key)  # later: its worker died with them, and Dask runs it again
                continue
            del self._running[key]
            rows: list[Any] = []
            if key in reports and running.whole is not None:
                count = len(reports[key]) * len(running.submission.outputs)
                rows = self._client.map(_part_of, [running.whole] * count, range(1, count + 1), pure=False)
                self._rows.extend(rows)
            if running.address and running.address in self._workers:
                self._workers[running.address].running.discard(key)
            if key in reports:
                events.append(Ended(key, reports[key], by_task(running.submission, rows)))
            else:
                events.append(_lost(key, running.future))
        return events

    def _gather(self, keys: list[int]) -> dict[int, list[bytes]]:
        if not keys:
            return {}
        futures = [self._running[key].future for key in keys]
        try:
            found = self._ask(self._client.gather(futures, errors="skip", asynchronous=True), GATHER_SECONDS)
        except (TimeoutError, OSError):
            return {}
        if len(found) < len(keys):  # some were lost meanwhile; which, `skip` does not tell
            return {} if len(keys) == 1 else {k: v for key in keys for k, v in self._gather([key]).items()}
        return dict(zip(keys, found, strict=True))


def make(name: str, address: str) -> Dask:
    """`dask`, `dask://host:8786`, `dask:tls://host:8786`."""
    if address.startswith("//"):
        host = address.removeprefix("//").rstrip("/")
        address = "" if not host else f"tcp://{host}" if ":" in host else f"tcp://{host}:{PORT}"
    return Dask(address)


# What runs in Dask's workers: both sides are of one build, so that names suffice.

_adding = threading.Lock()


def _constant(value: bytes) -> bytes:
    return value


def _run_tasks(
    run: str,
    key: int,
    tasks: tuple[TaskId, ...],
    exchanges: tuple[int, ...],
    outputs: tuple[int, ...],
    *descriptions: bytes,
) -> list[Any]:
    """The reports; without those of tasks that were cancelled before they began.

    With `outputs` a list of them and of tables: of each task, by output.
    """
    plugin: Any = get_worker().plugins.get(run)
    if plugin is None:  # Dask makes again what a lost worker held
        raise RuntimeError("these rows were on a worker that is lost, and the run that made them has ended")
    worker = plugin.wait()
    with _adding:
        for number, description in zip(exchanges, descriptions, strict=True):
            if number not in plugin.known:
                worker.add_exchange(number, description)
                plugin.known.add(number)
    reports: list[bytes] = []
    plugin.running[key] = tasks
    try:
        for task in tasks:
            if key in plugin.cancelled:
                break
            reports.extend(worker.run([task]))
    finally:
        del plugin.running[key]
    if outputs:
        return [reports, *(worker.take(task, o) for task in tasks[: len(reports)] for o in outputs)]
    return reports


def _part_of(whole: list[Any], index: int) -> Any:
    return whole[index]


def _cancel_tasks(run: str, key: int, dask_worker: Any = None) -> None:
    plugin = dask_worker.plugins.get(run)
    if plugin is not None and plugin.worker is not None:
        plugin.cancelled.add(key)
        plugin.worker.cancel(plugin.running.get(key, ()))


async def _quietly(coroutine: Any) -> None:
    with contextlib.suppress(Exception):
        await coroutine


def _lost(key: int, future: Future) -> Lost:
    if future.status != "error":
        return Lost(key, f"Dask gave it up ({future.status})")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Lost(
            key,
            f"it killed the workers that ran it, the last at {error.last_worker.address}; do they need more memory?",
            retriable=False,
        )
    return Lost(key, first_line(error))
