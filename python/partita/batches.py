"""Blocks of a run as batches of the caller's size and format."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from ._native import native
from .errors import UserError

FORMATS = ("arrow", "numpy", "pandas", "polars", "pydict")


def read_batches(stream: native.RowStream) -> Iterator[pa.RecordBatch]:
    """The record batches of a stream; it is closed when the iterator is."""
    try:
        while (batch := stream.next_batch()) is not None:
            yield pa.record_batch(batch)
    finally:
        stream.close()


def recut(batches: Iterable[pa.RecordBatch], batch_size: int, drop_last: bool) -> Iterator[pa.RecordBatch]:
    """Batches of exactly `batch_size` rows, the last one shorter.

    A batch within one block is a slice of it, without a copy; only one that spans blocks is put together.
    """
    parts: deque[pa.RecordBatch] = deque()
    rows = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        parts.append(batch)
        rows += batch.num_rows
        while rows >= batch_size:
            yield _take(parts, batch_size)
            rows -= batch_size
    if rows > 0 and not drop_last:
        yield _take(parts, rows)


def _take(parts: deque[pa.RecordBatch], rows: int) -> pa.RecordBatch:
    taken: list[pa.RecordBatch] = []
    while rows > 0:
        first = parts.popleft()
        if first.num_rows > rows:
            parts.appendleft(first.slice(rows))
            first = first.slice(0, rows)
        taken.append(first)
        rows -= first.num_rows
    return taken[0] if len(taken) == 1 else pa.concat_batches(taken)


def check_format(batch_format: str) -> None:
    if batch_format not in FORMATS:
        nearest = native.nearest_name(str(batch_format), list(FORMATS))
        raise UserError(
            f"batch_format cannot be {batch_format!r}" + (f"; did you mean {nearest!r}?" if nearest else ""),
            hint="choose one of " + ", ".join(FORMATS),
        )


def convert(batch: pa.RecordBatch, batch_format: str) -> Any:
    if batch_format == "arrow":
        return batch
    if batch_format == "numpy":
        return {name: to_numpy(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    if batch_format == "pandas":
        return batch.to_pandas()
    if batch_format == "polars":
        import polars

        return polars.from_arrow(batch)
    return batch.to_pydict()


def flat(column: pa.Array[Any]) -> tuple[pa.Array[Any], list[int]]:
    """The values of null-free lists of one length, however deep, and the shape they make: rows first."""
    shape = [len(column)]
    while column.null_count == 0:
        if isinstance(column, pa.FixedShapeTensorArray):
            order = column.type.permutation
            if order is not None and list(order) != sorted(order):
                break
            shape += column.type.shape
            column = column.storage.flatten()
        elif pa.types.is_fixed_size_list(column.type):
            shape.append(column.type.list_size)
            column = column.flatten()
        else:
            break
    return column, shape


def to_numpy(column: pa.Array[Any]) -> Any:
    """A NumPy array: a view where the type allows it. Null-free lists of one length become further dimensions."""
    if isinstance(column.type, pa.BaseExtensionType) and column.type.extension_name == "arrow.variable_shape_tensor":
        from .worker import shapes  # NumPy is loaded when it is needed

        if shapes.is_tensor(column.type):
            return shapes.to_arrays(column)
    values, shape = flat(column)
    if len(shape) > 1 and values.null_count == 0 and not pa.types.is_nested(values.type):
        return values.to_numpy(zero_copy_only=False).reshape(shape)
    return column.to_numpy(zero_copy_only=False)
