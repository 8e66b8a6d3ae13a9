"""Batches as tensors: without a copy where types allow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .batches import convert, flat, to_numpy
from .errors import UserError
from .worker import shapes


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as missing:
        raise UserError(
            "torch is not installed", hint="install it, or take NumPy arrays: iter_batches(...)"
        ) from missing


def torch_converter(
    dtypes: Any, device: Any, collate_fn: Callable[[dict[str, Any]], Any] | None
) -> Callable[[pa.RecordBatch], Any]:
    """What makes tensors of a batch. `dtypes`: one for all columns, or by column."""
    torch = _torch()
    pinned = device is not None and torch.device(device).type == "cuda"

    def one(name: str, column: pa.Array[Any]) -> Any:
        tensor = to_tensor(column)
        if not isinstance(tensor, torch.Tensor):
            return tensor
        dtype = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
        if dtype is not None:
            tensor = tensor.to(dtype)
        if device is None:
            return tensor
        return tensor.pin_memory().to(device, non_blocking=True) if pinned else tensor.to(device)

    def tensors(batch: pa.RecordBatch) -> Any:
        if collate_fn is not None:
            return collate_fn(convert(batch, "numpy"))
        return {name: one(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}

    return tensors


def jax_converter(
    dtypes: Any, device: Any, collate_fn: Callable[[dict[str, Any]], Any] | None
) -> Callable[[pa.RecordBatch], Any]:
    """What makes JAX arrays of a batch. `dtypes`: one for all columns, or by column."""
    jax = _jax()

    def one(name: str, column: pa.Array[Any]) -> Any:
        if shapes.is_tensor(column.type):
            return [None if row is None else jax.device_put(row, device) for row in shapes.to_arrays(column)]
        values, shape = flat(column)
        if values.null_count or not (_is_number(values.type) or pa.types.is_boolean(values.type)):
            return column.to_pylist()
        array = values.to_numpy(zero_copy_only=False).reshape(shape)
        dtype = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
        with jax.enable_x64(True):  # 64-bit numbers stay what they are, unless `dtypes` says otherwise
            return jax.device_put(array if dtype is None else array.astype(dtype), device)

    def arrays(batch: pa.RecordBatch) -> Any:
        if collate_fn is not None:
            return collate_fn(convert(batch, "numpy"))
        return {name: one(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}

    return arrays


def _jax() -> Any:
    try:
        return importlib.import_module("jax")
    except ImportError as missing:
        raise UserError("jax is not installed", hint="install it, or take NumPy arrays: iter_batches(...)") from missing


def to_tensor(column: pa.Array[Any]) -> Any:
    """A torch tensor; a list of Python values of a column that has nulls or holds other than numbers."""
    torch = _torch()
    if shapes.is_tensor(column.type):
        rows = shapes.to_arrays(column)
        return [None if row is None else torch.from_numpy(row) for row in rows]
    values, shape = flat(column)
    if values.null_count == 0 and _is_number(values.type):
        if not len(values):
            return torch.empty(shape, dtype=torch.from_numpy(to_numpy(values).copy()).dtype)
        return torch.from_dlpack(values).reshape(shape)
    if column.null_count == 0 and pa.types.is_boolean(values.type) and values.null_count == 0:
        return torch.from_numpy(values.to_numpy(zero_copy_only=False)).reshape(shape)
    return column.to_pylist()


def of_tensor(name: str, value: Any) -> pa.Array[Any]:
    """A column of what speaks DLPack or is like an array, the first dimension being rows; without a copy where it is
    contiguous and in the memory of the processor.
    """
    if isinstance(value, list | tuple) and shapes.are_arrays(value) and len({row.shape for row in value}) > 1:
        return shapes.of_arrays(value, None)
    if not isinstance(value, np.ndarray):
        try:
            value = np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            raise UserError(f"column '{name}' is no array of this machine's memory: {error}") from None
    if value.ndim == 0:
        raise UserError(f"column '{name}' is a single value, not one for every row")
    column: Any = pa.array(np.ascontiguousarray(value).reshape(-1))
    for size in reversed(value.shape[1:]):
        if size == 0:
            raise UserError(f"column '{name}' has a dimension of no values: {value.shape}")
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype))
