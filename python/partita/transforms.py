"""The steps that make a dataset from a dataset."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import pyarrow as pa

from . import manifests
from ._functions import FunctionOptions
from ._graph import Node, make_node, renamed
from ._native import native, step_specs
from .columns import named_columns, predicate
from .errors import UserError
from .expressions import Expr, IntoExpr, TypeLike, type_text
from .rearranging import Rearranging


class Transforms(Rearranging):
    """Lazy steps. Nothing is read before rows, a schema or a count are asked for."""

    _node: Node

    @abstractmethod
    def _from_node(self, node: Node) -> Self: ...

    def _step(self, op: str, args: dict[str, Any], *, on_error: str | None, name: str | None = None) -> Self:
        return self._from_node(make_node(op, args, (self._node,), on_error=on_error, name=name))

    def filter(
        self,
        *predicates: Expr | str | Callable[[dict[str, Any]], Any],
        on_error: str | None = None,
        name: str | None = None,
    ) -> Self:
        """Keeps the rows where all `predicates` are true; where one is false or null the row is left out.

        Args:
            predicates: Expressions, or text with SQL's operators. One Python function of a row (a dict) is the same
                as `filter_rows(fn)`, which has its options.
            on_error: What becomes of a row whose predicate cannot be computed: `"fail"` (the run), `"skip"` or
                `"quarantine"`.
            name: The step's name in progress, stats and errors.

        Raises:
            UserError: Text is no expression, or (when the schema is known) a predicate is no condition.

        Example:
            >>> pt.range(10).filter(pt.col("id") % 2 == 0, "id > 4").take(9)
            [{'id': 6}, {'id': 8}]
        """
        if not predicates:
            raise UserError("filter needs a predicate", hint='write filter("width >= 256")')
        functions = [item for item in predicates if callable(item) and not isinstance(item, Expr)]
        if functions:
            if len(predicates) > 1:
                raise UserError("filter takes one Python function alone", hint="write .filter(…).filter(…)")
            return self.filter_rows(functions[0], on_error=on_error, name=name)
        condition = predicate(predicates[0])  # type: ignore[arg-type]
        for other in predicates[1:]:
            condition = condition & predicate(other)  # type: ignore[arg-type]
        return self._step("filter", {"predicate": condition._json}, on_error=on_error, name=name)

    def select(
        self, *columns: str | Expr | Iterable[str | Expr], on_error: str | None = None, **named: IntoExpr
    ) -> Self:
        """Keeps, reorders and computes columns; all others are left out.

        Args:
            columns: Names of columns, or expressions that have a name.
            on_error: What becomes of a row that cannot be computed: `"fail"`, `"skip"` or `"quarantine"`.
            named: New columns; text is an expression with SQL's operators.

        Example:
            >>> ds = pt.from_pydict({"a": [1], "b": [2], "c": [3]})
            >>> ds.select("c", pt.col("a").alias("x"), total="a + b").take(1)
            [{'c': 3, 'x': 1, 'total': 3}]
        """
        return self._step("select", {"columns": _columns("select", columns, named)}, on_error=on_error)

    def drop(self, *columns: str | Iterable[str], on_error: str | None = None, name: str | None = None) -> Self:
        """Leaves columns out.

        Args:
            columns: Names of columns.
            on_error: As for `filter`; dropping itself cannot fail.
            name: The step's name.

        Example:
            >>> pt.from_pydict({"a": [1], "b": [2]}).drop("a").take(1)
            [{'b': 2}]
        """
        return self._step("drop", {"columns": _names(columns)}, on_error=on_error, name=name)

    def rename(self, mapping: Mapping[str, str] | None = None, /, *, on_error: str | None = None, **names: str) -> Self:
        """Renames columns; they keep their places.

        Args:
            mapping: Old name to new name.
            on_error: As for `filter`; renaming itself cannot fail.
            names: The same as keywords: `rename(old="new")`.

        Example:
            >>> pt.from_pydict({"a": [1]}).rename(a="b").take(1)
            [{'b': 1}]
        """
        return self._step("rename", {"columns": {**(mapping or {}), **names}}, on_error=on_error)

    def with_columns(
        self,
        *columns: Expr | Mapping[str, IntoExpr] | Iterable[Expr],
        on_error: str | None = None,
        **named: IntoExpr,
    ) -> Self:
        """Adds columns, or replaces those of the same name in their places.

        All expressions see the columns of the input, not each other.

        Args:
            columns: Expressions that have a name, or mappings of name to expression.
            on_error: What becomes of a row that cannot be computed: `"fail"`, `"skip"` or `"quarantine"`.
            named: Columns by name; text is an expression with SQL's operators (a text literal is `pt.lit("x")`).

        Example:
            >>> ds = pt.from_pydict({"w": [2], "h": [3]})
            >>> ds.with_columns(area=pt.col("w") * pt.col("h"), w="w + 1").take(1)
            [{'w': 3, 'h': 3, 'area': 6}]
        """
        return self._step("with_columns", {"columns": _columns("with_columns", columns, named)}, on_error=on_error)

    def with_column(
        self, column: str, expression: IntoExpr, *, on_error: str | None = None, name: str | None = None
    ) -> Self:
        """Adds or replaces one column.

        Args:
            column: Its name.
            expression: How to compute it; text is an expression with SQL's operators.
            on_error: As for `with_columns`.
            name: The step's name.

        Example:
            >>> pt.range(2).with_column("twice", pt.col("id") * 2).take(2)
            [{'id': 0, 'twice': 0}, {'id': 1, 'twice': 2}]
        """
        columns = _columns("with_column", ({column: expression},), {})
        return self._step("with_columns", {"columns": columns}, on_error=on_error, name=name)

    def cast(
        self,
        types: Mapping[str, TypeLike | type] | None = None,
        /,
        *,
        on_error: str | None = None,
        **named: TypeLike | type,
    ) -> Self:
        """Changes types of columns; a value that does not fit is a bad row.

        Args:
            types: Column to type: text like `"int32"`, a `pyarrow.DataType`, or `int`, `float`, `str`, …
            on_error: What becomes of bad rows: `"fail"`, `"skip"` or `"quarantine"`.
            named: The same as keywords.

        Example:
            >>> ds = pt.from_pydict({"a": ["1", "x"]})
            >>> ds.cast(a="int32", on_error="skip").take(2)
            [{'a': 1}]
        """
        columns = {column: type_text(dtype) for column, dtype in {**(types or {}), **named}.items()}
        return self._step("cast", {"columns": columns}, on_error=on_error)

    def limit(self, n: int, *, on_error: str | None = None, name: str | None = None) -> Self:
        """Keeps the first `n` rows, in the order of the dataset; what lies behind is not read.

        Example:
            >>> pt.range(1_000_000_000).limit(2).take(9)
            [{'id': 0}, {'id': 1}]
        """
        return self._step("limit", {"n": n}, on_error=on_error, name=name)

    def union(self, *others: Self, on_error: str | None = None, name: str | None = None) -> Self:
        """The rows of this dataset, then those of `others`; their columns must agree in name, type and order.

        Example:
            >>> pt.range(2).union(pt.range(1)).take(9)
            [{'id': 0}, {'id': 1}, {'id': 0}]
        """
        for other in others:
            if not isinstance(other, Transforms):
                raise UserError(
                    f"union takes datasets, not {type(other).__name__}", hint="wrap rows in pt.from_arrow(…)"
                )
        inputs = (self._node, *(other._node for other in others))
        return self._from_node(make_node("union", {}, inputs, on_error=on_error, name=name))

    def apply(
        self,
        component: Any,
        /,
        *,
        on_error: str | None = None,
        name: str | None = None,
        options: FunctionOptions | None = None,
        **args: Any,
    ) -> Self:
        """A ready step by its registered name, or a component of your own.

        `pt.components()` lists the ready ones, `pt.describe(…)` tells the arguments of both.

        Args:
            component: `"resize_images"`, `"download_images"`, …; or what `pt.component` made.
            on_error: What becomes of bad rows: `"fail"` (the run), `"skip"` or `"quarantine"`.
            name: The step's name.
            options: How and where a component of your own runs, see `pt.FunctionOptions`.
            args: The component's arguments.

        Raises:
            UserError: The component or an argument is unknown or of a wrong type; the message has the nearest name.

        Example:
            >>> pt.range(5).apply("limit", n=2).count()
            2
        """
        if not isinstance(component, str):
            given: FunctionOptions = {"on_error": on_error, "name": name, **(options or {})}
            made: Self = manifests.apply_own(self, component, args, given)
            return made
        if options is not None:
            raise UserError("options are for components of your own", hint=f"leave them out for '{component}'")
        spec = step_specs().get(component)
        if spec is not None and spec["kind"] != "transform":
            word = "pt." if spec["kind"] == "source" else "ds."
            raise UserError(f"'{component}' is a {spec['kind']}, not a step between", hint=f"call {word}{component}(…)")
        plain = {key: _plain(value) for key, value in args.items()}
        return self._step(component, plain, on_error=on_error, name=name)

    def named(self, name: str) -> Self:
        """The same dataset with another name for its last step.

        Call it right behind the step: datasets made before and after it do not share that step in a run.

        Args:
            name: Letters, digits, `_`, `-` and `.`.

        Example:
            >>> pt.range(3).filter("id > 0").named("positive")
            Dataset
              range(3)
              positive: filter(id > 0)
        """
        return self._from_node(renamed(self._node, name))


def _plain(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, Expr):
        return value._json
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, pa.DataType):
        return native.type_text(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and hasattr(value, "dtype"):  # a NumPy scalar
        return value.item()
    return value


def _columns(step: str, columns: Iterable[Any], named: Mapping[str, Any]) -> list[Any]:
    found = named_columns(columns, dict(named))
    if not found:
        raise UserError(f"{step} needs at least one column")
    return [[name, form] for name, form in found]


def _names(columns: Iterable[str | Iterable[str]]) -> list[str]:
    names: list[str] = []
    for column in columns:
        if isinstance(column, str):
            names.append(column)
        elif isinstance(column, Expr):
            raise UserError(f"drop takes names of columns, not {column!r}")
        else:
            names.extend(column)
    if not names:
        raise UserError("drop needs at least one column")
    return names
