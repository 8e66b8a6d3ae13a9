"""Steps that run a Python function, in worker processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from . import _functions
from ._functions import Actors, SchemaLike, Tasks
from ._graph import Node, make_node


class FunctionSteps(ABC):
    """Steps that run a Python function."""

    _node: Node

    @abstractmethod
    def _from_node(self, node: Node) -> Self: ...

    def map_batches(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: int | Literal["partition"] = 1024,
        batch_format: str = "numpy",
        schema: SchemaLike | None = None,
        fn_args: Sequence[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Sequence[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        compute: Actors | Tasks | None = None,
        concurrency: int | tuple[int, int] | None = None,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int = 1,
        deterministic: bool = True,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Self:
        """Runs a function on batches of rows, in worker processes.

        Batches are cut by the place of a row in its partition: every batch has `batch_size` rows but the last of a
        partition, whatever the blocks, threads and budget. Numeric NumPy arrays are the batch's own memory and may
        be written to.

        Args:
            fn: A function of a batch, a generator function, an async function, or a class: it is made once in every
                worker, and its instances are called. Or its name, `"package.module:function"`.
            batch_size: Rows of a batch, or `"partition"`.
            batch_format: What `fn` gets: `"numpy"` (dict of arrays; null-free lists of one length are 2-D),
                `"arrow"` (`pyarrow.RecordBatch`), `"pandas"`, `"polars"` or `"torch"` (dict of tensors where the type
                allows). It may return any of these, or a dict of lists.
            schema: The columns it returns: `{"id": "int64"}`, a `pyarrow.Schema` or text. None: it is called on the
                first 16 rows (or `batch_size`, if that is less) in a process of its own when the plan is made.
            fn_args: Further arguments of every call.
            fn_kwargs: Keyword arguments of every call.
            fn_constructor_args: Arguments of the class.
            fn_constructor_kwargs: Keyword arguments of the class.
            compute: `pt.Actors(min, max)` or `pt.Tasks(n)`: how many worker processes.
            concurrency: The same as a number, or as (least, most).
            memory: Bytes (`"512MiB"`) that a worker may allocate beside what it has after its start: claimed from the
                budget, and more is an error.
            timeout: Seconds of one batch, after which its worker is ended.
            retries: More attempts at a batch whose worker ended.
            deterministic: Whether the same batch gives the same rows.
            on_error: What becomes of rows on which `fn` fails: `"fail"` (the run), `"skip"` or `"quarantine"`. They
                are found by halving; the batch then runs again without them.
            name: The step's name in progress, stats and errors.

        Raises:
            UserError: `fn` cannot be sent to a worker, or its columns cannot be told.

        Example:
            >>> def double(batch, times):
            ...     return {"id": batch["id"], "x": batch["id"] * times}
            >>> pt.range(3).map_batches(double, fn_args=[2]).take(3)
            [{'id': 0, 'x': 0}, {'id': 1, 'x': 2}, {'id': 2, 'x': 4}]
        """
        args = {"batch_size": batch_size, "batch_format": batch_format}
        return self._function(
            "map_batches",
            (fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs),
            schema,
            (compute, concurrency),
            {**args, "memory": memory, "timeout": timeout, "retries": retries, "deterministic": deterministic},
            on_error,
            name,
        )

    def map(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: int | Literal["partition"] = 1024,
        schema: SchemaLike | None = None,
        fn_args: Sequence[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Sequence[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        compute: Actors | Tasks | None = None,
        concurrency: int | tuple[int, int] | None = None,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int = 1,
        deterministic: bool = True,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Self:
        """Makes a row of every row: `fn` gets a dict and returns one.

        Args:
            fn: A function of a row, an async function (64 rows of a batch at once), or a class.
            batch_size: Rows that go to a worker at once.
            schema: As for `map_batches`, as are all other arguments.
            fn_args: Further arguments of every call.
            fn_kwargs: Keyword arguments of every call.
            fn_constructor_args: Arguments of the class.
            fn_constructor_kwargs: Keyword arguments of the class.
            compute: How many worker processes.
            concurrency: The same as a number.
            memory: Bytes that a worker may allocate.
            timeout: Seconds of one batch.
            retries: More attempts at a batch whose worker ended.
            deterministic: Whether the same row gives the same row.
            on_error: What becomes of a row on which `fn` fails: `"fail"`, `"skip"` or `"quarantine"`.
            name: The step's name.

        Example:
            >>> pt.from_pydict({"text": ["a b", "c"]}).map(lambda row: {"words": len(row["text"].split())}).take(2)
            [{'words': 2}, {'words': 1}]
        """
        return self._function(
            "map",
            (fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs),
            schema,
            (compute, concurrency),
            {
                "batch_size": batch_size,
                "memory": memory,
                "timeout": timeout,
                "retries": retries,
                "deterministic": deterministic,
            },
            on_error,
            name,
        )

    def flat_map(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: int | Literal["partition"] = 1024,
        schema: SchemaLike | None = None,
        fn_args: Sequence[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Sequence[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        compute: Actors | Tasks | None = None,
        concurrency: int | tuple[int, int] | None = None,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int = 1,
        deterministic: bool = True,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Self:
        """Makes any number of rows of every row: `fn` gets a dict, and returns a list of dicts or yields them.

        Args:
            fn: A function of a row, a generator function, an async one, or a class.
            batch_size: Rows that go to a worker at once.
            schema: As for `map_batches`, as are all other arguments.
            fn_args: Further arguments of every call.
            fn_kwargs: Keyword arguments of every call.
            fn_constructor_args: Arguments of the class.
            fn_constructor_kwargs: Keyword arguments of the class.
            compute: How many worker processes.
            concurrency: The same as a number.
            memory: Bytes that a worker may allocate.
            timeout: Seconds of one batch.
            retries: More attempts at a batch whose worker ended.
            deterministic: Whether the same row gives the same rows.
            on_error: What becomes of a row on which `fn` fails: `"fail"`, `"skip"` or `"quarantine"`.
            name: The step's name.

        Example:
            >>> ds = pt.from_pydict({"text": ["a b", "c"]})
            >>> ds.flat_map(lambda row: [{"word": word} for word in row["text"].split()]).take(9)
            [{'word': 'a'}, {'word': 'b'}, {'word': 'c'}]
        """
        return self._function(
            "flat_map",
            (fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs),
            schema,
            (compute, concurrency),
            {
                "batch_size": batch_size,
                "memory": memory,
                "timeout": timeout,
                "retries": retries,
                "deterministic": deterministic,
            },
            on_error,
            name,
        )

    def filter_rows(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: int | Literal["partition"] = 1024,
        fn_args: Sequence[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Sequence[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        compute: Actors | Tasks | None = None,
        concurrency: int | tuple[int, int] | None = None,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int = 1,
        deterministic: bool = True,
        on_error: str | None = None,
        name: str | None = None,
    ) -> Self:
        """Keeps the rows for which a Python function is true.

        An expression (`filter`) is far faster where it can say the same.

        `filter(fn)` is the same with its defaults.

        Args:
            fn: A function of a row (a dict), an async function, or a class.
            batch_size: Rows that go to a worker at once.
            fn_args: Further arguments of every call.
            fn_kwargs: Keyword arguments of every call.
            fn_constructor_args: Arguments of the class.
            fn_constructor_kwargs: Keyword arguments of the class.
            compute: As for `map_batches`, as are all that follow.
            concurrency: The same as a number.
            memory: Bytes that a worker may allocate.
            timeout: Seconds of one batch.
            retries: More attempts at a batch whose worker ended.
            deterministic: Whether the same row gives the same answer.
            on_error: What becomes of a row on which `fn` fails: `"fail"`, `"skip"` or `"quarantine"`.
            name: The step's name.

        Example:
            >>> pt.range(9).filter_rows(lambda row: row["id"] % 4 == 0).take(9)
            [{'id': 0}, {'id': 4}, {'id': 8}]
        """
        return self._function(
            "filter_rows",
            (fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs),
            None,
            (compute, concurrency),
            {
                "batch_size": batch_size,
                "memory": memory,
                "timeout": timeout,
                "retries": retries,
                "deterministic": deterministic,
            },
            on_error,
            name,
        )

    def _function(
        self,
        op: str,
        call: tuple[Any, ...],
        schema: SchemaLike | None,
        processes: tuple[Any, Any],
        args: dict[str, Any],
        on_error: str | None,
        name: str | None,
    ) -> Self:
        given, keep = _functions.pack(*call)
        least, most = _functions.workers(*processes)
        # Numbers as they are by default say nothing: the plan of who leaves them out is the same.
        if args["batch_size"] == 1024:
            del args["batch_size"]
        if args["retries"] == 1:
            del args["retries"]
        columns = {"schema": _functions.schema_text(schema)} if schema is not None else {}
        workers = {"concurrency": most, "min_concurrency": least or None}
        node = make_node(
            op, {**given, **columns, **args, **workers}, (self._node,), on_error=on_error, name=name, keep=keep
        )
        return self._from_node(node)
