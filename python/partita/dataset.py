"""The dataset: a lazy, immutable description of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from . import _execute, batches
from ._functions import Function
from ._graph import Node, plan_lines
from ._native import native, schema_of, session
from .errors import UserError
from .options import RunOptions, options
from .stats import RunStats, Text
from .to_clusters import ToClusters
from .training import Training
from .transforms import Transforms
from .writes import Writes

if TYPE_CHECKING:
    import pandas
    import polars


class Dataset(Transforms, Writes, Training, ToClusters):
    """Rows, described and not yet read: a source and the steps applied to it.

    Made by `pt.read_parquet`, `pt.range`, `pt.from_arrow` and their like, never directly. A dataset never changes:
    each method gives a new one. Rows are computed when they are asked for, inside the run's memory budget.

    It speaks the Arrow PyCapsule interface, so that whatever reads Arrow takes it as it is: `polars.DataFrame(ds)`,
    `pyarrow.table(ds)`, DuckDB's `from ds`.

    Example:
        >>> ds = pt.range(100).filter("id >= 98").with_columns(half=pt.col("id") / 2)
        >>> ds
        Dataset
          range(100)
          filter(id >= 98)
          with_columns(half=id / 2)
        >>> ds.take(5)
        [{'id': 98, 'half': 49}, {'id': 99, 'half': 49}]
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._observer: native.Observer | None = None

    def _from_node(self, node: Node) -> Dataset:
        return Dataset(node)

    # -- What it is ----

    def __reduce__(self) -> tuple[object, ...]:
        # Counters of a run stay where they are; rows in memory refuse to be pickled.
        return (type(self), (self._node,))

    def __repr__(self) -> str:
        return "\n".join(["Dataset", *(f"  {line}" for line in plan_lines(self._node))])

    def schema(self) -> pa.Schema:
        """Names and types of the columns. Looks at one file of each source.

        Example:
            >>> pt.range(3).with_columns(text=pt.lit("x")).schema().names
            ['id', 'text']
        """
        pipeline, step = _execute.built(self._node, {})
        return schema_of(session.schema(pipeline.native, step))

    def explain(self) -> str:
        """The plan as text: steps, stages, what is pushed to the sources, partitions, and the least budget it runs in.

        Example:
            >>> "range" in pt.range(3).explain()
            True
        """
        pipeline, _ = _execute.built(self._node, {})
        return Text(session.explain(pipeline.native, options.pairs({})))

    def stats(self) -> RunStats:
        """Counters of the last run that was started from this object; as text a small table.

        Raises:
            UserError: Nothing was run yet.

        Example:
            >>> ds = pt.range(3)
            >>> ds.to_arrow().num_rows
            3
            >>> ds.stats().tasks_done
            1
        """
        if self._observer is None:
            raise UserError("this dataset was not run yet", hint="write it, or take its rows, then ask again")
        return RunStats.from_json(self._observer.snapshot())

    def to_yaml(self) -> str:
        """The pipeline file that describes the same rows, for `partita run` (which needs a sink) and `pt.from_yaml`.

        Raises:
            UserError: The rows are in the memory of this process: no file can name them.

        Example:
            >>> print(pt.range(3).filter("id > 1").to_yaml())
            pipeline: pipeline
            steps:
              - range: 3
              - filter: id > 1
            <BLANKLINE>
        """
        return yaml_text([self._node])

    # -- Rows ----

    def count(self, **options: Unpack[RunOptions]) -> int:
        """Number of rows; from metadata alone where steps and formats allow.

        Args:
            options: Run options (`memory="2GiB"`, …), see `pt.options`.

        Example:
            >>> pt.range(1000).count()
            1000
        """
        pipeline, step = _execute.built(self._node, options)
        with _execute.call(options, show=True) as running:
            self._observer = running.observer
            poll = running.progress.poll if running.progress.tells else None
            return session.count(pipeline.native, step, running.pairs, running.observer, poll)

    def take(self, n: int = 20, **options: Unpack[RunOptions]) -> list[dict[str, Any]]:
        """The first `n` rows as dicts; reads little more than it needs.

        Args:
            n: Rows at most.
            options: Run options, see `pt.options`.

        Example:
            >>> pt.range(1000).take(2)
            [{'id': 0}, {'id': 1}]
        """
        return [row for batch in self._batches(_limit(n), options, show=False) for row in batch.to_pylist()]

    def show(self, n: int = 20, **options: Unpack[RunOptions]) -> None:
        """Prints the first `n` rows as a table.

        Args:
            n: Rows at most.
            options: Run options, see `pt.options`.

        Example:
            >>> pt.range(2).show()
            id
            int64
            -----
                0
                1
        """
        from .show import table_text

        print(table_text(self._table(_limit(n), options, show=False)))

    def to_arrow(self, **options: Unpack[RunOptions]) -> pa.Table:
        """All rows as a `pyarrow.Table`, without a copy.

        They must fit in memory: what is handed out is beside the run's budget.

        Args:
            options: Run options, see `pt.options`.

        Example:
            >>> pt.range(3).to_arrow().column("id").to_pylist()
            [0, 1, 2]
        """
        return self._table(-1, options, show=True)

    def to_pandas(self, **options: Unpack[RunOptions]) -> pandas.DataFrame:
        """All rows as a pandas DataFrame.

        Args:
            options: Run options, see `pt.options`.

        Example:
            >>> int(pt.range(3).to_pandas()["id"].sum())
            3
        """
        return self._table(-1, options, show=True).to_pandas()

    def to_polars(self, **options: Unpack[RunOptions]) -> polars.DataFrame:
        """All rows as a Polars DataFrame.

        Args:
            options: Run options, see `pt.options`.

        Example:
            >>> pt.range(3).to_polars().height
            3
        """
        import polars

        frame = polars.from_arrow(self._table(-1, options, show=True))
        assert isinstance(frame, polars.DataFrame)
        return frame

    def iter_batches(
        self,
        batch_size: int | None = None,
        batch_format: str = "arrow",
        *,
        drop_last: bool = False,
        **options: Unpack[RunOptions],
    ) -> Iterator[Any]:
        """Streams the rows in order, bounded by the run's budget, as the run goes on.

        Leaving the loop early cancels the run.

        Args:
            batch_size: Rows of every batch but the last; None: blocks as the run makes them. A batch inside a block
                is a slice of it, without a copy.
            batch_format: `"arrow"` (`pyarrow.RecordBatch`), `"numpy"` (dict of arrays; views where types allow,
                null-free lists of one length become a further dimension), `"pandas"`, `"polars"` or `"pydict"` (dict
                of lists).
            drop_last: Whether a shorter last batch is left out.
            options: Run options, see `pt.options`.

        Example:
            >>> [len(batch["id"]) for batch in pt.range(10).iter_batches(batch_size=4, batch_format="numpy")]
            [4, 4, 2]
        """
        batches.check_format(batch_format)
        if batch_size is not None and (
            isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1
        ):
            raise UserError(f"batch_size must be a positive number, not {batch_size!r}")
        return self._formatted(batch_size, batch_format, drop_last, options)

    def _formatted(
        self, batch_size: int | None, batch_format: str, drop_last: bool, options: RunOptions
    ) -> Iterator[Any]:
        found = self._batches(-1, options, show=False)
        if batch_size is not None:
            found = batches.recut(found, batch_size, drop_last)
        for batch in found:
            if batch.num_rows > 0:
                yield batches.convert(batch, batch_format)

    def iter_rows(self, **options: Unpack[RunOptions]) -> Iterator[dict[str, Any]]:
        """Streams the rows in order as dicts.

        Args:
            options: Run options, see `pt.options`.

        Example:
            >>> sum(row["id"] for row in pt.range(4).iter_rows())
            6
        """
        for batch in self._batches(-1, options, show=False):
            yield from batch.to_pylist()

    def __arrow_c_schema__(self) -> object:
        return self.schema().__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Streams the rows to whatever reads Arrow. The schema cannot be changed on the way."""
        with _execute.call({}, show=False) as running:
            self._observer = running.observer
            return _execute.open_stream(self._node, -1, running, {}).__arrow_c_stream__(None)

    def _batches(self, limit: int, options: RunOptions, *, show: bool) -> Iterator[pa.RecordBatch]:
        with _execute.call(options, show=show) as running:
            self._observer = running.observer
            yield from batches.read_batches(_execute.open_stream(self._node, limit, running, options))

    def _table(self, limit: int, options: RunOptions, *, show: bool) -> pa.Table:
        with _execute.call(options, show=show) as running:
            self._observer = running.observer
            stream = _execute.open_stream(self._node, limit, running, options)
            schema = pa.schema(stream)
            return pa.Table.from_batches(list(batches.read_batches(stream)), schema)


def _limit(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise UserError(f"the number of rows must be 0 or more, not {n!r}")
    return n


def yaml_text(ends: list[Node], name: str = "pipeline", options: dict[str, Any] | None = None) -> str:
    pipeline = _execute.build(ends, pipeline_name=name, options=options)
    for node in pipeline.nodes:
        if node.op == "from_memory":
            raise UserError(
                "a pipeline file cannot hold rows that are in memory", hint="write them to a file and read that"
            )
        if isinstance(node.keep, Function) and node.keep.payload is not None:
            raise UserError(
                f"a pipeline file cannot hold the function {node.keep.name}",
                hint="put it into a module and name it: 'package.module:function'",
            )
    return pipeline.native.to_yaml()
