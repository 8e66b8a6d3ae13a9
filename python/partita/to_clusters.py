"""Rows given to a Ray or Dask cluster, without passing through this process."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from . import _execute, batches
from ._graph import Node
from ._native import native, schema_of, session
from .errors import RunEnvironmentError, UserError
from .options import RunOptions

if TYPE_CHECKING:
    import dask.dataframe
    import ray.data

BLOCK_BYTES = 128 << 20  # of what this process makes itself
_DTYPES = ("pyarrow", "numpy")


class ToClusters:
    """Rows for a cluster's own libraries."""

    _node: Node
    _observer: native.Observer | None

    def to_ray(
        self, *, folder: str | os.PathLike[str] | None = None, **options: Unpack[RunOptions]
    ) -> ray.data.Dataset:
        """The rows as a `ray.data.Dataset`, one block a partition, computed now on the Ray cluster.

        Workers put the rows of each partition in their node's object store; this process holds references. A
        partition must fit a worker's budget. Nothing is kept of a run that stops; and rows of a node that is lost
        later are lost: `write_parquet` keeps them.

        Args:
            folder: On storage that all nodes mount, for rows that change partition on their way (sort, shuffle, …);
                nothing is left there. None: they stay
                on the nodes, as far as they can be made again.
            options: Run options, see `pt.options`. `engine` is `"ray"` (the default here), an address of a cluster,
                or `"local"`: then this process computes the rows and puts them in the store.

        Raises:
            UserError: Rows that cannot be made again change partition and no folder is given; a step quarantines rows.

        Example:
            >>> import ray  # doctest: +SKIP
            >>> pt.range(1000).to_ray(engine="local").count()  # doctest: +SKIP
            1000
        """
        rows = rows_of_kind("ray")
        schema, found = self._hand_over("ray", rows.put, folder, options)
        return rows.as_ray(found, schema)  # type: ignore[no-any-return]

    def to_dask(
        self,
        *,
        dtype_backend: str = "pyarrow",
        folder: str | os.PathLike[str] | None = None,
        **options: Unpack[RunOptions],
    ) -> dask.dataframe.DataFrame:
        """The rows as a Dask DataFrame, one partition for each of ours.

        With a `distributed.Client` they are computed now on its workers, and stay there; this process holds futures.
        A partition must fit a worker's budget. Nothing is kept of a run that stops; and rows of a worker that is lost
        later are lost. Without a client this process computes and holds them.

        Args:
            dtype_backend: `"pyarrow"`: columns keep their types. `"numpy"`: NumPy's where pandas has them; integers
                with nulls become floats.
            folder: On storage that all workers mount, for rows that change partition on their way (sort, shuffle, join,
                …); nothing is left there. None: they stay
                on the nodes, as far as they can be made again.
            options: Run options, see `pt.options`. `engine` is `"dask"` (the default where there is a client) or
                `"local"`: then this process computes the rows.

        Raises:
            UserError: Rows that cannot be made again change partition and no folder is given; a step quarantines rows.

        Example:
            >>> frame = pt.range(10).filter("id > 6").to_dask()
            >>> int(frame["id"].sum().compute())
            24
        """
        if dtype_backend not in _DTYPES:
            raise UserError(f"dtype_backend cannot be {dtype_backend!r}", hint="choose 'pyarrow' or 'numpy'")
        rows = rows_of_kind("dask")
        engine = "dask" if rows.has_client() else "local"
        schema, found = self._hand_over(engine, rows.put, folder, options)
        return rows.as_dask(found, schema, dtype_backend)

    def _hand_over(
        self,
        default_engine: str,
        put: Callable[[pa.Table], Any],
        folder: str | os.PathLike[str] | None,
        given: Mapping[str, Any],
    ) -> tuple[pa.Schema, list[Any]]:
        """The columns, and what names the rows of each partition: references, futures, tables."""
        engine = given.get("engine") or default_engine
        with _execute.call({**given, "engine": engine}, show=True) as running:
            self._observer = running.observer
            if engine == "local":
                stream = _execute.open_stream(self._node, -1, running, given)
                return pa.schema(stream), [put(table) for table in _tables(stream)]
            from .engines import driver, open_engine

            opened = open_engine(engine)
            opened.keep_connection()  # what is handed over lives no longer
            pipeline, step = _execute.built(self._node, given)
            poll = running.progress.poll if running.progress.enabled else None
            plan = native.compile_rows(session, pipeline.native, step)
            where = None if folder is None else os.fspath(folder)
            found = driver.hand_over(plan, running.pairs, running.observer, poll, opened, where)
            return schema_of(session.schema(pipeline.native, step)), found


def _tables(stream: native.RowStream) -> Iterator[pa.Table]:
    parts: list[pa.RecordBatch] = []
    for batch in batches.read_batches(stream):
        if parts and sum(part.nbytes for part in parts) + batch.nbytes > BLOCK_BYTES:
            yield pa.Table.from_batches(parts)
            parts = []
        parts.append(batch)
    if parts:
        yield pa.Table.from_batches(parts)


def rows_of_kind(kind: str) -> Any:
    """The module of a kind of cluster."""
    try:
        return importlib.import_module(f".engines.{kind}_rows", __package__)
    except ModuleNotFoundError as missing:
        raise RunEnvironmentError(
            f"rows of a {kind.capitalize()} cluster need a package that is not installed here: {missing.name}",
            hint=f"pip install 'partita[{kind}]'",
        ) from None
