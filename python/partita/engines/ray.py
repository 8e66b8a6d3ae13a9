"""The engine of Ray clusters: one worker a node, an actor that holds the native module and the node's processors.

Addresses: `ray` finds the cluster as Ray does (`RAY_ADDRESS`, or one on this machine), `ray://host:6379` names
its head, `ray://host:10001` (or no port) goes through Ray Client. Where the program has called `ray.init`, that
connection is used: so runtime environments ship code.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from ..errors import PartitaError, RunEnvironmentError
from .contract import Ended, Event, Lost, Setup, Submission, TaskId, by_task, first_line, look_seconds, patience
from .ray_places import places

LOOK_SECONDS = 2.0  # between looks for nodes that joined
REACH_SECONDS = 10.0  # for the head to answer at all
OPEN_SECONDS = 30.0  # for the first worker, before a word is said; a busy cluster is waited for
MOST_STARTS = 8  # of a node's worker: one that dies again and again is not started again
CLIENT_PORT = 10001
# Ray Client's server gives a process for each client half a minute to start. On a busy machine that is too little, and
# waiting longer would not help: a process that was not reached by then ends.
CLIENT_TRIES = 5
MORE_THREADS = 8  # of an actor, beside one a processor: cancels, and tasks that wait for the network
SILENT_SECONDS = 15.0  # a worker that hears no ping for so long ends: its driver is dead, or cannot be reached


class NodeWorker:
    """The actor: a `worker.Worker`, made in `open` so that its error arrives as it is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._heard = time.monotonic()
        self._worker: Any = None

    def open(self, setup: Setup, cpus: int, memory_bytes: int) -> int:
        # What Ray says of the node is weaker than any option that a user gave.
        os.environ.setdefault("PARTITA_THREADS", str(cpus))
        if memory_bytes > 0:
            os.environ.setdefault("PARTITA_MEMORY", str(memory_bytes))
        from .worker import Worker

        self._worker = Worker(setup, str(ray.util.get_node_ip_address()))  # type: ignore[no-untyped-call]
        threading.Thread(target=self._watch, name="partita-watch", daemon=True).start()
        slots: int = self._worker.slots
        return slots

    def ping(self) -> str:
        """The driver lives; what is under way here."""
        self._heard = time.monotonic()
        return self._worker.under_way() if self._worker is not None else "[]"

    def _watch(self) -> None:
        """Ray ends the actors of a dead driver, but lets what they are at go on for half a minute and more."""
        while time.monotonic() - self._heard < SILENT_SECONDS:
            time.sleep(1)
        os._exit(1)

    def run(self, tasks: Sequence[TaskId], exchanges: dict[int, list[Any]], outputs: Sequence[int] = ()) -> Any:
        """The reports, or what went wrong. With `outputs` a tuple of them and of tables: of each task, by output."""
        reports = self._run(tasks, exchanges)
        if not outputs:
            return reports
        if isinstance(reports, str):
            return (reports, *[None] * (len(tasks) * len(outputs)))
        return (reports, *(self._worker.take(task, output) for task in tasks for output in outputs))

    def _run(self, tasks: Sequence[TaskId], exchanges: dict[int, list[Any]]) -> list[bytes] | str:
        try:
            with self._lock:
                for number, (reference,) in exchanges.items():
                    if number not in self._known:
                        self._worker.add_exchange(number, ray.get(reference))
                        self._known.add(number)
            reports: list[bytes] = self._worker.run(tasks)
            return reports
        except PartitaError as error:
            return f"its worker failed: {error}"

    def cancel(self, tasks: Sequence[TaskId]) -> None:
        self._worker.cancel(tasks)


@dataclass
class _Node:
    id: str
    address: str
    actor: Any
    opening: Any  # the reference to `open`'s result; None once it is there
    slots: int = 0
    running: set[int] = field(default_factory=set)
    ping: Any = None  # one that is not answered yet
    under_way: str = "[]"

    @property
    def free(self) -> int:
        return self.slots - len(self.running)


@dataclass
class _Running:
    submission: Submission
    node: _Node
    reference: Any
    rows: list[Any]  # references to tables, of each task by output


