"""Where datasets begin: files and generated rows. Rows in memory: from_memory.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._graph import make_node
from .dataset import Dataset
from .errors import UserError
from .expressions import TypeLike, type_text
from .writes import PathLike, path_text

Paths = PathLike | Iterable[PathLike]


def _paths(path: Paths) -> list[str]:
    if isinstance(path, str) or hasattr(path, "__fspath__"):
        return [path_text(path)]  # type: ignore[arg-type]
    if not isinstance(path, Iterable):
        raise UserError(f"a path is text, a pathlib.Path or a list of them, not {path!r}")
    return [path_text(item) for item in path]


def _read(op: str, path: Paths, args: dict[str, Any], on_error: str | None, name: str | None) -> Dataset:
    return Dataset(make_node(op, {"path": _paths(path), **args}, on_error=on_error, name=name))


def _types(types: Mapping[str, TypeLike | type] | None) -> dict[str, str] | None:
    return None if types is None else {column: type_text(dtype) for column, dtype in types.items()}


def _strings(names: str | Iterable[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def read_parquet(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    rows_per_partition: int | None = None,
    partition_bytes: int | str | None = None,
    hive_partitioning: bool = True,
    include_hidden: bool = False,
    on_error: str | None = None,
    name: str | None = None,
) -> Dataset:
    """Reads Parquet files, page by page: a row group may be larger than the budget.

    Args:
        path: A file, folder, glob or URL, or a list of them.
        columns: Columns to read, in this order; None: all. Columns that no later step uses are never read anyway.
        rows_per_partition: Most rows of a partition; None: partitions are cut by bytes alone.
        partition_bytes: About how many bytes of files make a partition; None: 128 MiB.
        hive_partitioning: Whether folders named `key=value` become columns.
        include_hidden: Whether files and folders whose names begin with `_` or `.` are read.
        on_error: What becomes of rows that cannot be read: `"fail"` (the run), `"skip"` or `"quarantine"`.
        name: The step's name in progress, stats and errors.

    Raises:
        UserError: When the dataset is used: there is no such file.

    Example:
        >>> pt.range(3).write_parquet("numbers").rows
        3
        >>> pt.read_parquet("numbers").filter("id > 1").take(3)
        [{'id': 2}]
    """
    args = {
        "columns": _strings(columns),
        "rows_per_partition": rows_per_partition,
        "partition_bytes": partition_bytes,
        "hive_partitioning": hive_partitioning,
        "include_hidden": include_hidden,
    }
    return _read("read_parquet", path, args, on_error, name)


def read_csv(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    delimiter: str = ",",
    quote: str = '"',
    escape: str = "",
    has_header: bool | None = None,
    skip_rows: int | None = None,
    column_names: Sequence[str] | None = None,
    column_types: Mapping[str, TypeLike | type] | None = None,
    null_values: Sequence[str] | None = None,
    newlines_in_values: bool = False,
    rows_per_partition: int | None = None,
    partition_bytes: int | str | None = None,
    hive_partitioning: bool = True,
    include_hidden: bool = False,
    on_error: str | None = None,
    name: str | None = None,
) -> Dataset:
    r"""Reads CSV files; a large file is split by byte ranges.

    Args:
        path: A file, folder, glob or URL, or a list of them.
        columns: Columns to read, in this order; None: all.
        delimiter: The one byte between fields.
        quote: The one byte around quoted fields, doubled inside them; `""`: fields are never quoted.
        escape: The one byte that takes the next byte literally; `""`: none.
        has_header: Whether the first record names the columns; None: yes, unless `column_names` are given.
        skip_rows: Records before the header to leave out.
        column_names: Names of the columns, instead of the header's.
        column_types: Types of columns; of others they are found in the first rows of the first file.
        null_values: Unquoted fields that stand for null; None: the usual ones (empty, NA, NULL, …), of columns that
            are no strings.
        newlines_in_values: Whether quoted fields may hold line breaks; such a file is read as one partition.
        rows_per_partition: Most rows of a partition; None: partitions are cut by bytes alone.
        partition_bytes: About how many bytes of files make a partition; None: 128 MiB.
        hive_partitioning: Whether folders named `key=value` become columns.
        include_hidden: Whether files and folders whose names begin with `_` or `.` are read.
        on_error: What becomes of rows that cannot be read: `"fail"` (the run), `"skip"` or `"quarantine"`.
        name: The step's name.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("photos.csv").write_text("url,width\na.jpg,640\nb.jpg,80\n")
        >>> pt.read_csv("photos.csv").filter("width >= 256").take(9)
        [{'url': 'a.jpg', 'width': 640}]
    """
    args = {
        "columns": _strings(columns),
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "has_header": has_header,
        "skip_rows": skip_rows,
        "column_names": _strings(column_names),
        "column_types": _types(column_types),
        "null_values": _strings(null_values),
        "newlines_in_values": newlines_in_values,
        "rows_per_partition": rows_per_partition,
        "partition_bytes": partition_bytes,
        "hive_partitioning": hive_partitioning,
        "include_hidden": include_hidden,
    }
    return _read("read_csv", path, args, on_error, name)


def read_jsonl(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    column_types: Mapping[str, TypeLike | type] | None = None,
    rows_per_partition: int | None = None,
    partition_bytes: int | str | None = None,
    hive_partitioning: bool = True,
    include_hidden: bool = False,
    on_error: str | None = None,
    name: str | None = None,
) -> Dataset:
    r"""Reads JSON Lines: one object a line; a large file is split by byte ranges.

    Args:
        path: A file, folder, glob or URL, or a list of them.
        columns: Columns to read, in this order; None: all.
        column_types: Types of columns; of others they are found in the first lines of the first file.
        rows_per_partition: Most rows of a partition; None: partitions are cut by bytes alone.
        partition_bytes: About how many bytes of files make a partition; None: 128 MiB.
        hive_partitioning: Whether folders named `key=value` become columns.
        include_hidden: Whether files and folders whose names begin with `_` or `.` are read.
        on_error: What becomes of lines that cannot be read: `"fail"` (the run), `"skip"` or `"quarantine"`.
        name: The step's name.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("rows.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
        >>> pt.read_jsonl("rows.jsonl").take(9)
        [{'a': 1}, {'a': 2}]
    """
    args = {
        "columns": _strings(columns),
        "column_types": _types(column_types),
        "rows_per_partition": rows_per_partition,
        "partition_bytes": partition_bytes,
        "hive_partitioning": hive_partitioning,
        "include_hidden": include_hidden,
    }
    return _read("read_jsonl", path, args, on_error, name)


def read_text(
    path: Paths,
    *,
    drop_empty_lines: bool = False,
    on_invalid: str = "error",
    columns: Sequence[str] | None = None,
    rows_per_partition: int | None = None,
    partition_bytes: int | str | None = None,
    hive_partitioning: bool = True,
    include_hidden: bool = False,
    on_error: str | None = None,
    name: str | None = None,
) -> Dataset:
    r"""Reads text files: a column `text` with one row a line.

    Args:
        path: A file, folder, glob or URL, or a list of them.
        drop_empty_lines: Whether empty lines make no row.
        on_invalid: What bytes that are not UTF-8 become: `"error"` (a bad row) or `"replace"` (replacement characters).
        columns: Columns to read (`text`, and those of folders named `key=value`); None: all.
        rows_per_partition: Most rows of a partition; None: partitions are cut by bytes alone.
        partition_bytes: About how many bytes of files make a partition; None: 128 MiB.
        hive_partitioning: Whether folders named `key=value` become columns.
        include_hidden: Whether files and folders whose names begin with `_` or `.` are read.
        on_error: What becomes of lines that cannot be read: `"fail"` (the run), `"skip"` or `"quarantine"`.
        name: The step's name.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("lines.txt").write_text("one\ntwo\n")
        >>> pt.read_text("lines.txt").take(9)
        [{'text': 'one'}, {'text': 'two'}]
    """
    args = {
        "drop_empty_lines": drop_empty_lines,
        "on_invalid": on_invalid,
        "columns": _strings(columns),
        "rows_per_partition": rows_per_partition,
        "partition_bytes": partition_bytes,
        "hive_partitioning": hive_partitioning,
        "include_hidden": include_hidden,
    }
    return _read("read_text", path, args, on_error, name)


def read_files(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    rows_per_partition: int | None = None,
    partition_bytes: int | str | None = None,
    hive_partitioning: bool = True,
    include_hidden: bool = False,
    on_error: str | None = None,
    name: str | None = None,
) -> Dataset:
    """Reads whole files, one row a file: the columns `path`, `bytes`, `size` and `modified`.

    Args:
        path: A file, folder, glob or URL, or a list of them.
        columns: Columns to read, in this order; None: all. Without `bytes` no file is opened.
        rows_per_partition: Most files of a partition; None: partitions are cut by bytes alone.
        partition_bytes: About how many bytes of files make a partition; None: 128 MiB.
        hive_partitioning: Whether folders named `key=value` become columns.
        include_hidden: Whether files and folders whose names begin with `_` or `.` are read.
        on_error: What becomes of files that cannot be read: `"fail"` (the run), `"skip"` or `"quarantine"`.
        name: The step's name.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("a.bin").write_bytes(b"12345")
        >>> pt.read_files("a.bin").select(size="length(bytes)").take(1)
        [{'size': 5}]
    """
    args = {
        "columns": _strings(columns),
        "rows_per_partition": rows_per_partition,
        "partition_bytes": partition_bytes,
        "hive_partitioning": hive_partitioning,
        "include_hidden": include_hidden,
    }
    return _read("read_files", path, args, on_error, name)


def read_webdataset(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    column_types: Mapping[str, TypeLike | type] | None = None,
    rows_per_partition: int | None = None,
    partition_bytes: int | str | None = None,
    hive_partitioning: bool = True,
    include_hidden: bool = False,
    on_error: str | None = None,
    name: str | None = None,
) -> Dataset:
    """Reads tar shards: one row a sample, a column `__key__` and one an extension.

    Args:
        path: A shard, folder, glob or URL, or a list of them.
        columns: Columns to read, in this order; None: all. Members of other extensions are skipped.
        column_types: Types of columns; others are text or binary by their extension.
        rows_per_partition: Most rows of a partition; None: partitions are cut by bytes alone.
        partition_bytes: About how many bytes of files make a partition; None: 128 MiB.
        hive_partitioning: Whether folders named `key=value` become columns.
        include_hidden: Whether files and folders whose names begin with `_` or `.` are read.
        on_error: What becomes of samples that cannot be read: `"fail"` (the run), `"skip"` or `"quarantine"`.
        name: The step's name.

    Example:
        >>> ds = pt.from_pydict({"caption": ["a cat"]})
        >>> ds.write_webdataset("tars", extensions={"caption": "txt"}).rows
        1
        >>> pt.read_webdataset("tars").rename(txt="caption").select("caption").take(1)
        [{'caption': 'a cat'}]
    """
    args = {
        "columns": _strings(columns),
        "column_types": _types(column_types),
        "rows_per_partition": rows_per_partition,
        "partition_bytes": partition_bytes,
        "hive_partitioning": hive_partitioning,
        "include_hidden": include_hidden,
    }
    return _read("read_webdataset", path, args, on_error, name)


def range_(n: int, *, column: str = "id", rows_per_partition: int | None = None, name: str | None = None) -> Dataset:
    """The integers 0 to `n` - 1.

    Args:
        n: Number of rows.
        column: Name of the column.
        rows_per_partition: Most rows of a partition; None: 1,048,576.
        name: The step's name.

    Example:
        >>> pt.range(3).take(9)
        [{'id': 0}, {'id': 1}, {'id': 2}]
    """
    args = {"n": n, "rows_per_partition": rows_per_partition, "column": column}
    return Dataset(make_node("range", args, name=name))
