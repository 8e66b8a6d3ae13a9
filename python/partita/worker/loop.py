"""A worker: takes batches from its socket, runs the function, puts what it returns into shared memory."""

from __future__ import annotations

import atexit
import base64
import contextlib
import faulthandler
import gc
import io
import json
import logging
import mmap
import os
import signal
import socket
import sys
import time
from collections import deque
from typing import Any, NoReturn

import pyarrow as pa

from . import batch, errors, infer, memory, server
from .batch import LONGEST_MESSAGE, LeftError
from .functions import Function, load

_DEAR_SECONDS = 0.2
_DEAR_BYTES = 16 << 20
_LEAST_FENCE = 256 << 20


def work(driver: socket.socket, function: Function | None = None) -> NoReturn:
    """Never returns: the process ends with its socket. `function`: where it is ready already."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)  # workers share the pipe: a line is one write
    try:
        made = _Worker(driver).run(function)
        server.serve_forks(driver, lambda given: work(socket.socket(fileno=given[0]), made))
    except LeftError:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
    except BaseException:
        errors.print_own()
        code = 70
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


class _Start:
    """What it cost to make the function."""

    def __init__(self) -> None:
        self._seconds, self._bytes = time.monotonic(), memory.private_bytes()

    def was_dear(self) -> bool:
        grown = memory.private_bytes() - self._bytes
        return time.monotonic() - self._seconds > _DEAR_SECONDS or grown > _DEAR_BYTES


def _open_files() -> set[tuple[str, str]]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found


def _may_fork(open_before: set[tuple[str, str]]) -> bool:
    """Whether what was made can be shared: no thread would be missing in a child, no file or connection be two's."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    return len(os.listdir("/proc/self/task")) == 1 and _open_files() <= open_before and not on_gpu


class _Worker:
    def __init__(self, driver: socket.socket) -> None:
        self._driver = driver
        self._mapped: dict[int, mmap.mmap] = {}
        self._growth = memory.Growth()
        self._idle_since = time.perf_counter_ns()
        self._messages: deque[tuple[dict[str, Any], list[int]]] = deque()  # that came while another was waited for

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._driver.send(json.dumps(message).encode())
        except OSError:
            raise LeftError from None

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            text, descriptors, _, _ = socket.recv_fds(self._driver, LONGEST_MESSAGE, 16)
        except OSError:
            raise LeftError from None
        if not text:
            raise LeftError
        return json.loads(text), descriptors

    def run(self, function: Function | None) -> Function:
        """Returns the function when this process shall fork workers that have it; else never."""
        message, descriptors = self._receive()
        if message["op"] == "infer":
            infer.infer(_bytes_of(descriptors[0], message["bytes"]), descriptors[1])
            raise LeftError
        setup = json.loads(message["setup"])
        payload = _bytes_of(descriptors[0], message["payload_bytes"])
        _hear_loggers(setup["log_level"])
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR2, file=descriptors[1], all_threads=True)
        if "gpus" in message:
            os.environ["CUDA_VISIBLE_DEVICES"] = message["gpus"]
        start, open_before = _Start(), _open_files()
        if function is None:
            function = self._loaded(setup, payload)
        del payload
        gc.collect()
        shares = message.get("may_share", False) and start.was_dear() and _may_fork(open_before)
        self._say({"op": "ready", "private_bytes": memory.private_bytes(), "shares": shares})
        if shares:
            return function
        self._idle_since = time.perf_counter_ns()
        if setup["memory"] or setup["budget"]:
            memory.fence(setup["memory"] or max(setup["budget"], _LEAST_FENCE))
        while True:
            message, descriptors = self._messages.popleft() if self._messages else self._receive()
            if message["op"] == "exit":
                raise LeftError
            self._batch(function, message, descriptors, keeps_going=setup["keeps_going"])

    def _loaded(self, setup: dict[str, Any], payload: bytes) -> Function:
        if setup["sys_path"]:
            sys.path[:] = setup["sys_path"]
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(setup["schema"])))
            return load(setup, payload, schema)
        except BaseException as error:
            self._say({"op": "failed", "text": errors.full_text(error)})
            raise LeftError from None

    # -- One batch ----

    def _batch(self, function: Any, message: dict[str, Any], descriptors: list[int], *, keeps_going: bool) -> None:
        waiting_ns = time.perf_counter_ns() - self._idle_since
        for segment in message["drop"]:
            self._mapped.pop(segment, None)
        queue = deque(descriptors)
        source = self._map(message["in"], queue)
        target = self._map(message["out"], queue) if "out" in message else None

        def space(size: int) -> memoryview:
            return memoryview(target if target is not None and len(target) >= size else self._ask_for(size))

        own_references = sys.getrefcount(source)
        view = memoryview(source)[: message["bytes"]]
        answer = batch.run(function, view, message.get("groups", ()), space, keeps_going=keeps_going)
        kept = not _released(view, source, own_references)
        if kept:
            self._mapped.pop(message["in"]["seg"], None)  # whoever holds on to it has it mapped
        words = {**answer, "waiting_ns": waiting_ns, "kept": kept, **self._growth.told()}
        self._say({"id": message["id"], **words})
        self._idle_since = time.perf_counter_ns()

    def _ask_for(self, size: int) -> mmap.mmap:
        self._say({"op": "need", "bytes": size})
        while True:
            message, descriptors = self._receive()
            if message["op"] == "out":
                return self._map(message, deque(descriptors))
            if message["op"] == "refused":
                raise batch.RefusedError
            self._messages.append((message, descriptors))

    def _map(self, words: dict[str, Any], descriptors: deque[int]) -> mmap.mmap:
        if words["new"]:
            descriptor = descriptors.popleft()
            self._mapped[words["seg"]] = mmap.mmap(descriptor, words["size"])
            os.close(descriptor)
        return self._mapped[words["seg"]]


def _hear_loggers(level: int) -> None:
    """What loggers of the function's code say is printed, from the level of the program on, unless that code has
    handlers of its own.
    """
    printed = logging.StreamHandler()
    printed.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.lastResort = printed
    logging.getLogger().setLevel(level)


def _bytes_of(descriptor: int, count: int) -> bytes:
    """What shared memory holds. It is closed."""
    found = b""
    if count:
        with mmap.mmap(descriptor, count, prot=mmap.PROT_READ) as view:
            found = bytes(view)
    os.close(descriptor)
    return found


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
