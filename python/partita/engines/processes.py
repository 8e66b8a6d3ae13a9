"""The engine of worker processes on this machine: the smallest engine, and the one that tests of the driver use.

Budget and threads are shared out: `--memory` and `--threads` are of all workers together.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

from .._native import native
from ..errors import PartitaError, RunEnvironmentError, UserError
from .contract import Ended, Event, Lost, Setup, Submission

_PR_SET_PDEATHSIG = 1
_MOST_STARTS = 8  # of each worker's place: one that dies again and again is not started again


@dataclass
class _Process:
    popen: subprocess.Popen[bytes]
    pipe: connection.Connection
    running: int | None = None  # the key
    ready: bool = False
    knows: set[int] = field(default_factory=set)
    asked: bool = False  # what is under way
    under_way: str = "[]"


class Processes:
    name = "processes"

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Process] = []
        self._descriptions: dict[int, bytes] = {}
        self._tasks: dict[int, Submission] = {}
        self._starts = 0
        self._setup: Setup | None = None

    def keep_connection(self) -> None:
        raise UserError("worker processes keep no rows", hint="use the engine ray, dask or local")

    def open(self, setup: Setup) -> None:
        options = dict(native.resolve_options(setup["options"]))
        threads, memory = max(1, int(options["threads"]) // self._count), int(options["memory"]) // self._count
        kept = [pair for pair in setup["options"] if pair[0] not in ("memory", "threads")]
        pairs = [*kept, ("memory", str(memory)), ("threads", str(threads))]
        self._setup = setup.copy()
        self._setup["options"] = pairs
        for _ in range(self._count):
            self._launch()
        for worker in self._workers:
            self._receive(worker)

    def slots(self) -> int:
        return sum(worker.ready for worker in self._workers)

    def share(self, number: int, description: bytes) -> None:
        self._descriptions[number] = description

    def submit(self, submission: Submission) -> None:
        worker = next(worker for worker in self._workers if worker.ready and worker.running is None)
        news = {x: self._descriptions[x] for x in submission.exchanges if x not in worker.knows}
        worker.knows.update(news)
        worker.running = submission.key
        self._tasks[submission.key] = submission
        with contextlib.suppress(OSError):  # it died: wait() tells
            worker.pipe.send(("run", news, submission.tasks))

    def cancel(self, key: int) -> None:
        for worker in self._workers:
            if worker.running == key:
                with contextlib.suppress(OSError):
                    worker.pipe.send(("cancel", {}, self._tasks[key].tasks))

    def wait(self, seconds: float) -> list[Event]:
        ready = connection.wait([worker.pipe for worker in self._workers], seconds)
        return [event for worker in list(self._workers) if worker.pipe in ready for event in self._receive(worker)]

    def under_way(self) -> list[str]:
        for worker in self._workers:
            if worker.ready and not worker.asked:
                with contextlib.suppress(OSError):
                    worker.pipe.send(("look", {}, ()))
                    worker.asked = True
        return [worker.under_way for worker in self._workers]

    def close(self) -> None:
        for worker in self._workers:
            worker.popen.kill()
            worker.pipe.close()
        for worker in self._workers:
            worker.popen.wait()
        self._workers.clear()

    def _launch(self) -> None:
        self._starts += 1
        ours, theirs = socket.socketpair()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with theirs:
            popen = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": paths},
            )
        worker = _Process(popen, connection.Connection(ours.detach()))
        self._workers.append(worker)
        worker.pipe.send(self._setup)

    def _receive(self, worker: _Process) -> list[Event]:
        try:
            message: Any = worker.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._died(worker)
        if message is None:
            worker.ready = True
            return []
        if isinstance(message, PartitaError):
            raise message
        if isinstance(message, tuple):
            worker.asked, (worker.under_way,) = False, message
            return []
        key, worker.running = worker.running, None
        if key is None:
            return []
        del self._tasks[key]
        return [Lost(key, message)] if isinstance(message, str) else [Ended(key, message)]

    def _died(self, worker: _Process) -> list[Event]:
        code = worker.popen.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not worker.ready:
            raise RunEnvironmentError(f"a worker process did not start ({how})", hint="its own words are above")
        self._workers.remove(worker)
        worker.pipe.close()
        if self._starts < _MOST_STARTS * self._count:
            self._launch()
        return [] if worker.running is None else [Lost(worker.running, f"its worker process died ({how})")]


def make(name: str, address: str) -> Processes:
    """`processes`: one for each two processors; `processes:4`: four."""
    if address and not (address.isdecimal() and 1 <= int(address) <= 512):
        raise UserError(f"engine processes: '{address}' is no number of processes", hint="use processes:4")
    threads = int(dict(native.resolve_options([]))["threads"])
    return Processes(int(address) if address else max(1, threads // 2))


def _serve(fd: int, parent: int) -> None:
    """A worker process: executes what comes through the socket, dies with the driver."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    from .worker import Worker

    pipe = connection.Connection(fd)
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending, contextlib.suppress(OSError):
            pipe.send(message)

    def run(tasks: Any) -> None:
        try:
            send(worker.run(tasks))
        except Exception as error:
            send(f"its worker failed: {error}")

    try:
        worker = Worker(pipe.recv(), "127.0.0.1")
    except PartitaError as error:
        return send(error)
    send(None)
    while True:
        try:
            action, news, tasks = pipe.recv()
        except EOFError:
            os._exit(0)
        for number, description in news.items():
            worker.add_exchange(number, description)
        if action == "look":
            send((worker.under_way(),))
        elif action == "cancel":
            worker.cancel(tasks)
        else:
            threading.Thread(target=run, args=(tasks,), daemon=True).start()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
