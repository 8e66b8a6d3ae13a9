"""Batches as users like them, and what users return as record batches."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from . import shapes
from .errors import WrongReturnError

FORMATS = ("numpy", "arrow", "pandas", "polars", "torch", "jax")


def prepare(batch_format: str) -> None:
    """Loads what batches of the format are made with: a library's own memory is no batch's."""
    if batch_format in ("pandas", "polars", "torch", "jax"):
        importlib.import_module(batch_format)


class Region:
    """Memory that a batch lies in: arrays made of it can be written to, since nobody else reads it."""

    def __init__(self, view: memoryview | None) -> None:
        self._view = view
        self._address = 0 if view is None else pa.py_buffer(view).address

    def array(self, buffer: pa.Buffer, dtype: np.dtype[Any], count: int, offset: int) -> np.ndarray[Any, Any]:
        """`count` values from the `offset`-th on, without a copy."""
        start = buffer.address - self._address + offset * dtype.itemsize
        if self._view is not None and start >= 0 and start + count * dtype.itemsize <= len(self._view):
            return np.frombuffer(self._view, dtype, count, start)
        return np.frombuffer(buffer, dtype, count, offset * dtype.itemsize)


def given(batch: pa.RecordBatch, batch_format: str, region: Region) -> tuple[Any, dict[int, pa.Array[Any]]]:
    """The batch as `batch_format`, and the columns of arrays that had to be converted, by the array's id.

    Such an array cannot be written to, so that a function that returns it as it is returns the column as it was.
    """
    if batch_format == "arrow":
        return batch, {}
    if batch_format == "pandas":
        return _to_pandas(batch), {}
    if batch_format == "polars":
        return _to_polars(batch), {}
    converted: dict[int, pa.Array[Any]] = {}
    arrays: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        array, is_view = to_numpy(column, region)
        if batch_format in ("torch", "jax") and is_view:
            array = _to_torch(array) if batch_format == "torch" else _to_jax(array)
        elif not is_view:
            array.flags.writeable = False
            converted[id(array)] = column
        arrays[name] = array
    return arrays, converted


def to_numpy(column: pa.Array[Any], region: Region) -> tuple[np.ndarray[Any, Any], bool]:
    """A NumPy array, and whether it is the column's own memory. Null-free lists of one length become a dimension."""
    kind = column.type
    if shapes.is_tensor(kind):
        return shapes.to_arrays(column), False
    if isinstance(kind, pa.FixedShapeTensorType) and column.null_count == 0:
        values, is_view = to_numpy(_flat(column.storage), region)
        ndarray = values.reshape(len(column), *kind.shape)
        return ndarray if kind.permutation is None else column.to_numpy_ndarray(), is_view
    if pa.types.is_fixed_size_list(kind) and column.null_count == 0 and kind.list_size > 0:
        flat = _flat(column)
        if flat.null_count == 0 and (_is_plain(flat.type) or pa.types.is_fixed_size_list(flat.type)):
            values, is_view = to_numpy(flat, region)
            if values.dtype != object:
                return values.reshape(len(column), kind.list_size, *values.shape[1:]), is_view
    if _is_plain(kind) and column.null_count == 0 and len(column) > 0:
        data = column.buffers()[1]
        assert data is not None
        return region.array(data, np.dtype(kind.to_pandas_dtype()), len(column), column.offset), True
    try:
        if _has_nested_nulls(column) or _is_list_view(kind):
            return _objects(column), False
        array = column.to_numpy(zero_copy_only=False)
    except pa.ArrowNotImplementedError:
        return _objects(column), False
    return (array if array.flags.owndata or array.dtype == object else array.copy()), False


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _has_nested_nulls(column: pa.Array[Any]) -> bool:
    """Lists of numbers become arrays, where None would become NaN."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and column.values.null_count)


def _objects(column: pa.Array[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(column), dtype=object)
    array[:] = [None] * len(column)
    for place, value in enumerate(column.to_pylist()):
        array[place] = value
    return array


def _to_pandas(batch: pa.RecordBatch) -> Any:
    import pandas

    try:
        if not any(_is_list_view(column.type) for column in batch.columns):
            return batch.to_pandas(integer_object_nulls=True)
    except (pa.ArrowNotImplementedError, ValueError):
        pass  # some type has no place there: those columns are Python values
    series: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            if _is_list_view(column.type):
                raise pa.ArrowNotImplementedError("its empty lists become None")
            series[name] = column.to_pandas(integer_object_nulls=True)
        except (pa.ArrowNotImplementedError, ValueError):
            series[name] = pandas.Series(column.to_pylist(), dtype=object)
    return pandas.DataFrame(series)


def _to_polars(batch: pa.RecordBatch) -> Any:
    import polars

    try:
        if any(shapes.is_tensor(column.type) for column in batch.columns):
            columns = [column.storage if shapes.is_tensor(column.type) else column for column in batch.columns]
            batch = pa.RecordBatch.from_arrays(columns, batch.schema.names)  # it could not give them back
        if any(_is_slice(column) for column in batch.columns):
            batch = pa.concat_batches([batch.slice(0, 0), batch])  # it takes slices of some types for the whole
        return polars.from_arrow(batch)
    except BaseException as error:  # it panics on some types
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise WrongReturnError(f"Polars cannot take this batch: {error}; use another batch_format") from None


def _is_slice(column: Any) -> bool:
    longer = pa.types.is_fixed_size_list(column.type) and len(column.values) > len(column) * column.type.list_size
    return bool(longer or column.offset > 0)


def _flat(column: Any) -> Any:
    """The values of a fixed-size list, without a copy: `flatten` drops those of null lists, `values` keeps all."""
    size = column.type.list_size
    return column.values.slice(column.offset * size, len(column) * size)


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _to_torch(array: np.ndarray[Any, Any]) -> Any:
    import torch  # type: ignore[import-not-found]

    try:
        return torch.from_numpy(array)
    except TypeError:  # torch has not all of NumPy's types
        return array


def _to_jax(array: np.ndarray[Any, Any]) -> Any:
    import jax  # type: ignore[import-not-found]

    # A copy: its arrays never change, and a batch's memory does. 64-bit types stay what they are.
    with jax.enable_x64(True):
        return jax.numpy.array(array)


# -- What users return ----


def taken(result: Any, schema: pa.Schema | None, converted: Mapping[int, pa.Array[Any]]) -> pa.RecordBatch:
    """What a function of batches returned, as a batch of `schema` (None: of what it is)."""
    columns = _columns(result, converted)
    if schema is None:
        arrays = {name: _array(name, value, None) for name, value in columns.items()}
        _check_lengths(arrays)
        return pa.RecordBatch.from_pydict(arrays)
    missing = [name for name in schema.names if name not in columns]
    surplus = [name for name in columns if name not in schema.names]
    if missing or surplus:
        raise WrongReturnError(
            "the function returned "
            + (f"no column {_listed(missing)}" if missing else f"a column {_listed(surplus)} that it must not")
            + f"; the step's columns are {_listed(schema.names)}"
        )
    arrays = {field.name: _array(field.name, columns[field.name], field.type) for field in schema}
    _check_lengths(arrays)
    for field in schema:
        if not field.nullable and arrays[field.name].null_count:
            raise WrongReturnError(f"column '{field.name}' may not be null, but the function returned nulls in it")
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema)


def rows_taken(rows: list[Any], schema: pa.Schema | None) -> pa.RecordBatch:
    """Rows as dicts, as a batch."""
    for row in rows:
        if not isinstance(row, Mapping):
            raise WrongReturnError(f"the function must return a row as a dict, not {type(row).__name__}")
    if schema is None:
        names = list(dict.fromkeys(name for row in rows for name in row))
    else:
        names = schema.names
        for row in rows:
            if row.keys() != set(names) and (surplus := [name for name in row if name not in names]):
                raise WrongReturnError(
                    f"the function returned a column {_listed(surplus)} that it must not; "
                    f"the step's columns are {_listed(names)}"
                )
    columns = {name: [_plain(row.get(name)) for row in rows] for name in names}
    return taken(columns, schema, {})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def joined(batches: list[pa.RecordBatch], schema: pa.Schema | None) -> pa.RecordBatch | None:
    """What a generator gave, as one batch."""
    found = [batch for batch in batches if batch.num_rows > 0] or batches[:1]
    if len(found) <= 1:
        return found[0] if found else (None if schema is None else schema.empty_table().to_batches()[0])
    return pa.concat_batches(found)


def _columns(result: Any, converted: Mapping[int, pa.Array[Any]]) -> dict[str, Any]:
    if isinstance(result, pa.RecordBatch):
        return dict(zip(result.schema.names, result.columns, strict=True))
    if isinstance(result, pa.Table):
        return dict(zip(result.schema.names, result.columns, strict=True))
    if isinstance(result, Mapping):
        return {str(name): converted.get(id(value), value) for name, value in result.items()}
    kind = type(result).__module__.partition(".")[0]
    if kind == "pandas" and hasattr(result, "columns"):
        return {str(name): result[name] for name in result.columns}
    if kind == "polars" and hasattr(result, "columns"):
        return {name: result[name] for name in result.columns}
    if isinstance(result, list) and result and isinstance(result[0], Mapping):
        names = list(dict.fromkeys(name for row in result for name in row))
        return {str(name): [row.get(name) for row in result] for name in names}
    raise WrongReturnError(
        f"the function returned {type(result).__name__}; it must return a dict of columns, a RecordBatch, a Table or "
        "a DataFrame"
    )


def _array(name: str, value: Any, kind: pa.DataType | None) -> pa.Array[Any]:
    try:
        return _fit(_made(value, kind), kind)
    except WrongReturnError:
        raise
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        expected = "" if kind is None else f" of type {kind}"
        raise WrongReturnError(f"column '{name}'{expected}: what the function returned does not fit: {error}") from None


def _made(value: Any, kind: pa.DataType | None) -> Any:
    if isinstance(value, pa.Array):
        return value
    if isinstance(value, pa.ChunkedArray):
        return value.combine_chunks() if value.num_chunks != 1 else value.chunk(0)
    if shapes.is_tensor(kind) and isinstance(value, np.ndarray | list) and not shapes.are_structs(value):
        return shapes.of_arrays(value, kind)
    module = type(value).__module__.partition(".")[0]
    if module == "torch":
        value = value.detach().cpu().numpy()
    elif module in ("jax", "jaxlib"):
        value = np.asarray(value)
    elif module == "polars":
        value = value.to_arrow()
        return value
    elif module == "pandas":
        array = pa.array(value, type=_storage(kind), from_pandas=True)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            raise WrongReturnError("a column must have a value for every row, not one for all")
        return _of_ndarray(value, kind)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        values = list(value)
        if shapes.are_arrays(values):
            if len({None if row is None else row.shape for row in values}) > 1:
                return shapes.of_arrays(values, None)
            return _of_ndarray(np.stack(values), kind)
        return pa.array(values, type=_storage(kind))
    raise WrongReturnError(f"a column must be an array or a list, not {type(value).__name__}")


def _of_ndarray(value: np.ndarray[Any, Any], kind: pa.DataType | None) -> Any:
    if value.ndim > 1 and value.dtype != object:
        sizes = value.shape[1:]
        flat = np.ascontiguousarray(value).reshape(-1)
        values = _of_ndarray(flat, None)
        if isinstance(kind, pa.FixedShapeTensorType):
            storage = pa.FixedSizeListArray.from_arrays(_fit(values, kind.value_type), int(np.prod(sizes)))
            return pa.ExtensionArray.from_storage(kind, storage)
        array: Any = values
        for size in reversed(sizes):
            array = pa.FixedSizeListArray.from_arrays(array, size)
        return array
    if value.dtype.kind == "f" and kind is not None and pa.types.is_integer(kind):
        return pa.array(value, from_pandas=True)  # NaN: a null that came as one
    if value.dtype.kind in "iuf" and value.dtype.isnative and value.dtype.itemsize <= 8:
        # Not pa.array: it would load pandas, where that is installed, to see whether this is a Series.
        plain = np.ascontiguousarray(value)
        return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [None, pa.py_buffer(plain)])
    if value.dtype == object and shapes.are_arrays(value):
        return _made(list(value), kind)
    if value.dtype == object or value.dtype.kind in "OUSV":
        return pa.array(list(value), type=_storage(kind)) if value.dtype.kind != "U" else pa.array(value.tolist())
    is_text_time = value.dtype.kind in "mM"
    return pa.array(value, type=_storage(kind) if is_text_time else None)


def _storage(kind: pa.DataType | None) -> pa.DataType | None:
    """A type that values can be made of at once, however deep it is; what is made is fitted to `kind`."""
    if isinstance(kind, pa.BaseExtensionType):
        return _storage(kind.storage_type)
    if kind is None or not _is_indirect(kind):
        return kind
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_storage(field.type)) for field in _fields(kind)])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_storage(kind.value_type)))
    return _storage(kind.value_type)


def _fields(kind: Any) -> list[Any]:
    return [kind.field(i) for i in range(kind.num_fields)]


def _is_indirect(kind: Any) -> bool:
    """Whether values are not simply there, or those within are not."""
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return True
    if pa.types.is_struct(kind):
        return any(_is_indirect(field.type) for field in _fields(kind))
    return bool(pa.types.is_list(kind) and _is_indirect(kind.value_type))


def _fit(array: Any, kind: pa.DataType | None) -> Any:
    """The array as `kind`, where no value changes."""
    if kind is None or array.type.equals(kind):
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _fit(array, kind.storage_type))
    if isinstance(array.type, pa.BaseExtensionType):
        return _fit(array.storage, kind)
    if pa.types.is_run_end_encoded(kind) or pa.types.is_run_end_encoded(array.type):
        return _fit_runs(array, kind)
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(array.type):
        return _fit(_fit(array, kind.value_type).dictionary_encode(), kind)
    if pa.types.is_struct(kind) and pa.types.is_struct(array.type) and _is_indirect(kind):
        fields = _fields(kind)
        if [field.name for field in fields] == [field.name for field in _fields(array.type)]:
            parts = [_fit(array.field(place), field.type) for place, field in enumerate(fields)]
            return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())
    if pa.types.is_list(kind) and pa.types.is_list(array.type) and _is_indirect(kind):
        values = _fit(array.values, kind.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, type=kind, mask=array.is_null())
    same_size = pa.types.is_fixed_size_list(kind) and pa.types.is_fixed_size_list(array.type)
    if same_size and array.null_count == 0 and kind.list_size == array.type.list_size:
        return pa.FixedSizeListArray.from_arrays(_fit(_flat(array), kind.value_type), type=kind)
    return array.cast(kind)


def _fit_runs(array: Any, kind: pa.DataType) -> Any:
    import pyarrow.compute as pc

    values = pc.run_end_decode(array) if pa.types.is_run_end_encoded(array.type) else array
    if not pa.types.is_run_end_encoded(kind):
        return _fit(values, kind)
    values = _fit(values, kind.value_type)
    try:
        return pc.run_end_encode(values, run_end_type=kind.run_end_type)
    except pa.ArrowNotImplementedError:  # of views, lists, …: every value is a run
        ends = pa.array(range(1, len(values) + 1), kind.run_end_type)
        return pa.RunEndEncodedArray.from_arrays(ends, values, kind)


def _check_lengths(arrays: Mapping[str, Any]) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{name}: {len(array)}" for name, array in arrays.items())
        raise WrongReturnError(f"the columns that the function returned have different numbers of rows: {found}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
