"""Aggregates: what `group_by(…).agg(…)` computes of the rows of each group."""

from __future__ import annotations

from typing import Any

from ._native import native, to_json
from .errors import UserError

__all__ = ["Aggregate", "count"]


class Aggregate:
    """One value of the rows of a group. Immutable; made by `pt.count()` and methods of columns, `pt.col("v").sum()`.

    Nulls are left out, except by `pt.count()`, `first`, `last` and `collect`; of no value at all the result is null.

    Example:
        >>> pt.col("v").sum().alias("total")
        Aggregate(sum(v) as total)
    """

    __slots__ = ("_name", "_text")

    def __init__(self, text: str, name: str | None = None) -> None:
        self._text = text
        self._name = name

    @property
    def name(self) -> str:
        """The name of its column: its alias, else its text, as in `sum(v)`."""
        return self._name if self._name is not None else self._text

    def alias(self, name: str) -> Aggregate:
        """Names the column that `agg` makes of this.

        Args:
            name: The column's name.
        """
        return Aggregate(self._text, name)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Aggregate({self._text}{f' as {self._name}' if self._name is not None else ''})"


def count() -> Aggregate:
    """The number of rows of a group.

    Example:
        >>> ds = pt.from_pydict({"k": ["a", "b", "a"]})
        >>> ds.group_by("k").agg(pt.count().alias("n")).sort("k").take(9)
        [{'k': 'a', 'n': 2}, {'k': 'b', 'n': 1}]
    """
    return Aggregate("count()")


def _column_text(expression: dict[str, Any]) -> str:
    text: str = native.expression_text(to_json(expression))
    if "column" not in expression:
        raise UserError(
            f"an aggregate is of a plain column, and {text} is none",
            hint="compute it with with_columns before the group_by",
        )
    return text


class Aggregations:
    """The methods of a column that make an aggregate of it."""

    __slots__ = ()

    _json: dict[str, Any]

    def _aggregate(self, function: str, *more: str) -> Aggregate:
        return Aggregate(f"{function}({', '.join([_column_text(self._json), *more])})")

    def count(self) -> Aggregate:
        """The number of values that are not null."""
        return self._aggregate("count")

    def sum(self) -> Aggregate:
        """The sum; of integers int64 or uint64, and an error where it does not fit."""
        return self._aggregate("sum")

    def mean(self) -> Aggregate:
        """The mean, a float64."""
        return self._aggregate("mean")

    def min(self) -> Aggregate:
        """The least value."""
        return self._aggregate("min")

    def max(self) -> Aggregate:
        """The greatest value."""
        return self._aggregate("max")

    def var(self) -> Aggregate:
        """The variance of a sample (divided by n - 1)."""
        return self._aggregate("var")

    def std(self) -> Aggregate:
        """The standard deviation of a sample (divided by n - 1)."""
        return self._aggregate("std")

    def any(self) -> Aggregate:
        """Whether one value is true."""
        return self._aggregate("any")

    def all(self) -> Aggregate:
        """Whether all values are true."""
        return self._aggregate("all")

    def first(self) -> Aggregate:
        """The value of the first row in the order of the dataset, null or not."""
        return self._aggregate("first")

    def last(self) -> Aggregate:
        """The value of the last row in the order of the dataset, null or not."""
        return self._aggregate("last")

    def collect(self) -> Aggregate:
        """A list of all values in the order of the dataset, nulls too."""
        return self._aggregate("list")

    def median(self) -> Aggregate:
        """The value in the middle, a float64: of an even number of values the mean of both. Of integers and floats."""
        return self.quantile(0.5)

    def quantile(self, q: float) -> Aggregate:
        """The value below which a part of the values lies, exact, a float64: linear between the two next to it.

        Args:
            q: The part, from 0 to 1.
        """
        return self._aggregate("quantile", f"{float(q)!r}")

    def approx_quantile(self, q: float) -> Aggregate:
        """As `quantile`, of the values cut to nine significant bits: less than 0.4 % nearer to zero, in little memory.

        A group holds its different cut values and how often each occurs, not all rows. Integers up to 512 are exact.
        The result follows from the values alone, not from their order, the budget or the number of threads.

        Args:
            q: The part, from 0 to 1.

        Example:
            >>> ds = pt.from_pydict({"k": [1, 1, 1], "v": [1.0, 2.0, 1000.1]})
            >>> ds.group_by("k").agg(q=pt.col("v").approx_quantile(1)).take(9)
            [{'k': 1, 'q': 1000.0}]
        """
        return self._aggregate("approx_quantile", f"{float(q)!r}")

    def largest(self, n: int) -> Aggregate:
        """A list of the largest values, the largest first. Of numbers and times.

        Args:
            n: How many at most, up to 1000.
        """
        return self._aggregate("largest", str(n))

    def smallest(self, n: int) -> Aggregate:
        """A list of the smallest values, the smallest first. Of numbers and times.

        Args:
            n: How many at most, up to 1000.
        """
        return self._aggregate("smallest", str(n))

    def corr(self, other: Aggregations | str) -> Aggregate:
        """Pearson's correlation with another column, a float64, of the rows that have both values.

        Args:
            other: The other column, or its name.

        Example:
            >>> ds = pt.from_pydict({"k": [1, 1, 1], "v": [1, 2, 3], "w": [2.0, 4.0, 6.0]})
            >>> ds.group_by("k").agg(r=pt.col("v").corr("w"), m=pt.col("v").median(), l=pt.col("w").largest(2)).take(9)
            [{'k': 1, 'r': 1.0, 'm': 2.0, 'l': [6.0, 4.0]}]
        """
        return self._aggregate("corr", _column_text({"column": other} if isinstance(other, str) else other._json))

    def n_unique(self) -> Aggregate:
        """The number of different values that are not null."""
        return self._aggregate("n_unique")

    def approx_n_unique(self) -> Aggregate:
        """About the number of different values that are not null, in up to 4 KiB a group: the standard error is 1.6 %.

        The estimate follows from the values alone, not from their order, the budget or the number of threads.

        Example:
            >>> ds = pt.from_pydict({"k": [1, 1, 1], "v": ["a", "b", "a"]})
            >>> ds.group_by("k").agg(u=pt.col("v").approx_n_unique()).take(9)
            [{'k': 1, 'u': 2}]
        """
        return self._aggregate("approx_n_unique")