class Ray:
    name = "ray"

    def __init__(self, address: str) -> None:
        self._address = address
        self._connected = False  # by us
        self._setup: Any = None
        self._threads = 0  # of a worker, where the user said so
        self._gpus: list[tuple[float, int]] = []  # that functions want: see ray_places.gpus_for
        self._nodes: dict[str, _Node] = {}
        self._starts: dict[str, int] = {}
        self._running: dict[int, _Running] = {}
        self._descriptions: dict[int, Any] = {}
        self._looked = 0.0
        self._closing = threading.Event()
        self._pinger = threading.Thread(target=self._ping, name="partita-ping", daemon=True)

    def keep_connection(self) -> None:
        self._connect()

    def open(self, setup: Setup) -> None:
        self._connected = self._connect()
        self._setup = ray.put(setup)
        self._gpus = setup["gpus"]
        self._threads = int(dict(setup["options"]).get("threads", 0))
        self._pinger.start()
        self._look()
        if not self._nodes:
            what = "processors" + (" and the GPUs that the plan's functions ask for" if self._gpus else "")
            raise RunEnvironmentError(f"the Ray cluster at {self._address or 'hand'} has no node with {what}")
        self._wait_for_workers()

    def _wait_for_workers(self) -> None:
        """For all of them for a while, for one as long as the cluster has other work."""
        began = time.monotonic()
        first: float | None = None  # when a worker was ready
        warned = False
        while any(node.opening is not None for node in self._nodes.values()):
            self._greet(0.1, strict=True)
            seconds = time.monotonic() - began
            if self.slots() > 0:
                first = first or seconds
                if seconds > first + patience(first):
                    return
            elif seconds > OPEN_SECONDS and not warned:
                warned = True
                free = ray.available_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
                warnings.warn(
                    f"no node of the Ray cluster has started a worker for {seconds:.0f} seconds; "
                    f"{free:g} of its processors are free",
                    stacklevel=2,
                )
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._look()
        if self.slots() == 0:
            raise RunEnvironmentError("no worker started on the Ray cluster", hint="`ray status` tells more")

    def slots(self) -> int:
        return sum(node.slots for node in self._nodes.values())

    def share(self, number: int, description: bytes) -> None:
        self._descriptions[number] = ray.put(description)

    def submit(self, submission: Submission) -> None:
        original = self._running.get(submission.copy_of) if submission.copy_of is not None else None
        nodes = [node for node in self._nodes.values() if node.slots > 0]
        others = [node for node in nodes if original is None or node is not original.node] or nodes
        node = max(others, key=lambda node: node.free)
        exchanges = {x: [self._descriptions[x]] for x in submission.exchanges}
        # Results are the driver's: they outlive the worker that made them, in its node's store.
        count = 1 + len(submission.tasks) * len(submission.outputs)
        run = node.actor.run.options(name=submission.name, num_returns=count)
        made = run.remote(submission.tasks, exchanges, submission.outputs)
        reference, *rows = made if count > 1 else [made]
        node.running.add(submission.key)
        self._running[submission.key] = _Running(submission, node, reference, rows)

    def cancel(self, key: int) -> None:
        if running := self._running.get(key):
            running.node.actor.cancel.remote(running.submission.tasks)

    def wait(self, seconds: float) -> list[Event]:
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._look()
        self._greet(0.0, strict=False)
        if not self._running:
            time.sleep(seconds)
            return []
        keys = {running.reference: key for key, running in self._running.items()}
        ready, _ = ray.wait(list(keys), num_returns=len(keys), timeout=0)
        if not ready:
            ready, _ = ray.wait(list(keys), num_returns=1, timeout=seconds)
        return [event for reference in ready for event in self._end(keys[reference])]

    def _ping(self) -> None:
        """From a thread of its own: a commit may take long."""
        while not self._closing.wait(look_seconds(len(self._nodes))):
            for node in list(self._nodes.values()):
                with contextlib.suppress(RayError):
                    ping = node.actor.ping.remote()
                    if node.ping is None:
                        node.ping = ping

    def under_way(self) -> list[str]:
        asked = {node.ping: node for node in self._nodes.values() if node.ping is not None and node.slots > 0}
        if asked:
            answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
            for reference in answered:
                with contextlib.suppress(RayError):  # who lost it finds out elsewhere
                    asked[reference].ping, asked[reference].under_way = None, ray.get(reference)
        return [node.under_way for node in self._nodes.values()]

    def close(self) -> None:
        self._closing.set()
        if self._pinger.is_alive():
            self._pinger.join()
        for node in self._nodes.values():
            with contextlib.suppress(RayError):
                ray.kill(node.actor)
        self._nodes.clear()
        self._running.clear()
        self._descriptions.clear()
        self._setup = None
        if self._connected:
            ray.shutdown()

    def _connect(self) -> bool:
        """Unless the program has a connection; whether it had none."""
        if ray.is_initialized():
            return False
        host, _, port = self._address.rpartition(":")
        if host:
            try:
                socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
            except (OSError, ValueError) as error:
                raise RunEnvironmentError(
                    f"the Ray cluster at {self._address} cannot be reached: {error}",
                    hint="check the address; `ray status` on its head tells whether it runs",
                ) from None
        address = f"ray://{self._address}" if host and port == str(CLIENT_PORT) else self._address or "auto"
        try:
            _join(address)
        except (ConnectionError, RuntimeError, ImportError, ValueError) as error:
            raise RunEnvironmentError(
                f"the Ray cluster at {self._address or 'this machine'} cannot be joined: {error}",
                hint="name its head: ray://host:6379; driver and cluster must run the same versions of Ray and Python",
            ) from None
        return True

    def _look(self) -> None:
        """A worker for each place that has none."""
        self._looked = time.monotonic()
        for place in places(self._gpus):
            if place.id in self._nodes or self._starts.get(place.id, 0) >= MOST_STARTS:
                continue
            self._starts[place.id] = self._starts.get(place.id, 0) + 1
            cpus = min(place.cpus, self._threads or place.cpus)
            worker: Any = ray.remote(NodeWorker).options(
                num_cpus=cpus,
                num_gpus=place.gpus,
                max_concurrency=cpus + MORE_THREADS,
                scheduling_strategy=place.strategy,
            )
            actor = worker.remote()
            opening = actor.open.remote(self._setup, cpus, place.memory_bytes)
            self._nodes[place.id] = _Node(place.id, place.address, actor, opening)

    def _greet(self, seconds: float, *, strict: bool) -> None:
        """Takes in workers that are ready. `strict`: one that refuses to work ends the run."""
        opening = {node.opening: node for node in self._nodes.values() if node.opening is not None}
        if not opening:
            return
        ready, _ = ray.wait(list(opening), num_returns=len(opening), timeout=seconds)
        for reference in ready:
            node = opening[reference]
            node.opening = None
            try:
                node.slots = ray.get(reference)
                continue
            except PartitaError as error:
                failure = _as_raised(error)
            except RayError as error:
                told = _cannot_begin(node, error)
                if told is None:  # lost before it began: started again while the node lives
                    self._drop(node)
                    continue
                failure = told
            if strict:
                raise failure
            # It stays in `_nodes`, without slots.
            warnings.warn(f"the Ray node {node.address} is not used: {failure}", stacklevel=2)

    def _end(self, key: int) -> list[Event]:
        running = self._running.pop(key)
        running.node.running.discard(key)
        try:
            reports = ray.get(running.reference)
        except RayError as error:
            if isinstance(error, RayActorError):
                self._drop(running.node)
            return [Lost(key, f"the worker on node {running.node.address} was lost: {first_line(error)}")]
        if isinstance(reports, str):
            return [Lost(key, reports)]
        return [Ended(key, reports, by_task(running.submission, running.rows))]

    def _drop(self, node: _Node) -> None:
        if self._nodes.get(node.id) is node:
            del self._nodes[node.id]
            with contextlib.suppress(RayError):
                ray.kill(node.actor)


def _join(address: str) -> None:
    for left in reversed(range(CLIENT_TRIES if address.startswith("ray://") else 1)):
        try:
            ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
        except ConnectionAbortedError:
            if not left:
                raise
        else:
            return


def _as_raised(error: PartitaError) -> PartitaError:
    """Ray raises a class of its own with the worker's stack in its text; the cause is what the worker raised."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, PartitaError) else error


def _cannot_begin(node: _Node, error: RayError) -> PartitaError | None:
    """What will not be better the next time; None: its node or process died."""
    if "No module named 'partita" in str(error):
        return RunEnvironmentError(
            f"the Ray node {node.address} has no package partita",
            hint="install the driver's wheel there, or ship it: ray.init(runtime_env={'pip': […]}) before the run",
        )
    if isinstance(error, RayTaskError):
        return RunEnvironmentError(f"the worker on the Ray node {node.address} failed: {first_line(error.cause)}")
    return None


def make(name: str, address: str) -> Ray:
    address = address.removeprefix("//").rstrip("/")
    if address and ":" not in address:
        address = f"{address}:{CLIENT_PORT}"
    return Ray("" if address == "auto" else address)
