"""The steps that put rows in another order, other partitions, groups, or beside those of another dataset.

They see all rows; what does not fit in the memory of the run is kept on disk meanwhile.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

from ._graph import make_node
from .errors import UserError
from .expressions import Expr
from .grouping import GroupBy
from .mapping import FunctionSteps

Columns = str | Iterable[str]
SortKeys = str | Expr | Iterable[str | Expr]


class Rearranging(FunctionSteps):
    """Lazy steps over all rows of a dataset."""

    @abstractmethod
    def _step(self, op: str, args: dict[str, Any], *, on_error: str | None, name: str | None = None) -> Self: ...

    def sort(
        self,
        by: SortKeys,
        *more: str | Expr,
        descending: bool | Sequence[bool] = False,
        nulls: Literal["last", "first"] = "last",
        partitions: int | None = None,
        name: str | None = None,
    ) -> Self:
        """Sorts all rows; rows with equal keys keep their order.

        A `limit` behind it keeps only what it needs.

        Args:
            by: Columns or expressions to sort by, the first one first.
            more: More of them.
            descending: Whether the greatest comes first: once for all columns, or once for each. NaN is greater than
                all numbers.
            nulls: Where nulls stand, whatever the direction.
            partitions: Number of partitions of the result; None: as many as make about 128 MiB each.
            name: The step's name.

        Example:
            >>> ds = pt.from_pydict({"s": ["b", "a", None, "b"], "k": [1, 2, 3, 4]})
            >>> ds.sort("s", "k", descending=[False, True]).to_arrow().column("k").to_pylist()
            [2, 4, 1, 3]
            >>> ds.sort((pt.col("k") - 2).abs(), "k").to_arrow().column("k").to_pylist()
            [2, 1, 3, 4]
        """
        keys = [*([by] if isinstance(by, str | Expr) else by), *more]
        names: list[str] = []
        computed: list[list[object]] = []
        for key in keys:
            plain = key if isinstance(key, str) else key.to_json().get("column")
            names.append(plain if plain is not None else f"__sort_{len(computed)}")
            if plain is None:
                computed.append([names[-1], key.to_json()])
        args = {
            "by": names,
            "descending": [descending] if isinstance(descending, bool) else list(descending),
            "nulls": nulls,
            "partitions": partitions,
        }
        if not computed:
            return self._step("sort", args, on_error=None, name=name)
        with_keys = self._step("with_columns", {"columns": computed}, on_error=None)
        ordered = with_keys._step("sort", args, on_error=None, name=name)
        return ordered._step("drop", {"columns": [column for column, _ in computed]}, on_error=None)

    def random_shuffle(self, *, seed: int = 0, partitions: int | None = None, name: str | None = None) -> Self:
        """Puts all rows in a random order: every row can land everywhere, not only in its partition.

        Args:
            seed: The same seed gives the same order, on every machine.
            partitions: Number of partitions of the result; None: as many as make about 128 MiB each.
            name: The step's name.

        Example:
            >>> rows = pt.range(5).random_shuffle(seed=7).take(9)
            >>> sorted(row["id"] for row in rows)
            [0, 1, 2, 3, 4]
        """
        return self._step("random_shuffle", {"seed": seed, "partitions": partitions}, on_error=None, name=name)

    def local_shuffle(self, buffer_rows: int = 10_000, *, seed: int = 0, name: str | None = None) -> Self:
        """Puts rows that follow each other in a random order; rows stay in their partition.

        Each partition is cut in windows of `buffer_rows` rows, and the rows of a window change places. That is cheaper
        than `random_shuffle` and less random: rows that are far from each other stay so.

        Args:
            buffer_rows: How many rows change places with each other; they are in memory together.
            seed: The same seed gives the same order, on every machine.
            name: The step's name.

        Example:
            >>> rows = pt.range(6).local_shuffle(3, seed=2).take(9)
            >>> sorted(row["id"] for row in rows[:3])
            [0, 1, 2]
        """
        return self._step("local_shuffle", {"buffer_rows": buffer_rows, "seed": seed}, on_error=None, name=name)

    def repartition(
        self,
        n: int | None = None,
        *,
        rows: int | None = None,
        bytes: int | str | None = None,
        by: Columns = (),
        shuffle: bool = False,
        name: str | None = None,
    ) -> Self:
        """Cuts the rows in other partitions: in their order, by key, or at random.

        Args:
            n: Number of partitions; without `by` and `shuffle` they differ by one row at most.
            rows: Rows of each partition, instead of their number; the last one may be shorter.
            bytes: Bytes of each partition, as a number or like `"64MiB"`, instead of their number: there are as many
                as that makes.
            by: Key columns: rows with equal keys go to one partition, and stand together in it.
            shuffle: Whether rows are placed at random, always in the same way.
            name: The step's name.

        Example:
            >>> pt.range(10).repartition(3).count()
            10
        """
        args = {"n": n, "rows": rows, "bytes": bytes, "by": _names(by), "shuffle": shuffle}
        return self._step("repartition", args, on_error=None, name=name)

    def distinct(
        self, by: Columns = (), *, keep: Literal["first", "last", "none"] = "first", name: str | None = None
    ) -> Self:
        """Keeps one row of those that are equal in the key columns. The order of the rows is fixed, but means nothing.

        Args:
            by: Key columns; none: all columns. Nulls are equal to each other.
            keep: Which row stays, in the order of the dataset; `"none"`: rows that are not alone are left out.
            name: The step's name.

        Example:
            >>> ds = pt.from_pydict({"k": [1, 2, 1], "v": ["a", "b", "c"]})
            >>> ds.distinct("k", keep="last").sort("k").take(9)
            [{'k': 1, 'v': 'c'}, {'k': 2, 'v': 'b'}]
        """
        return self._step("distinct", {"by": _names(by), "keep": keep}, on_error=None, name=name)

    def group_by(self, by: Columns, *more: str) -> GroupBy[Self]:
        """Groups of the rows that are equal in the key columns; `agg` makes one row of each.

        Args:
            by: Key columns. Nulls are equal to each other.
            more: More key columns.

        Example:
            >>> ds = pt.from_pydict({"k": ["a", "b", "a"], "v": [1.0, 2.0, 5.0]})
            >>> ds.group_by("k").agg(mean=pt.col("v").mean()).sort("k").take(9)
            [{'k': 'a', 'mean': 3.0}, {'k': 'b', 'mean': 2.0}]
        """
        return GroupBy(self, [*_names(by), *more])

    def join(
        self,
        other: Self,
        on: Columns = (),
        *,
        how: Literal["inner", "left", "right", "full", "semi", "anti", "cross"] = "inner",
        left_on: Columns = (),
        right_on: Columns = (),
        suffix: str | None = "_right",
        strategy: Literal["auto", "broadcast", "hash"] = "auto",
        partitions: int | None = None,
        name: str | None = None,
    ) -> Self:
        """Puts the rows of `other` beside those of this dataset, the left one, where their key columns are equal.

        A null equals nothing, not even a null. Rows of a broadcast join keep the order of this dataset; otherwise
        their order is fixed, but means nothing. `explain` tells which it is.

        Args:
            other: The right dataset.
            on: Key columns that both have; they are one column of the result. Keys of two types (int32 and int64,
                text and a dictionary of text) become their common one.
            how: Which rows stay: `"inner"` only pairs; `"left"`, `"right"` and `"full"` also rows of that side or of
                both that match none; `"semi"` left rows that match, once; `"anti"` left rows that do not; `"cross"`
                each left row with each right row, without keys.
            left_on: Key columns of this dataset, instead of `on`.
            right_on: Key columns of `other`, as many. Where a name differs, an inner and a left join drop the right
                column, a right join the left one.
            suffix: Put behind the name of a right column that the left has too; None: that is an error.
            strategy: `"broadcast"`: `other` is held in memory, and the rows keep the order and the partitions of this
                dataset; `"hash"`: both are placed by key, whatever their sizes, and a key that is worth
                several partitions is shared by them; `"auto"`: broadcast where `other` is known to be at most 16 MiB,
                no `partitions` are given and `how` is not `"right"` or `"full"`.
            partitions: Number of partitions of the result; None: as many as make about 128 MiB each.
            name: The step's name.

        Example:
            >>> users = pt.from_pydict({"id": [1, 2], "name": ["ann", "bob"]})
            >>> visits = pt.from_pydict({"user": [1, 3], "page": ["a", "b"]})
            >>> users.join(visits, left_on="id", right_on="user", how="left").sort("id").take(9)
            [{'id': 1, 'name': 'ann', 'page': 'a'}, {'id': 2, 'name': 'bob', 'page': None}]
            >>> users.join(visits.rename(user="id"), on="id", how="anti").take(9)
            [{'id': 2, 'name': 'bob'}]
        """
        if not isinstance(other, Rearranging):
            raise UserError(f"join takes a dataset, not {type(other).__name__}", hint="wrap rows in pt.from_arrow(…)")
        args = {
            "on": _names(on) or None,
            "how": how,
            "left_on": _names(left_on) or None,
            "right_on": _names(right_on) or None,
            "suffix": suffix if suffix is not None else "",
            "strategy": strategy,
            "partitions": partitions,
        }
        return self._from_node(make_node("join", args, (self._node, other._node), name=name))

    def join_asof(
        self,
        other: Self,
        on: str | None = None,
        *,
        by: Columns = (),
        direction: Literal["backward", "forward", "nearest"] = "backward",
        left_on: str | None = None,
        right_on: str | None = None,
        left_by: Columns = (),
        right_by: Columns = (),
        suffix: str | None = "_right",
        strategy: Literal["auto", "broadcast", "hash"] = "auto",
        partitions: int | None = None,
        name: str | None = None,
    ) -> Self:
        """Puts beside each row the nearest row of `other`: the last one that is not after it, or the first not before.

        Every row of this dataset stays, once; without a partner the columns of `other` are null. Neither dataset need
        be sorted.

        Args:
            other: The right dataset.
            on: The column that both are ordered by: a number or a time. A null has no partner.
            by: Key columns that both have: only rows with equal keys are looked at.
            direction: `"backward"`: the last right row that is not after the left one; `"forward"`: the first that is
                not before it; `"nearest"`: the nearer of both, backward where they are equally near. Of right rows that
                are equally near on one side, backward takes the last one and forward the first.
            left_on: The column of this dataset to order by, instead of `on`.
            right_on: The column of `other` to order by.
            left_by: Key columns of this dataset, instead of `by`.
            right_by: Key columns of `other`, as many.
            suffix: Put behind the name of a right column that this dataset has too; None: that is an error.
            strategy: `"broadcast"`: `other` is held in memory, and rows keep their order and their partitions;
                `"hash"`: both are placed by `by` and ordered by `on`, whatever their sizes; `"auto"`: broadcast where
                `other` is known to be at most 16 MiB and no `partitions` are given.
            partitions: How many, where both are placed by key [by their bytes].
            name: The step's name.

        Example:
            >>> trades = pt.from_pydict({"t": [3, 10], "n": [100, 50]})
            >>> quotes = pt.from_pydict({"t": [1, 2, 9], "price": [5.0, 5.5, 6.0]})
            >>> trades.join_asof(quotes, on="t").take(9)
            [{'t': 3, 'n': 100, 't_right': 2, 'price': 5.5}, {'t': 10, 'n': 50, 't_right': 9, 'price': 6.0}]
        """
        if not isinstance(other, Rearranging):
            raise UserError(
                f"join_asof takes a dataset, not {type(other).__name__}", hint="wrap rows in pt.from_arrow(…)"
            )
        args = {
            "on": on,
            "by": _names(by) or None,
            "direction": direction,
            "left_on": left_on,
            "right_on": right_on,
            "left_by": _names(left_by) or None,
            "right_by": _names(right_by) or None,
            "suffix": suffix if suffix is not None else "",
            "strategy": strategy,
            "partitions": partitions,
        }
        return self._from_node(make_node("join_asof", args, (self._node, other._node), name=name))

    def zip(self, other: Self, *, suffix: str | None = "_right", name: str | None = None) -> Self:
        """Puts the rows of `other` beside those of this dataset, the first beside the first and so on.

        Args:
            other: The right dataset, with as many rows.
            suffix: Put behind the name of a right column that the left has too; None: that is an error.
            name: The step's name.

        Raises:
            PartitaError: When the rows come, if the datasets have not as many of them; it tells both numbers.

        Example:
            >>> letters = pt.from_pydict({"letter": ["a", "b"]})
            >>> pt.range(2).zip(letters).take(9)
            [{'id': 0, 'letter': 'a'}, {'id': 1, 'letter': 'b'}]
        """
        if not isinstance(other, Rearranging):
            raise UserError(f"zip takes a dataset, not {type(other).__name__}", hint="wrap rows in pt.from_arrow(…)")
        args = {"suffix": suffix if suffix is not None else ""}
        return self._from_node(make_node("zip", args, (self._node, other._node), name=name))

    def sample(
        self, fraction: float | None = None, *, n: int | None = None, seed: int = 0, name: str | None = None
    ) -> Self:
        """Keeps a random part of the rows.

        Args:
            fraction: The part of the rows to keep, 0.1 for a tenth: each row by itself, so that their number is about
                that. They stay in their order, and nothing is held back.
            n: Keeps so many rows instead (or all, if there are fewer), in a random order.
            seed: The same seed keeps the same rows.
            name: The step's name.

        Raises:
            UserError: Neither or both of `fraction` and `n` are given.

        Example:
            >>> pt.range(1000).sample(n=10, seed=1).count()
            10
            >>> 50 < pt.range(1000).sample(0.1, seed=1).count() < 150
            True
        """
        if (fraction is None) == (n is None):
            raise UserError(
                "sample takes the fraction of the rows or their number", hint="write sample(0.1) or sample(n=5)"
            )
        if n is not None:
            shuffled = self._step("random_shuffle", {"seed": seed}, on_error=None)
            return shuffled._step("limit", {"n": n}, on_error=None, name=name)
        return self._step("sample", {"fraction": fraction, "seed": seed}, on_error=None, name=name)

    def split(self, fractions: Sequence[float], *, seed: int = 0) -> list[Self]:
        """Cuts the rows at random in several datasets, so that each row is in exactly one.

        A row is told by its place in its source, not by its values. In one run the source is read once.

        Args:
            fractions: The part of the rows of each dataset; together they are 1. The numbers of rows are about that.
            seed: The same seed makes the same cut.

        Raises:
            UserError: The fractions do not add up to 1.

        Example:
            >>> train, test = pt.range(1000).split([0.8, 0.2], seed=1)
            >>> train.count() + test.count()
            1000
        """
        parts = list(fractions)
        if not parts or any(part < 0 for part in parts) or not math.isclose(math.fsum(parts), 1, abs_tol=1e-6):
            total = f"{math.fsum(parts):g}"
            raise UserError(f"the fractions of a split add up to 1, not {total}", hint="as in [0.8, 0.1, 0.1]")
        out: list[Self] = []
        offset = 0.0
        for i, part in enumerate(parts):
            # The last one takes what is left: no row is lost to rounding.
            fraction = part if i + 1 < len(parts) else 1.0 - offset
            fraction = min(max(fraction, 0.0), 1.0)
            out.append(self._step("sample", {"fraction": fraction, "seed": seed, "offset": offset}, on_error=None))
            offset = min(offset + fraction, 1.0)
        return out

    def train_test_split(self, test_size: float = 0.25, *, seed: int = 0) -> tuple[Self, Self]:
        """Cuts the rows at random in two datasets, to train on and to test with.

        Args:
            test_size: The part of the rows that is for the test, from 0 to 1.
            seed: The same seed makes the same cut.

        Example:
            >>> train, test = pt.range(100).train_test_split(0.2, seed=3)
            >>> train.count() > test.count()
            True
        """
        if not 0 <= test_size <= 1:
            raise UserError(f"test_size is a part of the rows from 0 to 1, not {test_size!r}")
        train, test = self.split([1 - test_size, test_size], seed=seed)
        return train, test


def _names(columns: Columns) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)
