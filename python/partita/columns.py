"""What steps take as conditions and columns: expressions, text and names, made into the expressions that plans hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import UserError
from .expressions import Expr, lit, sql


def predicate(value: Expr | str | bool) -> Expr:
    """What a step takes as a condition: text is SQL here, not a literal."""
    return sql(value) if isinstance(value, str) else lit(value)


def named_columns(expressions: Iterable[Any], keywords: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The columns that `select` and `with_columns` are asked for, in order.

    Positional text is the name of a column; text of a keyword or a mapping is SQL.
    """
    columns: list[tuple[str, dict[str, Any]]] = []

    def add(value: Any) -> None:
        if isinstance(value, str):
            columns.append((value, {"column": value}))
        elif isinstance(value, Expr):
            if value.name is None:
                raise UserError(f"the column {value} has no name", hint='write .alias("name"), or name=expression')
            columns.append((value.name, value._json))
        elif isinstance(value, dict):
            columns.extend((name, _column_value(name, item)) for name, item in value.items())
        elif isinstance(value, Iterable) and not isinstance(value, bytes):
            for item in value:
                add(item)
        else:
            raise UserError(f"{value!r} is no column", hint="give names, expressions, or name=expression")

    for expression in expressions:
        add(expression)
    columns.extend((name, _column_value(name, item)) for name, item in keywords.items())
    return columns


def _column_value(name: object, value: Any) -> dict[str, Any]:
    if not isinstance(name, str):
        raise UserError(f"a column is named by text, not by {name!r}")
    try:
        return predicate(value)._json
    except UserError as error:
        raise UserError(f"column {name!r}: {error.message}", hint=error.hint) from None
