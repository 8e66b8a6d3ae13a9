"""Fork servers. The base process imports once what every worker needs, and forks a server for each step of a run; that
forks the step's workers.

They have one thread and none of the driver's state, so that a fork is safe. Descriptor 3 is the base process's socket
to the driver. A worker whose function was dear to make may become such a server, too (loop.py): those it forks share
the function.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

SOCKET = 3
LONGEST_MESSAGE = 128 << 10  # as in batch.py, which is loaded later
_PR_SET_PDEATHSIG = 1
_LEAVE_SECONDS = 1.0


def die_with(parent: int) -> None:
    """The kernel ends this process when its parent ends, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def serve(parent: int) -> None:
    die_with(parent)
    import numpy  # noqa: F401
    import pyarrow.ipc  # noqa: F401

    with contextlib.suppress(ImportError):
        import cloudpickle  # noqa: F401

    from . import loop

    def serve_step(descriptors: list[int]) -> NoReturn:
        own, log = descriptors
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        of_step = socket.socket(fileno=own)
        _say(of_step, {"op": "serving", "pid": os.getpid()})
        serve_forks(of_step, lambda given: loop.work(socket.socket(fileno=given[0])))

    driver = socket.socket(fileno=SOCKET)
    driver.set_inheritable(False)
    serve_forks(driver, serve_step)


def serve_forks(driver: socket.socket, work: Callable[[list[int]], NoReturn]) -> NoReturn:
    """Forks a process for each request, which runs `work` with the descriptors that came with it, until the driver is
    gone or wants no more.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()  # a collection in a worker must not write to the pages it shares
    children: set[int] = set()
    watched: list[Any] = [driver, woken]
    while True:
        ready = select.select(watched, [], [])[0]
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
        _reap(children, driver)
        if driver not in ready:
            continue
        text, descriptors, _, _ = socket.recv_fds(driver, LONGEST_MESSAGE, 16)
        message = json.loads(text) if text else {"op": "exit"}
        if message["op"] != "fork":
            break
        me = os.getpid()
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.setpgid(0, 0)  # what the function starts is ended with it
            die_with(me)
            driver.close()
            os.close(woken)
            os.close(wake)
            work(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        children.add(child)
        _say(driver, {"op": "forked", "id": message["id"], "pid": child})
    _leave(children, driver)


def _say(driver: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        driver.send(json.dumps(message).encode())


def _reap(children: set[int], driver: socket.socket) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in children:
            children.discard(pid)
            _say(driver, {"op": "exited", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _leave(children: set[int], driver: socket.socket) -> NoReturn:
    deadline = time.monotonic() + _LEAVE_SECONDS
    while children and time.monotonic() < deadline:
        _reap(children, driver)
        time.sleep(0.002)
    for child in children:
        for end in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                end(child, signal.SIGKILL)
    while children:
        _reap(children, driver)
        time.sleep(0.002)
    sys.stdout.flush()
    os._exit(0)
