"""Steps that run a Python function, in worker processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from . import _functions
from ._functions import FunctionOptions, Program, SchemaLike
from ._graph import Node, make_node
from .errors import UserError

if TYPE_CHECKING:
    from .group import Group

BatchSize = int | str | Literal["partition"]


class FunctionSteps(ABC):
    """Steps that run a Python function."""

    _node: Node

    @abstractmethod
    def _from_node(self, node: Node) -> Self: ...

    def map_batches(
        self,
        fn: Callable[..., Any] | Program | str,
        *,
        batch_size: BatchSize = 1024,
        batch_format: str = "numpy",
        schema: SchemaLike | None = None,
        per_row: bool = False,
        **options: Unpack[FunctionOptions],
    ) -> Self:
        """Runs a function on batches of rows, in worker processes.

        Batches are cut by the place of a row in its partition: every batch has `batch_size` rows but the last of a
        partition, whatever the blocks, threads and budget. Numeric NumPy arrays are the batch's own memory and may
        be written to.

        Args:
            fn: A function of a batch, a generator function, an async function, or a class: it is made once in every
                worker, and its instances are called. Or its name, `"package.module:function"`. Or a `pt.Program`.
            batch_size: Rows of a batch; or the bytes of their values, like `"64MiB"`; or `"partition"`.
            batch_format: What `fn` gets: `"numpy"` (dict of arrays; null-free lists of one length are 2-D),
                `"arrow"` (`pyarrow.RecordBatch`), `"pandas"`, `"polars"`, `"torch"` or `"jax"` (dicts of tensors
                or arrays where the type allows). It may return any of these, or a dict of lists.
            schema: The columns it returns: `{"id": "int64"}`, a `pyarrow.Schema` or text. None: it is called on the
                first 16 rows (or `batch_size`, if that is less) in a process of its own when the plan is made.
            per_row: Whether `fn` makes a row of each row, in their order, whatever else is in the batch. It is held to
                it, and `streaming_split` skips into its rows.
            options: How and where it runs, see `pt.FunctionOptions`.

        Raises:
            UserError: `fn` cannot be sent to a worker, or its columns cannot be told.

        Example:
            >>> def double(batch, times):
            ...     return {"id": batch["id"], "x": batch["id"] * times}
            >>> pt.range(3).map_batches(double, fn_args=[2]).take(3)
            [{'id': 0, 'x': 0}, {'id': 1, 'x': 2}, {'id': 2, 'x': 4}]
        """
        args = {"batch_size": batch_size, "batch_format": batch_format, "per_row": per_row}
        return self._function("map_batches", fn, args, schema, options)

    def map(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: BatchSize = 1024,
        schema: SchemaLike | None = None,
        **options: Unpack[FunctionOptions],
    ) -> Self:
        """Makes a row of every row: `fn` gets a dict and returns one.

        Args:
            fn: A function of a row, an async function (64 rows of a batch at once), or a class.
            batch_size: Rows that go to a worker at once.
            schema: As for `map_batches`.
            options: How and where it runs, see `pt.FunctionOptions`.

        Example:
            >>> pt.from_pydict({"text": ["a b", "c"]}).map(lambda row: {"words": len(row["text"].split())}).take(2)
            [{'words': 2}, {'words': 1}]
        """
        return self._function("map", fn, {"batch_size": batch_size}, schema, options)

    def flat_map(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: BatchSize = 1024,
        schema: SchemaLike | None = None,
        **options: Unpack[FunctionOptions],
    ) -> Self:
        """Makes any number of rows of every row: `fn` gets a dict, and returns a list of dicts or yields them.

        Args:
            fn: A function of a row, a generator function, an async one, or a class.
            batch_size: Rows that go to a worker at once.
            schema: As for `map_batches`.
            options: How and where it runs, see `pt.FunctionOptions`.

        Example:
            >>> ds = pt.from_pydict({"text": ["a b", "c"]})
            >>> ds.flat_map(lambda row: [{"word": word} for word in row["text"].split()]).take(9)
            [{'word': 'a'}, {'word': 'b'}, {'word': 'c'}]
        """
        return self._function("flat_map", fn, {"batch_size": batch_size}, schema, options)

    def filter_rows(
        self,
        fn: Callable[..., Any] | str,
        *,
        batch_size: BatchSize = 1024,
        **options: Unpack[FunctionOptions],
    ) -> Self:
        """Keeps the rows for which a Python function is true.

        An expression (`filter`) is far faster where it can say the same.

        `filter(fn)` is the same with its defaults.

        Args:
            fn: A function of a row (a dict), an async function, or a class.
            batch_size: Rows that go to a worker at once.
            options: How and where it runs, see `pt.FunctionOptions`.

        Example:
            >>> pt.range(9).filter_rows(lambda row: row["id"] % 4 == 0).take(9)
            [{'id': 0}, {'id': 4}, {'id': 8}]
        """
        return self._function("filter_rows", fn, {"batch_size": batch_size}, None, options)

    def map_groups(
        self,
        by: str | Sequence[str],
        fn: Callable[..., Any] | Program | str | None = None,
        *,
        steps: Callable[[Group], Group] | None = None,
        batch_format: str = "numpy",
        schema: SchemaLike | None = None,
        **options: Unpack[FunctionOptions],
    ) -> Self:
        """Runs a function, or native steps, on each group of rows that are equal in the key columns.

        Rows of a group come together through an exchange, in the order of the dataset; groups stand in an order that is
        fixed, but means nothing. For a function a group must fit in memory; native steps hold none, so that groups may
        be of any size. With `on_error="skip"` a group on which `fn` fails is left out whole; of steps inside, a row.

        Args:
            by: Key columns. Nulls are equal to each other.
            fn: A function of all rows of a group, keys among them, as `map_batches` takes it; it returns any number of
                rows.
            steps: Instead of `fn`, and of all arguments that say how it runs but `on_error` and `name`: a function
                that gets a `pt.Group` and returns it with steps behind it. It is called once, and sees no rows.
            batch_format: What `fn` gets, as for `map_batches`.
            schema: The columns it returns. None: it is called on those of the first 16 rows that have the key of the
                first one, when the plan is made.
            options: How and where it runs, see `pt.FunctionOptions`.

        Example:
            >>> def spread(group):
            ...     return {"k": group["k"][:1], "spread": [group["v"].max() - group["v"].min()]}
            >>> ds = pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 5]})
            >>> ds.map_groups("k", spread).sort("k").take(2)
            [{'k': 'a', 'spread': 4}, {'k': 'b', 'spread': 0}]
            >>> ds.map_groups("k", steps=lambda group: group.sort("v", descending=True).limit(1)).sort("k").take(2)
            [{'k': 'a', 'v': 5}, {'k': 'b', 'v': 2}]
        """
        keys = [by] if isinstance(by, str) else list(by)
        if steps is not None:
            return self._group_steps(keys, fn, steps, {"batch_format": batch_format, "schema": schema}, options)
        if fn is None:
            raise UserError("map_groups needs a function or steps", hint="write steps=lambda group: group.limit(3)")
        together = self._from_node(make_node("repartition", {"by": keys}, (self._node,)))
        return together._function("map_groups", fn, {"by": keys, "batch_format": batch_format}, schema, options)

    def _group_steps(
        self,
        keys: list[str],
        fn: object,
        steps: Callable[[Group], Group],
        given: dict[str, Any],
        options: FunctionOptions,
    ) -> Self:
        from .group import steps_of

        others = [name for name in options if name not in ("on_error", "name")]
        others += [name for name, value in given.items() if value not in (None, "numpy")]
        if fn is not None or others:
            what = "a function" if fn is not None else others[0]
            raise UserError(f"map_groups takes steps or a function: {what} has no meaning beside steps")
        args = {"by": keys, "steps": steps_of(steps)}
        node = make_node("map_groups", args, (self._node,), on_error=options.get("on_error"), name=options.get("name"))
        return self._from_node(node)

    def _function(
        self,
        op: str,
        fn: Callable[..., Any] | Program | str,
        args: dict[str, Any],
        schema: SchemaLike | None,
        options: FunctionOptions,
    ) -> Self:
        given, keep = _functions.pack(fn, options)
        # A number as it is by default says nothing: the plan of who leaves it out is the same.
        if args.get("batch_size") == 1024:
            del args["batch_size"]
        columns = {"schema": _functions.schema_text(schema)} if schema is not None else {}
        node = make_node(
            op,
            {**args, **given, **columns, **_functions.physical(options)},
            (self._node,),
            on_error=options.get("on_error"),
            name=options.get("name"),
            keep=keep,
        )
        return self._from_node(node)
