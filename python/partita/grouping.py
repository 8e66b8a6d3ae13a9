"""Groups of rows with equal keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from ._functions import Aggregator, FunctionOptions, Program, SchemaLike
from .aggregates import Aggregate
from .errors import UserError

if TYPE_CHECKING:
    from .group import Group
    from .rearranging import Rearranging

DatasetT = TypeVar("DatasetT", bound="Rearranging")


class GroupBy(Generic[DatasetT]):
    """A dataset with key columns, waiting for what to compute of each group; made by `Dataset.group_by`.

    Example:
        >>> groups = pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 3]}).group_by("k")
        >>> groups
        GroupBy(k)
        >>> groups.agg(most="max(v)").sort("k").take(2)
        [{'k': 'a', 'most': 3}, {'k': 'b', 'most': 2}]
    """

    def __init__(self, dataset: DatasetT, keys: list[str]) -> None:
        self._dataset = dataset
        self._keys = keys

    def __repr__(self) -> str:
        return f"GroupBy({', '.join(self._keys)})"

    def agg(self, *aggregates: Aggregate | str, **named: Aggregate | str) -> DatasetT:
        """One row a group: the keys, then the aggregates. The order of the rows is fixed, but means nothing; sort them.

        Args:
            aggregates: Aggregates with the name of their column (`alias`); without one it is their text, `sum(v)`.
            named: Aggregates by the name of their column; text like `"sum(v)"` and `"count()"` will do.

        Raises:
            UserError: There is nothing to compute, or two columns would have one name.

        Example:
            >>> ds = pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 3]})
            >>> ds.group_by("k").agg(pt.col("v").sum().alias("total"), n="count()").sort("k").take(9)
            [{'k': 'a', 'total': 4, 'n': 2}, {'k': 'b', 'total': 2, 'n': 1}]
        """
        pairs = [[one.name if isinstance(one, Aggregate) else one, str(one)] for one in aggregates]
        pairs += [[column, str(one)] for column, one in named.items()]
        if not pairs:
            raise UserError("agg needs at least one aggregate", hint="write agg(n=pt.count())")
        return self._dataset._step("group_by", {"by": self._keys, "aggregates": pairs}, on_error=None)

    def count(self, column: str = "count") -> DatasetT:
        """One row a group: the keys and the number of rows.

        Args:
            column: The name of the number's column.

        Example:
            >>> pt.from_pydict({"k": ["a", "b", "a"]}).group_by("k").count().sort("k").take(9)
            [{'k': 'a', 'count': 2}, {'k': 'b', 'count': 1}]
        """
        return self.agg(**{column: "count()"})

    def aggregate(
        self,
        aggregator: Aggregator | type[Aggregator],
        *,
        batch_format: str = "numpy",
        schema: SchemaLike | None = None,
        **options: Unpack[FunctionOptions],
    ) -> DatasetT:
        """One row a group, computed by an aggregator of your own: the keys, then what its `finish` returns.

        States of groups are made of each batch before rows move, and only states go through the exchange: for groups
        with many rows much less than `map_groups` moves.

        Args:
            aggregator: An object or a class with the methods of `pt.Aggregator`.
            batch_format: What its `add` gets, as for `map_batches`.
            schema: The columns of the result, keys among them; None: it is asked when the plan is made.
            options: How and where it runs, see `pt.FunctionOptions`; `on_error` holds for groups whose `finish` fails.

        Example:
            >>> class Range:
            ...     def start(self):
            ...         return []
            ...     def add(self, state, rows):
            ...         return [*state, rows["v"].min(), rows["v"].max()]
            ...     def merge(self, state, other):
            ...         return [min(state + other), max(state + other)]
            ...     def finish(self, state):
            ...         return {"range": max(state) - min(state)}
            >>> pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 5]}).group_by("k").aggregate(Range).sort("k").take(2)
            [{'k': 'a', 'range': 4}, {'k': 'b', 'range': 0}]
        """
        from .worker.aggregator import Partial, Whole

        made = (aggregator, self._keys)
        before: FunctionOptions = {**options, "fn_constructor_args": (*made, batch_format), "on_error": None}
        before["name"] = None
        behind: FunctionOptions = {**options, "fn_constructor_args": made}
        states = self._dataset.map_batches(Partial, batch_format="arrow", **before)
        return states.map_groups(self._keys, Whole, batch_format="arrow", schema=schema, **behind)

    def head(self, n: int = 5) -> DatasetT:
        """The first `n` rows of each group, in the order of the dataset: `map_groups` with a `limit`.

        Args:
            n: Rows of a group at most.

        Example:
            >>> pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 5]}).group_by("k").head(1).sort("k").take(9)
            [{'k': 'a', 'v': 1}, {'k': 'b', 'v': 2}]
        """
        return self._dataset.map_groups(self._keys, steps=lambda group: group.limit(n))

    def map_groups(
        self,
        fn: Callable[..., Any] | Program | str | None = None,
        *,
        steps: Callable[[Group], Group] | None = None,
        batch_format: str = "numpy",
        schema: SchemaLike | None = None,
        **options: Unpack[FunctionOptions],
    ) -> DatasetT:
        """Runs a function, or native steps, on each group: `Dataset.map_groups` with these keys.

        Args:
            fn: A function of all rows of a group, keys among them, as `map_batches` takes it.
            steps: Instead of `fn`: a function that gets a `pt.Group` and returns it with native steps behind it. Rows
                stay in C++, and a group need not fit in memory.
            batch_format: What `fn` gets, as for `map_batches`.
            schema: The columns it returns; None: it is asked when the plan is made.
            options: How and where it runs, see `pt.FunctionOptions`.

        Example:
            >>> groups = pt.from_pydict({"k": ["a", "b", "a"], "v": [1, 2, 5]}).group_by("k")
            >>> groups.map_groups(lambda group: {"k": group["k"][:1], "n": [len(group["v"])]}).sort("k").take(2)
            [{'k': 'a', 'n': 2}, {'k': 'b', 'n': 1}]
            >>> groups.map_groups(steps=lambda group: group.sort("v", descending=True).limit(1)).sort("k").take(2)
            [{'k': 'a', 'v': 5}, {'k': 'b', 'v': 2}]
        """
        return self._dataset.map_groups(
            self._keys, fn, steps=steps, batch_format=batch_format, schema=schema, **options
        )
