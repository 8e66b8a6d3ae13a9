"""Columns of tensors whose shapes differ from row to row: Arrow's extension type `arrow.variable_shape_tensor`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

_NAME = "arrow.variable_shape_tensor"


@functools.cache
def tensor_type(value_type: pa.DataType, ndim: int) -> pa.DataType:
    """The type, which pyarrow knows and has no function for."""
    storage = pa.struct([("data", pa.list_(value_type)), ("shape", pa.list_(pa.int32(), ndim))])
    named = {"ARROW:extension:name": _NAME, "ARROW:extension:metadata": "{}"}
    schema = pa.schema([pa.field("x", storage, metadata=named)])
    return pa.ipc.read_schema(schema.serialize()).field("x").type


def is_tensor(kind: pa.DataType | None) -> bool:
    """Of those whose elements lie in the order of their dimensions; others are structs like any other."""
    named = isinstance(kind, pa.BaseExtensionType) and kind.extension_name == _NAME
    return named and "permutation" not in str(kind)


def to_arrays(column: Any) -> np.ndarray[Any, Any]:
    """An object array of arrays, which look at the column's memory and cannot be written to; None for nulls."""
    data, shapes = column.storage.field(0), column.storage.field(1)
    values = data.values.to_numpy(zero_copy_only=False)
    values.flags.writeable = False
    bounds = data.offsets.to_numpy()
    size = shapes.type.list_size
    sizes = shapes.values.slice(shapes.offset * size, len(shapes) * size).to_numpy(zero_copy_only=False)
    found = np.empty(len(column), dtype=object)
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(is_there):
        shape = sizes[row * size : (row + 1) * size].astype(np.int64)
        found[row] = values[bounds[row] : bounds[row + 1]].reshape(shape)
    return found


def are_arrays(values: Any) -> bool:
    """Whether these are tensors: arrays of one number of dimensions, two or more; and None."""
    arrays = [value for value in values if value is not None]
    if not arrays or not all(isinstance(value, np.ndarray) and value.dtype != object for value in arrays):
        return False
    return len({value.ndim for value in arrays}) == 1 and arrays[0].ndim > 1


def are_structs(values: Any) -> bool:
    """Whether these are tensors as rows have them: a dict of elements and shape."""
    return any(isinstance(value, Mapping) for value in values)


def of_arrays(values: Iterable[Any], kind: pa.DataType | None) -> Any:
    """A column of arrays of one number of dimensions, and None. `kind`: the tensor type; None: that of the values."""
    rows = [None if value is None else np.asarray(value) for value in values]
    arrays = [row for row in rows if row is not None]
    if kind is None:
        kind = tensor_type(pa.from_numpy_dtype(np.result_type(*arrays)), arrays[0].ndim)
    fields: Any = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    ndim = fields.field(1).type.list_size
    if wrong := [row.ndim for row in arrays if row.ndim != ndim]:
        raise ValueError(f"a tensor of {ndim} dimensions is needed, not of {wrong[0]}")
    flat = np.concatenate([row.reshape(-1) for row in arrays]) if arrays else np.empty(0, np.int8)
    data_type = fields.field(0).type
    elements = pa.array(flat).cast(data_type.value_type)
    bounds = np.cumsum([0] + [0 if row is None else row.size for row in rows])
    shapes = [(0,) * ndim if row is None else row.shape for row in rows]
    sizes = pa.array(np.asarray(shapes, np.int32).reshape(-1))
    data = pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), elements, type=data_type)
    shape = pa.FixedSizeListArray.from_arrays(sizes, type=fields.field(1).type)
    mask = pa.array([row is None for row in rows], pa.bool_())
    storage = pa.StructArray.from_arrays([data, shape], fields=[fields.field(0), fields.field(1)], mask=mask)
    return pa.ExtensionArray.from_storage(kind, storage)
