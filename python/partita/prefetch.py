"""Items that a thread makes ready ahead of the loop that takes them."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from .errors import UserError


class Prefetch(Iterator[tuple[int, Any]]):
    """An iterator whose next items a thread of its own makes ready."""

    def __init__(self, items: Iterator[tuple[int, Any]], ahead: int) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(ahead)
        stop = threading.Event()
        thread = threading.Thread(
            target=_make_ready, args=(items, self._ready, stop), name="partita-prefetch", daemon=True
        )
        # The thread knows the queue, not this object: whoever drops the iterator ends the thread.
        self._end = weakref.finalize(self, _end, thread, self._ready, stop)
        thread.start()

    def __next__(self) -> tuple[int, Any]:
        if not self._end.alive:
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, tuple):
            return item
        self._end()
        raise StopIteration if item is None else item

    def close(self) -> None:
        self._end()


def _make_ready(items: Iterator[tuple[int, Any]], ready: queue.Queue[Any], stop: threading.Event) -> None:
    try:
        for item in items:
            ready.put(item)
            if stop.is_set():
                break
        ready.put(None)
    except BaseException as error:  # is raised where the items are taken
        ready.put(error)
    finally:
        items.close()  # type: ignore[attr-defined]


def _end(thread: threading.Thread, ready: queue.Queue[Any], stop: threading.Event) -> None:
    stop.set()
    while thread.is_alive():
        # Room for what it is about to put, so that it sees that nobody wants more.
        try:
            ready.get(timeout=0.01)
        except queue.Empty:
            continue
    thread.join()


def check_prefetch(batches: int) -> int:
    if isinstance(batches, bool) or not isinstance(batches, int) or batches < 0:
        raise UserError(f"prefetch_batches must be 0 or more, not {batches!r}")
    return batches
