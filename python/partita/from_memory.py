"""Datasets of rows in memory: Arrow, pandas, Polars, NumPy, and plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._graph import make_node
from ._native import session
from .dataset import Dataset
from .errors import UserError

if TYPE_CHECKING:
    import pandas
    import polars


def from_arrow(data: Any, *, rows_per_partition: int | None = None, name: str | None = None) -> Dataset:
    """Rows in memory, taken without a copy.

    Args:
        data: Anything that speaks the Arrow PyCapsule interface: a pyarrow Table, RecordBatch or RecordBatchReader, a
            Polars or pandas DataFrame, a DuckDB relation, … A stream is read to its end.
        rows_per_partition: Most rows of a partition; None: one partition.
        name: The step's name.

    Raises:
        UserError: The object holds no Arrow data.

    Example:
        >>> import pyarrow as pa
        >>> pt.from_arrow(pa.table({"a": [1, 2]})).count()
        2
    """
    table = session.add_table(data)
    args = {"id": table.id, "rows_per_partition": rows_per_partition}
    return Dataset(make_node("from_memory", args, name=name, keep=table))


def from_pandas(
    frame: pandas.DataFrame,
    *,
    preserve_index: bool = False,
    rows_per_partition: int | None = None,
    name: str | None = None,
) -> Dataset:
    """The rows of a pandas DataFrame; columns that pandas holds as Arrow or NumPy numbers are not copied.

    Args:
        frame: The frame.
        preserve_index: Whether its index becomes a column.
        rows_per_partition: Most rows of a partition; None: one partition.
        name: The step's name.

    Example:
        >>> import pandas as pd
        >>> pt.from_pandas(pd.DataFrame({"a": [1, 2]})).take(1)
        [{'a': 1}]
    """
    table = pa.Table.from_pandas(frame, preserve_index=preserve_index).replace_schema_metadata(None)
    return from_arrow(table, rows_per_partition=rows_per_partition, name=name)


def from_polars(frame: polars.DataFrame, *, rows_per_partition: int | None = None, name: str | None = None) -> Dataset:
    """The rows of a Polars DataFrame, without a copy.

    Args:
        frame: The frame; a LazyFrame must be collected first.
        rows_per_partition: Most rows of a partition; None: one partition.
        name: The step's name.

    Example:
        >>> import polars as pl
        >>> pt.from_polars(pl.DataFrame({"a": [1, 2]})).take(1)
        [{'a': 1}]
    """
    if hasattr(frame, "collect"):
        raise UserError("a LazyFrame has no rows yet", hint="give frame.collect()")
    return from_arrow(frame, rows_per_partition=rows_per_partition, name=name)


def from_pydict(
    columns: Mapping[str, Any],
    *,
    schema: pa.Schema | None = None,
    rows_per_partition: int | None = None,
    name: str | None = None,
) -> Dataset:
    """Rows from columns.

    Args:
        columns: Name of each column to its values: a list, or a NumPy or Arrow array (not copied).
        schema: Names and types; None: found from the values.
        rows_per_partition: Most rows of a partition; None: one partition.
        name: The step's name.

    Raises:
        UserError: The columns differ in length, or values have no common type.

    Example:
        >>> pt.from_pydict({"a": [1, 2], "b": ["x", None]}).take(9)
        [{'a': 1, 'b': 'x'}, {'a': 2, 'b': None}]
    """
    try:
        table = pa.Table.from_pydict(dict(columns), schema=schema)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"these columns are no table: {error}") from None
    return from_arrow(table, rows_per_partition=rows_per_partition, name=name)


def from_numpy(
    columns: Mapping[str, Any] | Any, *, rows_per_partition: int | None = None, name: str | None = None
) -> Dataset:
    """Rows from arrays, whose first dimension are the rows; further dimensions become fixed-size lists.

    Contiguous arrays of numbers are not copied. A list of arrays of different shapes becomes a column of
    `pt.variable_shape_tensor`.

    Args:
        columns: Name of each column to its array, or one array, whose column is called `data`: NumPy's, or of what
            speaks DLPack and is in the memory of the processor: torch tensors, JAX arrays, …
        rows_per_partition: Most rows of a partition; None: one partition.
        name: The step's name.

    Raises:
        UserError: What is given is no array, or the columns differ in length.

    Example:
        >>> import numpy as np
        >>> pt.from_numpy({"x": np.arange(6.0).reshape(2, 3), "label": np.array([1, 0])}).take(1)
        [{'x': [0.0, 1.0, 2.0], 'label': 1}]
    """
    from .tensors import of_tensor

    given = columns if isinstance(columns, Mapping) else {"data": columns}
    arrays = {key: of_tensor(key, value) for key, value in given.items()}
    return from_pydict(arrays, rows_per_partition=rows_per_partition, name=name)


def from_items(
    items: Iterable[Any],
    *,
    schema: pa.Schema | None = None,
    rows_per_partition: int | None = None,
    name: str | None = None,
) -> Dataset:
    """Rows from dicts, or from plain values (then the column is called `item`).

    Args:
        items: The rows. A key that a dict lacks is null there.
        schema: Names and types; None: found from the values.
        rows_per_partition: Most rows of a partition; None: one partition.
        name: The step's name.

    Raises:
        UserError: Values of one column have no common type, or only some items are dicts.

    Example:
        >>> pt.from_items([{"a": 1}, {"a": 2, "b": "x"}]).take(9)
        [{'a': 1, 'b': None}, {'a': 2, 'b': 'x'}]
        >>> pt.from_items(["p", "q"]).take(9)
        [{'item': 'p'}, {'item': 'q'}]
    """
    rows = list(items)
    dicts = sum(isinstance(row, Mapping) for row in rows)
    if 0 < dicts < len(rows):
        raise UserError("some items are dicts and some are not")
    names: list[str]
    if schema is not None:
        names = list(schema.names)
    elif dicts:
        names = list(dict.fromkeys(key for row in rows for key in row))
    else:
        names = ["item"]
    columns = {key: [row.get(key) for row in rows] for key in names} if dicts else dict.fromkeys(names, rows)
    return from_pydict(columns, schema=schema, rows_per_partition=rows_per_partition, name=name)
