"""One batch: the function runs on it, and what becomes of that is told as the driver understands it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from . import errors
from .functions import Function, Rows

LONGEST_MESSAGE = 128 << 10
_ALIGNMENT = 64
_OPTIONS = pa.ipc.IpcWriteOptions(use_threads=False)


class RefusedError(Exception):
    """The budget has no room for the result."""


class LeftError(BaseException):
    """The driver wants no more of this worker."""


# Memory for so many bytes of a result, or more; raises RefusedError.
Space = Callable[[int], memoryview]


def run(
    function: Function, view: memoryview, groups: Sequence[int], space: Space, *, keeps_going: bool
) -> dict[str, Any]:
    """The answer for the batch in `view`, and how long it took: in all, and in the function."""
    times = _Times(function)
    answer = _answer(times, view, groups, space, keeps_going=keeps_going)
    return {**answer, "worker_ns": time.perf_counter_ns() - times.begun, "function_ns": times.inside}


class _Times:
    """A function whose time is taken."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.inside = 0
        self.begun = time.perf_counter_ns()

    def __call__(self, batch: pa.RecordBatch, view: memoryview | None, groups: Sequence[int]) -> Rows:
        start = time.perf_counter_ns()
        try:
            return self._function(batch, view, groups)
        finally:
            self.inside = time.perf_counter_ns() - start


def _answer(
    function: Function, view: memoryview, groups: Sequence[int], space: Space, *, keeps_going: bool
) -> dict[str, Any]:
    try:
        return _put(function(_read(view), view, groups), space)
    except RefusedError:
        return {"op": "refused"}
    except errors.BadRowsError as bad:
        texts = [errors.text(error, short=keeps_going) for _, error in bad.rows]
        shown = list(zip((row for row, _ in bad.rows), texts, strict=True))
        bad.clear()
        return {"op": "bad_rows", "rows": _that_fit(shown)}
    except (MemoryError, pa.ArrowMemoryError) as error:
        answer: dict[str, Any] = {"op": "memory", "text": errors.text(error, short=keeps_going)}
        errors.forget(error)
        return answer
    except LeftError:
        raise
    except BaseException as error:  # SystemExit too: nobody asked this process to end
        is_data = getattr(error, "kind", None) == "data"
        answer = {"op": "error", "text": errors.text(error, short=keeps_going), "data": is_data}
        errors.forget(error)
        return answer


def _read(view: memoryview) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(view)) as reader:
        return reader.read_next_batch()


def _put(rows: Rows, space: Space) -> dict[str, Any]:
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
    target = space(size if origins is None else origins_at + origins.nbytes)
    if rows.batch is not None:
        _write(rows.batch, pa.FixedSizeBufferWriter(pa.py_buffer(target[:size])))
    answer = {"op": "done", "bytes": size}
    if origins is not None:
        np.frombuffer(target, dtype=np.int32, count=len(origins), offset=origins_at)[:] = origins
        answer.update(origins_at=origins_at, origins=len(origins))
    return answer


def _write(batch: pa.RecordBatch, sink: Any) -> None:
    with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)


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
