"""What memory a worker has, and the fence around it."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import time

_LEAST_SECONDS = 0.25  # between two looks
_COST = 100  # a look may take one part in so many of the time


def private_bytes() -> int:
    """Memory that this process alone has: what it shares with the process that forked it counts there."""
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) << 10
    return 0


class Growth:
    """What the driver is told of it, now and then: a look at much memory takes its time."""

    def __init__(self) -> None:
        self._next = 0.0

    def told(self) -> dict[str, int]:
        begun = time.monotonic()
        if begun < self._next:
            return {}
        found = private_bytes()
        now = time.monotonic()
        self._next = now + max(_LEAST_SECONDS, _COST * (now - begun))
        return {"private_bytes": found}


def fence(memory: int) -> None:
    """More than `memory` bytes beside what there is now is a MemoryError."""
    with open("/proc/self/status") as file:
        used = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
    # Freed memory goes back at once, and few arenas are reserved: the fence counts what is mapped.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX
