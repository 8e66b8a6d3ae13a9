"""Expressions over columns: what `filter`, `select` and `with_columns` take.

An expression is a value that says how to compute a column. It is built with operators and methods from `col` and
`lit`, or written as text with SQL's operators (`sql`, and wherever a method takes a string expression). It runs on
Arrow's compute functions.

Semantics are SQL's: a comparison with null is null, `&` and `|` are three-valued, a filter keeps rows where the
predicate is true. Integer overflow and invalid casts are data errors, not wrong numbers. `/` on integers truncates,
`%` has the sign of the dividend.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
from collections.abc import Collection
from typing import Any, TypeAlias, cast

import pyarrow as pa

from ._native import native, to_json
from .aggregates import Aggregations
from .errors import UserError
from .functions import DateFunctions, ListFunctions, StrFunctions

__all__ = ["Expr", "IntoExpr", "TypeLike", "col", "func", "lit", "sql"]

TypeLike: TypeAlias = "str | pa.DataType"
"""A type: text like `"int64"`, `"list<string>"`, `"timestamp[us]"`, or a `pyarrow.DataType`."""


def type_text(dtype: TypeLike | type) -> str:
    if isinstance(dtype, str):
        return dtype
    if isinstance(dtype, type) and dtype in _PYTHON_TYPES:
        return _PYTHON_TYPES[dtype]
    if not hasattr(dtype, "__arrow_c_schema__"):
        raise UserError(f"{dtype!r} is no type", hint='give text like "int64" or a pyarrow type')
    return native.type_text(dtype)


_PYTHON_TYPES: dict[type, str] = {bool: "bool", int: "int64", float: "float64", str: "string", bytes: "binary"}


class Expr(Aggregations):
    """An expression. Immutable; built by `col`, `lit`, `sql`, `func` and `when`, never directly.

    Operators: `+ - * / %`, `== != < <= > >=`, `& | ~` (and, or, not; put comparisons in parentheses), unary `-`.

    Example:
        >>> (pt.col("width") * pt.col("height") > 65536) & pt.col("caption").is_not_null()
        Expr(width * height > 65536 and caption is not null)
    """

    __slots__ = ("_json", "_name")
    __hash__ = None  # type: ignore[assignment]  # == builds an expression

    def __init__(self, json_form: dict[str, Any], name: str | None = None) -> None:
        self._json = json_form
        self._name = name

    # -- What it is ----

    def to_json(self) -> dict[str, Any]:
        """The form that plans hold: `{"column": …}`, `{"literal": …, "type": …}` or `{"call": …, "args": […]}`."""
        return cast("dict[str, Any]", json.loads(to_json(self._json)))

    def __str__(self) -> str:
        """SQL-like text that `sql` reads back."""
        return native.expression_text(to_json(self._json))

    def __repr__(self) -> str:
        suffix = f" as {self._name}" if self._name is not None and "column" not in self._json else ""
        return f"Expr({self}{suffix})"

    @property
    def name(self) -> str | None:
        """The name of the column that `select` and `with_columns` make of it: its alias, else the column it is."""
        return self._name if self._name is not None else self._json.get("column")

    def alias(self, name: str) -> Expr:
        """Names the column that `select` and `with_columns` make of this.

        Example:
            >>> pt.range(1).select((pt.col("id") + 1).alias("next")).take(1)
            [{'next': 1}]
        """
        return Expr(self._json, name)

    def __bool__(self) -> bool:
        raise TypeError("an expression is neither true nor false: combine conditions with & | ~, not with and, or, not")

    def __iter__(self) -> Any:
        raise TypeError("an expression cannot be iterated")

    # -- Operators ----

    def __add__(self, other: IntoExpr) -> Expr:
        return _call("add", self, other)

    def __radd__(self, other: IntoExpr) -> Expr:
        return _call("add", other, self)

    def __sub__(self, other: IntoExpr) -> Expr:
        return _call("subtract", self, other)

    def __rsub__(self, other: IntoExpr) -> Expr:
        return _call("subtract", other, self)

    def __mul__(self, other: IntoExpr) -> Expr:
        return _call("multiply", self, other)

    def __rmul__(self, other: IntoExpr) -> Expr:
        return _call("multiply", other, self)

    def __truediv__(self, other: IntoExpr) -> Expr:
        return _call("divide", self, other)

    def __rtruediv__(self, other: IntoExpr) -> Expr:
        return _call("divide", other, self)

    def __mod__(self, other: IntoExpr) -> Expr:
        return _call("remainder", self, other)

    def __rmod__(self, other: IntoExpr) -> Expr:
        return _call("remainder", other, self)

    def __pow__(self, other: IntoExpr) -> Expr:
        return _call("power", self, other)

    def __rpow__(self, other: IntoExpr) -> Expr:
        return _call("power", other, self)

    def __neg__(self) -> Expr:
        return _call("negate", self)

    def __abs__(self) -> Expr:
        return self.abs()

    def __eq__(self, other: IntoExpr) -> Expr:  # type: ignore[override]
        return _call("equal", self, other)

    def __ne__(self, other: IntoExpr) -> Expr:  # type: ignore[override]
        return _call("not_equal", self, other)

    def __lt__(self, other: IntoExpr) -> Expr:
        return _call("less", self, other)

    def __le__(self, other: IntoExpr) -> Expr:
        return _call("less_equal", self, other)

    def __gt__(self, other: IntoExpr) -> Expr:
        return _call("greater", self, other)

    def __ge__(self, other: IntoExpr) -> Expr:
        return _call("greater_equal", self, other)

    def __and__(self, other: IntoExpr) -> Expr:
        return _call("and_kleene", self, other)

    def __rand__(self, other: IntoExpr) -> Expr:
        return _call("and_kleene", other, self)

    def __or__(self, other: IntoExpr) -> Expr:
        return _call("or_kleene", self, other)

    def __ror__(self, other: IntoExpr) -> Expr:
        return _call("or_kleene", other, self)

    def __invert__(self) -> Expr:
        return _call("invert", self)

    def __getitem__(self, field: str) -> Expr:
        """A field of a struct: `col("a")["b"]`."""
        return self.field(field)

    # -- Nulls, sets, types ----

    def is_null(self) -> Expr:
        """Whether the value is null.

        Example:
            >>> pt.from_pydict({"a": [1, None]}).filter(pt.col("a").is_null()).count()
            1
        """
        return _call("is_null", self)

    def is_not_null(self) -> Expr:
        """Whether the value is not null.

        Example:
            >>> pt.from_pydict({"a": [1, None]}).filter(pt.col("a").is_not_null()).count()
            1
        """
        return _call("is_valid", self)

    def is_nan(self) -> Expr:
        """Whether a float is NaN; null where it is null.

        Example:
            >>> pt.from_pydict({"x": [1.0, float("nan")]}).filter(pt.col("x").is_nan()).count()
            1
        """
        return _call("is_nan", self)

    def fill_null(self, value: IntoExpr) -> Expr:
        """The value, or `value` where it is null.

        Example:
            >>> pt.from_pydict({"a": [1, None]}).select(a=pt.col("a").fill_null(0)).take(2)
            [{'a': 1}, {'a': 0}]
        """
        return _call("coalesce", self, value)

    def is_in(self, values: Collection[Any] | pa.Array[Any] | pa.ChunkedArray[Any]) -> Expr:
        """Whether the value is one of `values`; null where only a null among them could tell (SQL's `in`).

        Args:
            values: Python values, or an Arrow array.

        Example:
            >>> pt.range(9).filter(pt.col("id").is_in([2, 3, 20])).count()
            2
        """
        if isinstance(values, str | bytes):
            raise UserError("is_in takes a list of values, not one text", hint=f"write is_in([{values!r}])")
        return Expr({"call": "is_in", "args": [self._json, *(lit(value)._json for value in values)]})

    def between(self, low: IntoExpr, high: IntoExpr) -> Expr:
        """Whether `low <= value <= high`.

        Example:
            >>> pt.range(9).filter(pt.col("id").between(2, 4)).count()
            3
        """
        return (self >= low) & (self <= high)

    def cast(self, dtype: TypeLike | type, *, safe: bool = True) -> Expr:
        """The value as another type.

        Args:
            dtype: Text like `"int64"`, a `pyarrow.DataType`, or `bool`, `int`, `float`, `str`, `bytes`.
            safe: Whether a value that does not fit is a data error; else it wraps or is cut.

        Example:
            >>> pt.from_pydict({"a": ["7"]}).select(a=pt.col("a").cast("int32") + 1).take(1)
            [{'a': 8}]
        """
        options: dict[str, Any] = {"type": type_text(dtype)}
        if not safe:
            options["safe"] = False
        return Expr({"call": "cast", "args": [self._json], "options": options}, self._name or self._json.get("column"))

    def field(self, name: str) -> Expr:
        """The field `name` of a struct.

        Example:
            >>> pt.from_pydict({"box": [{"width": 3}]}).select(w=pt.col("box").field("width")).take(1)
            [{'w': 3}]
        """
        return _call("struct_field", self, options={"field": name})

    # -- Numbers ----

    def abs(self) -> Expr:
        """The absolute value.

        Example:
            >>> pt.from_pydict({"a": [-2]}).select(a=pt.col("a").abs()).take(1)
            [{'a': 2}]
        """
        return _call("abs", self)

    def round(self, digits: int = 0) -> Expr:
        """Rounded to `digits` decimals, halves to even.

        Example:
            >>> pt.from_pydict({"x": [0.25]}).select(x=pt.col("x").round(1)).take(1)
            [{'x': 0.2}]
        """
        return _call("round", self, options={"ndigits": digits})

    def floor(self) -> Expr:
        """The largest whole number that is not greater.

        Example:
            >>> pt.from_pydict({"x": [-1.5]}).select(x=pt.col("x").floor()).take(1)
            [{'x': -2.0}]
        """
        return _call("floor", self)

    def ceil(self) -> Expr:
        """The smallest whole number that is not less.

        Example:
            >>> pt.from_pydict({"x": [-1.5]}).select(x=pt.col("x").ceil()).take(1)
            [{'x': -1.0}]
        """
        return _call("ceil", self)

    def sqrt(self) -> Expr:
        """The square root; NaN of a negative number."""
        return _call("sqrt", self)

    def _function(self, function: str, *args: IntoExpr, options: dict[str, Any]) -> Expr:
        return _call(function, self, *args, options=options)

    # -- Namespaces ----

    @property
    def str(self) -> StrFunctions:
        """Functions of strings."""
        return StrFunctions(self)

    @property
    def dt(self) -> DateFunctions:
        """Functions of dates and timestamps."""
        return DateFunctions(self)

    @property
    def list(self) -> ListFunctions:
        """Functions of lists."""
        return ListFunctions(self)


IntoExpr: TypeAlias = (
    "Expr | bool | int | float | str | bytes | datetime.date | datetime.time | datetime.timedelta "
    "| decimal.Decimal | pa.Scalar[Any] | None"
)
"""An expression, or a value that stands for itself."""


def _call(function: str, *args: IntoExpr, options: dict[str, Any] | None = None) -> Expr:
    form: dict[str, Any] = {"call": function, "args": [lit(arg)._json for arg in args]}
    if options:
        form["options"] = options
    return Expr(form)


# -- Ways to begin ----


def col(name: str) -> Expr:
    """A column.

    Args:
        name: Its name, as it is: a dot is part of the name. A field of a struct is `col("a")["b"]`.

    Example:
        >>> pt.col("width") >= 256
        Expr(width >= 256)
    """
    if not isinstance(name, str):
        raise UserError(f"a column is named by text, not by {name!r}")
    return Expr({"column": name})


def lit(value: IntoExpr, dtype: TypeLike | type | None = None) -> Expr:
    """A value that stands for itself.

    Args:
        value: None, bool, int, float, str, bytes, a date or time, Decimal, a NumPy or Arrow scalar, or an expression
            (returned as it is).
        dtype: Its type; None: `int64`, `float64`, `string`, … by the value.

    Example:
        >>> pt.range(1).select(one=pt.lit(1, "int8")).schema().field("one").type
        DataType(int8)
    """
    if isinstance(value, Expr):
        return value if dtype is None else value.cast(dtype)
    if dtype is not None:
        return _scalar_literal(value, type_text(dtype))
    # numpy.bool_ and numpy integers are no Python numbers; numpy.float64 is one, and equal to it.
    if value is None:
        return Expr({"literal": None, "type": "null"})
    if isinstance(value, bool):
        return Expr({"literal": value, "type": "bool"})
    if isinstance(value, int):
        return _int_literal(value)
    if isinstance(value, float):
        return Expr({"literal": _float_json(value), "type": "float64"})
    if isinstance(value, str):
        return Expr({"literal": value, "type": "string"})
    return _scalar_literal(value, None)


def _int_literal(value: int) -> Expr:
    if -(2**63) <= value < 2**63:
        return Expr({"literal": int(value), "type": "int64"})
    if 0 <= value < 2**64:
        return Expr({"literal": int(value), "type": "uint64"})
    raise UserError(f"{value} fits in no 64-bit integer", hint="give a float or a decimal.Decimal")


def _float_json(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(value)


def _scalar_literal(value: Any, dtype: str | None) -> Expr:
    try:
        if hasattr(value, "item") and not isinstance(value, pa.Scalar):
            array = pa.array([value])  # NumPy scalars keep their type in an array only
        else:
            array = pa.array([value.as_py()], value.type) if isinstance(value, pa.Scalar) else pa.array([value])
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{value!r} has no Arrow type: {error}") from None
    literal = Expr(json.loads(native.literal_json(array)))
    if dtype is None:
        return literal
    return Expr({"call": "cast", "args": [literal._json], "options": {"type": dtype}})


def sql(text: str) -> Expr:
    """An expression from text with SQL's operators and Arrow's functions.

    Args:
        text: As in pipeline files: `"width >= 256 and lower(format) = 'jpeg'"`.

    Raises:
        UserError: The text is no expression; the message says where.

    Example:
        >>> pt.sql("case when a > 1 then 'big' else 'small' end").name is None
        True
    """
    return Expr(json.loads(native.parse_expression(text)))


def func(function: str, *args: IntoExpr, **options: Any) -> Expr:
    """A call of any scalar function of Arrow compute, by its name or a friendly alias.

    Args:
        function: `"utf8_center"`, `"bit_wise_and"`, `"greatest"`, …
        args: Expressions and values.
        options: The function's options by name.

    Example:
        >>> pt.range(3).select(m=pt.func("greatest", pt.col("id"), 1)).take(3)
        [{'m': 1}, {'m': 1}, {'m': 2}]
    """
    return _call(function, *args, options=options)


@functools.cache
def text_of(json_text: str) -> str:
    """The text of an expression in JSON, for plans that people read."""
    return native.expression_text(json_text)
