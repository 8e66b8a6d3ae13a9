"""A worker: takes batches from its socket, runs the function, puts what it returns into shared memory."""

from __future__ import annotations

import atexit
import base64
import contextlib
import ctypes
import faulthandler
import gc
import io
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections import deque
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from . import errors
from .functions import Rows, load
from .server import LONGEST_MESSAGE

_ALIGNMENT = 64
_OPTIONS = pa.ipc.IpcWriteOptions(use_threads=False)


def work(driver: socket.socket) -> NoReturn:
    """Never returns: the process ends with its socket."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)  # workers share the pipe: a line is one write
    try:
        _Worker(driver).run()
    except _LeftError:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
    except BaseException:
        errors.print_own()
        code = 70
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


class _LeftError(Exception):
    """The driver wants no more of this worker."""


class _RefusedError(Exception):
    """The budget has no room for the result."""


class _Worker:
    def __init__(self, driver: socket.socket) -> None:
        self._driver = driver
        self._mapped: dict[int, mmap.mmap] = {}
        self._messages: deque[tuple[dict[str, Any], list[int]]] = deque()  # that came while another was waited for

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._driver.send(json.dumps(message).encode())
        except OSError:
            raise _LeftError from None

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            text, descriptors, _, _ = socket.recv_fds(self._driver, LONGEST_MESSAGE, 16)
        except OSError:
            raise _LeftError from None
        if not text:
            raise _LeftError
        return json.loads(text), descriptors

    def run(self) -> None:
        message, descriptors = self._receive()
        setup = json.loads(message["setup"])
        payload = b""
        if message["payload_bytes"]:
            with mmap.mmap(descriptors[0], message["payload_bytes"], prot=mmap.PROT_READ) as view:
                payload = bytes(view)
        os.close(descriptors[0])
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR2, file=descriptors[1], all_threads=True)
        if setup["sys_path"]:
            sys.path[:] = setup["sys_path"]
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(setup["schema"])))
            function = load(setup, payload, schema)
        except BaseException as error:
            self._say({"op": "failed", "text": errors.full_text(error)})
            return
        del payload
        gc.collect()
        self._say({"op": "ready", "private_bytes": _private_bytes()})
        if setup["memory"]:
            _fence(setup["memory"])
        while True:
            message, descriptors = self._messages.popleft() if self._messages else self._receive()
            if message["op"] == "exit":
                raise _LeftError
            self._batch(function, message, descriptors, keeps_going=setup["keeps_going"])

    # -- One batch ----

    def _batch(self, function: Any, message: dict[str, Any], descriptors: list[int], *, keeps_going: bool) -> None:
        for segment in message["drop"]:
            self._mapped.pop(segment, None)
        queue = deque(descriptors)
        source = self._map(message["in"], queue)
        target = self._map(message["out"], queue) if "out" in message else None
        own_references = sys.getrefcount(source)
        view = memoryview(source)[: message["bytes"]]
        answer: dict[str, Any]
        try:
            rows = self._call(function, view, message)
            answer = self._put(rows, target)
            del rows
        except _LeftError:
            raise
        except _RefusedError:
            answer = {"op": "refused"}
        except errors.BadRowsError as bad:
            texts = [errors.text(error, short=keeps_going) for _, error in bad.rows]
            shown = list(zip((row for row, _ in bad.rows), texts, strict=True))
            answer = {"op": "bad_rows", "rows": _that_fit(shown)}
            bad.clear()
        except (MemoryError, pa.ArrowMemoryError) as error:
            answer = {"op": "memory", "text": errors.text(error, short=keeps_going)}
            errors.forget(error)
        except BaseException as error:
            is_data = getattr(error, "kind", None) == "data"
            answer = {"op": "error", "text": errors.text(error, short=keeps_going), "data": is_data}
            errors.forget(error)
        kept = not _released(view, source, own_references)
        if kept:
            self._mapped.pop(message["in"]["seg"], None)  # whoever holds on to it has it mapped
        self._say({**answer, "id": message["id"], "kept": kept})

    def _call(self, function: Any, view: memoryview, message: dict[str, Any]) -> Rows:
        with pa.ipc.open_stream(pa.py_buffer(view)) as reader:
            batch = reader.read_next_batch()
        assert batch.num_rows == message["rows"]
        result: Rows = function(batch, view, message.get("groups", ()))
        return result

    def _put(self, rows: Rows, target: mmap.mmap | None) -> dict[str, Any]:
        if rows.batch is None:
            if rows.origins is None or len(rows.origins) == 0:
                return {"op": "done", "bytes": 0}
            size = 0
        elif rows.batch.num_rows == 0:
            return {"op": "done", "bytes": 0}
        else:
            measure = pa.MockOutputStream()
            _write(rows.batch, measure)
            size = measure.size()
        origins = None if rows.origins is None else np.ascontiguousarray(rows.origins, dtype=np.int32)
        origins_at = -(-size // _ALIGNMENT) * _ALIGNMENT
        total = size if origins is None else origins_at + origins.nbytes
        if target is None or len(target) < total:
            target = self._ask_for(total)
        if rows.batch is not None:
            _write(rows.batch, pa.FixedSizeBufferWriter(pa.py_buffer(memoryview(target)[:size])))
        answer = {"op": "done", "bytes": size}
        if origins is not None:
            np.frombuffer(target, dtype=np.int32, count=len(origins), offset=origins_at)[:] = origins
            answer.update(origins_at=origins_at, origins=len(origins))
        return answer

    def _ask_for(self, size: int) -> mmap.mmap:
        self._say({"op": "need", "bytes": size})
        while True:
            message, descriptors = self._receive()
            if message["op"] == "out":
                return self._map(message, deque(descriptors))
            if message["op"] == "refused":
                raise _RefusedError
            self._messages.append((message, descriptors))

    def _map(self, words: dict[str, Any], descriptors: deque[int]) -> mmap.mmap:
        if words["new"]:
            descriptor = descriptors.popleft()
            self._mapped[words["seg"]] = mmap.mmap(descriptor, words["size"])
            os.close(descriptor)
        return self._mapped[words["seg"]]


def _that_fit(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """As many as one message takes; the others fail again without them."""
    size = 0
    fit: list[tuple[int, str]] = []
    for row, text in rows:
        size += len(json.dumps(text)) + 32
        if fit and size > LONGEST_MESSAGE // 2:
            break
        fit.append((row, text))
    return fit


def _write(batch: pa.RecordBatch, sink: Any) -> None:
    with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)


def _released(view: memoryview, source: mmap.mmap, own_references: int) -> bool:
    """Whether nobody looks at the batch any more, so that its memory can be used for the next."""
    for attempt in range(2):
        if attempt == 1:
            gc.collect()
        try:
            view.release()  # Arrow's buffers are exports of the view
        except BufferError:
            continue
        # NumPy's arrays hold memoryviews of their own; these hold the mapping.
        if sys.getrefcount(source) - 1 <= own_references:  # one for the parameter
            return True
    return False


def _private_bytes() -> int:
    """Memory that this process alone has: what it shares with the fork server counts there."""
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) << 10
    return 0


def _fence(memory: int) -> None:
    with open("/proc/self/status") as file:
        used = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
    # Freed memory goes back at once, and few arenas are reserved: the fence counts what is mapped.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX
