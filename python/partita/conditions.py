"""Choices between values: `pt.when(…).then(…).otherwise(…)`."""

from __future__ import annotations

from .expressions import Expr, IntoExpr, func

__all__ = ["when"]


class When:
    """What `when` returns; `then` and `otherwise` make it an expression."""

    __slots__ = ("_args", "_condition")

    def __init__(self, args: tuple[IntoExpr, ...], condition: IntoExpr) -> None:
        self._args = args
        self._condition = condition

    def then(self, value: IntoExpr) -> Then:
        """The value where the condition is true."""
        return Then((*self._args, self._condition, value))


class Then(Expr):
    """An expression that may go on with `when` or end with `otherwise` (without: null)."""

    __slots__ = ("_args",)

    def __init__(self, args: tuple[IntoExpr, ...]) -> None:
        super().__init__(func("case", *args)._json)
        self._args = args

    def when(self, condition: IntoExpr) -> When:
        """The next condition."""
        return When(self._args, condition)

    def otherwise(self, value: IntoExpr) -> Expr:
        """The value where no condition is true."""
        return func("case", *self._args, value)


def when(condition: IntoExpr) -> When:
    """A choice: `when(a).then(x).when(b).then(y).otherwise(z)`.

    Example:
        >>> size = pt.when(pt.col("id") > 1).then(pt.lit("big")).otherwise(pt.lit("small"))
        >>> pt.range(3).select(size=size).take(3)
        [{'size': 'small'}, {'size': 'small'}, {'size': 'big'}]
    """
    return When((), condition)
