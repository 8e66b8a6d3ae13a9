"""Asks a function which columns it returns, in a process of its own: what it does there ends with it.

The question is a line of JSON, then the payload and a batch; the answer is a line of JSON.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

import pyarrow as pa

from . import errors
from .functions import load


def _made(
    function: Any, setup: dict[str, Any], batch: pa.RecordBatch, view: memoryview | None
) -> pa.RecordBatch | None:
    if setup["kind"] == "map_groups":
        batch, view = _first_group(batch, setup["by"]), None
    groups = [batch.num_rows]
    try:
        return function(batch, view, groups).batch
    except errors.BadRowsError as bad:
        places = {place for place, _ in bad.rows}
        good = [place for place in range(len(batch)) if place not in places]
        if setup["kind"] == "map_groups" or not setup["keeps_going"] or not good:
            raise
        return function(batch.take(pa.array(good)), None, ()).batch


def _first_group(batch: pa.RecordBatch, keys: list[str]) -> pa.RecordBatch:
    """The rows that have the key of the first one."""
    rows = batch.select(keys).to_pylist()
    return batch.take(pa.array([place for place, row in enumerate(rows) if row == rows[0]], pa.int64()))


def answered(setup: dict[str, Any], payload: bytes, stream: bytes) -> dict[str, Any]:
    """The columns that the function returns for the batch in `stream`, or what went wrong."""
    try:
        function = load(setup, payload, None)
        view = memoryview(bytearray(stream))
        with pa.ipc.open_stream(pa.py_buffer(view)) as reader:
            batch = reader.read_next_batch()
        made = _made(function, setup, batch, view)
        schema = pa.schema([]) if made is None else made.schema
        return {"schema": base64.b64encode(schema.serialize()).decode()}
    except errors.BadRowsError as bad:
        return {"error": errors.full_text(bad.rows[0][1])}
    except BaseException as error:
        return {"error": errors.full_text(error)}


def infer(question: bytes, answer_to: int) -> None:
    line, _, rest = question.partition(b"\n")
    setup = json.loads(line)
    payload, stream = rest[: setup["payload_bytes"]], rest[setup["payload_bytes"] :]
    sys.path[:] = setup["sys_path"]
    answer = answered(setup, payload, stream)
    with os.fdopen(answer_to, "w") as out:
        json.dump(answer, out)
