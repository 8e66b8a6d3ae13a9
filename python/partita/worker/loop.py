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

import pyarrow as pa

from . import batch, errors
from .batch import LONGEST_MESSAGE, LeftError
from .functions import load


def work(driver: socket.socket) -> NoReturn:
    """Never returns: the process ends with its socket."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)  # workers share the pipe: a line is one write
    try:
        _Worker(driver).run()
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


class _Worker:
    def __init__(self, driver: socket.socket) -> None:
        self._driver = driver
        self._mapped: dict[int, mmap.mmap] = {}
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
                raise LeftError
            self._batch(function, message, descriptors, keeps_going=setup["keeps_going"])

    # -- One batch ----

    def _batch(self, function: Any, message: dict[str, Any], descriptors: list[int], *, keeps_going: bool) -> None:
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
        self._say({**answer, "id": message["id"], "kept": kept})

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
