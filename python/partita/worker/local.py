"""Functions that run in this process: threads that take batches from the engine and answer."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from . import batch, errors
from .functions import Function, load

if TYPE_CHECKING:
    from .._native import native


# Whether a function runs that somebody may debug: the terminal is theirs.
inline_now = False

_STUCK_SECONDS = 5.0  # a batch that takes longer is told with its stack; again after twice the time
_LOOK_SECONDS = 0.5


@dataclass
class _Running:
    """A batch that a thread is at."""

    task: native.LocalTask
    started: float
    told_seconds: float = 0.0


def start(jobs: native.LocalJobs) -> None:
    """Starts the threads of a step. They end with the step, or when the function returns after that."""
    setup = json.loads(jobs.setup)
    running: dict[int, _Running] = {}  # by the thread's number
    for number in range(jobs.threads):
        name = f"{setup['step']}-{number}"
        threading.Thread(target=_serve, args=(jobs, running), name=name, daemon=True).start()
    if not setup["inline"]:  # a debugger may take as long as it likes
        name = f"{setup['step']}-watch"
        threading.Thread(target=_watch, args=(jobs, running), name=name, daemon=True).start()


def _watch(jobs: native.LocalJobs, running: dict[int, _Running]) -> None:
    while not jobs.closed:
        time.sleep(_LOOK_SECONDS)
        for thread in list(running):
            _look(thread, running)


def _look(thread: int, running: dict[int, _Running]) -> None:
    batch = running.get(thread)
    if batch is None:
        return
    seconds = time.monotonic() - batch.started
    frame = sys._current_frames().get(thread)
    if frame is not None and seconds > _STUCK_SECONDS and seconds > 2 * batch.told_seconds:
        batch.told_seconds = seconds
        batch.task.tell_stuck(errors.stack_text(frame))


def _serve(jobs: native.LocalJobs, running: dict[int, _Running]) -> None:
    global inline_now
    setup = json.loads(jobs.setup)
    function: Function | None = None
    idle_since = time.perf_counter_ns()
    while (task := jobs.next()) is not None:
        waiting_ns = time.perf_counter_ns() - idle_since
        try:
            if function is None:  # a thread that has nothing to do makes no object of a class
                schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(setup["schema"])))
                function = load(setup, jobs.payload, schema)
            inline_now = setup["inline"]
            running[threading.get_ident()] = _Running(task, time.monotonic())
            answer = _answer(function, task, keeps_going=setup["keeps_going"])
        except BaseException as error:
            jobs.fail(errors.full_text(error))
            answer = {"op": "error", "text": errors.full_text(error)}
        inline_now = False
        running.pop(threading.get_ident(), None)
        task.finish(json.dumps({**answer, "waiting_ns": waiting_ns}))
        idle_since = time.perf_counter_ns()


def _answer(function: Function, task: native.LocalTask, *, keeps_going: bool) -> dict[str, Any]:
    def space(size: int) -> memoryview:
        try:
            memory: Any = task.output(size)
        except MemoryError:
            raise
        except Exception:  # whatever the engine says: it keeps the reason
            raise batch.RefusedError from None
        return memoryview(memory)

    given: Any = task.input()
    return batch.run(function, memoryview(given), task.groups, space, keeps_going=keeps_going)
