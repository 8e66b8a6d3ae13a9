"""Functions that run in this process: threads that take batches from the engine and answer."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from . import batch, errors
from .functions import Function, load

if TYPE_CHECKING:
    from .._native import native


# Whether a function runs that somebody may debug: the terminal is theirs.
inline_now = False


def start(jobs: native.LocalJobs) -> None:
    """Starts the threads of a step. They end with the step, or when the function returns after that."""
    step = json.loads(jobs.setup)["step"]
    for number in range(jobs.threads):
        threading.Thread(target=_serve, args=(jobs,), name=f"{step}-{number}", daemon=True).start()


def _serve(jobs: native.LocalJobs) -> None:
    global inline_now
    setup = json.loads(jobs.setup)
    function: Function | None = None
    while (task := jobs.next()) is not None:
        try:
            if function is None:  # a thread that has nothing to do makes no object of a class
                schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(setup["schema"])))
                function = load(setup, jobs.payload, schema)
            inline_now = setup["inline"]
            answer = _answer(function, task, keeps_going=setup["keeps_going"])
        except BaseException as error:
            jobs.fail(errors.full_text(error))
            answer = {"op": "error", "text": errors.full_text(error)}
        inline_now = False
        task.finish(json.dumps(answer))


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
