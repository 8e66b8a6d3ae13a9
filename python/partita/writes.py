"""Where a dataset goes: `sink_…` declares an output, `write_…` runs it now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from ._graph import Node, make_node, step_text
from .options import RunOptions
from .runs import RunResult, Sink, run

PathLike = str | os.PathLike[str]


def path_text(path: PathLike) -> str:
    """A path as pipelines write it; `~` is the home folder."""
    text = os.fspath(path)
    return os.path.expanduser(text) if text.startswith("~") else text


def _list(names: str | Iterable[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


class Writes:
    """Outputs of a dataset."""

    _node: Node

    def _sink(self, op: str, path: PathLike, args: dict[str, Any], on_error: str | None, name: str | None) -> Sink:
        node = make_node(op, {"path": path_text(path), **args}, (self._node,), on_error=on_error, name=name)
        return Sink(node, step_text(node))

    def _write(self, sink: Sink, options: Mapping[str, Any]) -> RunResult:
        return run(sink, _owner=self, **options)

    # -- Parquet ----

    def sink_parquet(
        self,
        path: PathLike,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | str | None = None,
        partition_by: str | Iterable[str] | None = None,
        exact: bool = False,
        compression: str = "zstd",
        compression_level: int | None = None,
        row_group_size: int | None = None,
        row_group_bytes: int | str | None = None,
        data_page_bytes: int | str | None = None,
        dictionary: bool = True,
        statistics: bool = True,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Sink:
        """Declares an output of Parquet files for `pt.run`; arguments as in `write_parquet`.

        Example:
            >>> ds = pt.range(100)
            >>> result = pt.run(ds.sink_parquet("all"), ds.filter("id < 10").sink_csv("few"))
            >>> [dataset.rows for dataset in result.datasets]
            [100, 10]
        """
        args = {
            "rows_per_file": rows_per_file,
            "max_file_bytes": max_file_bytes,
            "partition_by": _list(partition_by),
            "exact": exact,
            "compression": compression,
            "compression_level": compression_level,
            "row_group_size": row_group_size,
            "row_group_bytes": row_group_bytes,
            "data_page_bytes": data_page_bytes,
            "dictionary": dictionary,
            "statistics": statistics,
        }
        return self._sink("write_parquet", path, args, on_error, name)

    def write_parquet(
        self,
        path: PathLike,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | str | None = None,
        partition_by: str | Iterable[str] | None = None,
        exact: bool = False,
        compression: str = "zstd",
        compression_level: int | None = None,
        row_group_size: int | None = None,
        row_group_bytes: int | str | None = None,
        data_page_bytes: int | str | None = None,
        dictionary: bool = True,
        statistics: bool = True,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Runs now and writes Parquet files.

        The same call after an interruption does only what is missing; after a finished run it does nothing.

        Args:
            path: The folder of the dataset; made when it is missing.
            rows_per_file: Most rows of a file; None: one file a partition.
            max_file_bytes: Most logical bytes of a file (`"256MiB"`); None: no limit. A single larger row has a file
                of its own.
            partition_by: Columns that become folders named `key=value`.
            exact: Whether all files but the last have the same number of rows, across partitions.
            compression: `"none"`, `"snappy"`, `"gzip"`, `"zstd"`, `"lz4"` or `"brotli"`.
            compression_level: Level of the codec; None: the codec's own.
            row_group_size: Most rows of a row group; None: 1,048,576.
            row_group_bytes: Most logical bytes of a row group; None: 128 MiB.
            data_page_bytes: About the size of a page before compression; None: 1 MiB.
            dictionary: Whether repeated values are dictionary-encoded; fat values never are.
            statistics: Whether row groups carry least and greatest values.
            options: Run options (`memory="2GiB"`, `threads=4`, `fresh=True`, …), see `pt.options`.

        Raises:
            UserError: The folder holds something else, or the pipeline is wrong.
            DataError: A row is bad and its step's `on_error` is `"fail"`.
            ResourceError: The budget or the disk is too small.
            RunEnvironmentError: Storage or network failed.

        Example:
            >>> pt.range(3).write_parquet("out").rows
            3
        """
        sink = self.sink_parquet(
            path,
            rows_per_file=rows_per_file,
            max_file_bytes=max_file_bytes,
            partition_by=partition_by,
            exact=exact,
            compression=compression,
            compression_level=compression_level,
            row_group_size=row_group_size,
            row_group_bytes=row_group_bytes,
            data_page_bytes=data_page_bytes,
            dictionary=dictionary,
            statistics=statistics,
        )
        return self._write(sink, options)

    # -- WebDataset ----

    def sink_webdataset(
        self,
        path: PathLike,
        *,
        rows_per_shard: int | None = None,
        max_file_bytes: int | str | None = None,
        exact: bool = False,
        key: str | None = None,
        extensions: Mapping[str, str] | None = None,
        json_columns: str | Iterable[str] | None = None,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Sink:
        """Declares an output of tar shards for `pt.run`; arguments as in `write_webdataset`."""
        args = {
            "rows_per_shard": rows_per_shard,
            "max_file_bytes": max_file_bytes,
            "exact": exact,
            "key": key,
            "extensions": dict(extensions) if extensions is not None else None,
            "json_columns": _list(json_columns),
        }
        return self._sink("write_webdataset", path, args, on_error, name)

    def write_webdataset(
        self,
        path: PathLike,
        *,
        rows_per_shard: int | None = None,
        max_file_bytes: int | str | None = None,
        exact: bool = False,
        key: str | None = None,
        extensions: Mapping[str, str] | None = None,
        json_columns: str | Iterable[str] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Runs now and writes tar shards for training.

        Args:
            path: The folder of the shards; made when it is missing.
            rows_per_shard: Most rows of a shard; None: 10,000.
            max_file_bytes: Most logical bytes of a shard; None: no limit.
            exact: Whether all shards but the last have the same number of rows, across partitions.
            key: The column that names the samples; None: `__key__` if there is one, else partition and row number.
            extensions: Extension of the member that each column becomes: `{"image": "jpg"}`; None: by name and type.
            json_columns: Columns that go into the sample's `json` member; None: all that are no member of their own.
            options: Run options (`memory="2GiB"`, …), see `pt.options`.

        Raises:
            PartitaError: As for `write_parquet`.

        Example:
            >>> ds = pt.from_pydict({"caption": ["a cat", "a dog"]})
            >>> ds.write_webdataset("shards", extensions={"caption": "txt"}).rows
            2
        """
        sink = self.sink_webdataset(
            path,
            rows_per_shard=rows_per_shard,
            max_file_bytes=max_file_bytes,
            exact=exact,
            key=key,
            extensions=extensions,
            json_columns=json_columns,
        )
        return self._write(sink, options)

    # -- CSV and JSON Lines ----

    def sink_csv(
        self,
        path: PathLike,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | str | None = None,
        partition_by: str | Iterable[str] | None = None,
        exact: bool = False,
        delimiter: str = ",",
        quote: str = '"',
        has_header: bool = True,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Sink:
        """Declares an output of CSV files for `pt.run`; arguments as in `write_csv`."""
        args = {
            "rows_per_file": rows_per_file,
            "max_file_bytes": max_file_bytes,
            "partition_by": _list(partition_by),
            "exact": exact,
            "delimiter": delimiter,
            "quote": quote,
            "has_header": has_header,
        }
        return self._sink("write_csv", path, args, on_error, name)

    def write_csv(
        self,
        path: PathLike,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | str | None = None,
        partition_by: str | Iterable[str] | None = None,
        exact: bool = False,
        delimiter: str = ",",
        quote: str = '"',
        has_header: bool = True,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Runs now and writes CSV files.

        Args:
            path: The folder of the dataset; made when it is missing.
            rows_per_file: Most rows of a file; None: one file a partition.
            max_file_bytes: Most logical bytes of a file; None: no limit.
            partition_by: Columns that become folders named `key=value`.
            exact: Whether all files but the last have the same number of rows, across partitions.
            delimiter: The one byte between fields.
            quote: The one byte around quoted fields.
            has_header: Whether the first line of each file names the columns.
            options: Run options (`memory="2GiB"`, …), see `pt.options`.

        Raises:
            PartitaError: As for `write_parquet`.

        Example:
            >>> pt.range(3).write_csv("out_csv").rows
            3
        """
        sink = self.sink_csv(
            path,
            rows_per_file=rows_per_file,
            max_file_bytes=max_file_bytes,
            partition_by=partition_by,
            exact=exact,
            delimiter=delimiter,
            quote=quote,
            has_header=has_header,
        )
        return self._write(sink, options)

    def sink_jsonl(
        self,
        path: PathLike,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | str | None = None,
        partition_by: str | Iterable[str] | None = None,
        exact: bool = False,
        skip_nulls: bool = False,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Sink:
        """Declares an output of JSON Lines for `pt.run`; arguments as in `write_jsonl`."""
        args = {
            "rows_per_file": rows_per_file,
            "max_file_bytes": max_file_bytes,
            "partition_by": _list(partition_by),
            "exact": exact,
            "skip_nulls": skip_nulls,
        }
        return self._sink("write_jsonl", path, args, on_error, name)

    def write_jsonl(
        self,
        path: PathLike,
        *,
        rows_per_file: int | None = None,
        max_file_bytes: int | str | None = None,
        partition_by: str | Iterable[str] | None = None,
        exact: bool = False,
        skip_nulls: bool = False,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Runs now and writes JSON Lines: one object a line.

        Args:
            path: The folder of the dataset; made when it is missing.
            rows_per_file: Most rows of a file; None: one file a partition.
            max_file_bytes: Most logical bytes of a file; None: no limit.
            partition_by: Columns that become folders named `key=value`.
            exact: Whether all files but the last have the same number of rows, across partitions.
            skip_nulls: Whether null values are left out of their objects.
            options: Run options (`memory="2GiB"`, …), see `pt.options`.

        Raises:
            PartitaError: As for `write_parquet`.

        Example:
            >>> pt.range(3).write_jsonl("out_jsonl").rows
            3
        """
        sink = self.sink_jsonl(
            path,
            rows_per_file=rows_per_file,
            max_file_bytes=max_file_bytes,
            partition_by=partition_by,
            exact=exact,
            skip_nulls=skip_nulls,
        )
        return self._write(sink, options)
