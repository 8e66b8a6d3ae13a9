"""Expressions: what they give, judged by DuckDB on random tables, and by pyarrow."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import partita as pt

# -- Random tables and expressions; each expression with DuckDB's text for it ----

Pair = tuple[pt.Expr, str]

ints = st.integers(-50, 50)
texts = st.text("abcXYZ é_", max_size=5)
rows = st.lists(
    st.tuples(ints, st.none() | ints, st.none() | texts, st.none() | st.booleans(), st.none() | st.floats(-9, 9)),
    max_size=12,
)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def unary(function: Callable[[pt.Expr], pt.Expr], sql: str) -> Callable[[Pair], Pair]:
    return lambda pair: (function(pair[0]), sql.format(pair[1]))


def binary(a: Pair, symbol: str, b: Pair) -> Pair:
    operators: dict[str, Callable[[Any, Any], pt.Expr]] = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "=": lambda x, y: x == y,
        "<>": lambda x, y: x != y,
        "<": lambda x, y: x < y,
        "<=": lambda x, y: x <= y,
        ">": lambda x, y: x > y,
        ">=": lambda x, y: x >= y,
        "and": lambda x, y: x & y,
        "or": lambda x, y: x | y,
    }
    return operators[symbol](a[0], b[0]), f"({a[1]} {symbol} {b[1]})"


def one_of(*pairs: Pair) -> st.SearchStrategy[Pair]:
    return st.sampled_from(pairs)


int_values: st.SearchStrategy[Pair] = st.recursive(
    one_of((pt.col("i"), "i"), (pt.col("j"), "j")) | ints.map(lambda k: (pt.lit(k), f"cast({k} as bigint)")),
    lambda inner: (
        st.builds(binary, inner, st.sampled_from("+-*"), inner)
        | inner.map(unary(lambda e: -e, "(-{})"))
        | inner.map(unary(abs, "abs({})"))
        | inner.map(unary(lambda e: e % 7, "({} % 7)"))
        | st.builds(lambda a, k: (a[0].fill_null(k), f"coalesce({a[1]}, {k})"), inner, ints)
    ),
    max_leaves=4,
)
text_values: st.SearchStrategy[Pair] = st.recursive(
    one_of((pt.col("s"), "s")) | texts.map(lambda t: (pt.lit(t), quoted(t))),
    lambda inner: (
        inner.map(unary(lambda e: e.str.upper(), "upper({})"))
        | inner.map(unary(lambda e: e.str.lower(), "lower({})"))
        | inner.map(unary(lambda e: e.str.slice(1, 3), "substr({}, 2, 2)"))
        | inner.map(unary(lambda e: e.str.replace("a", "bb"), "replace({}, 'a', 'bb')"))
    ),
    max_leaves=3,
)
comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
conditions: st.SearchStrategy[Pair] = st.recursive(
    st.builds(binary, int_values, comparisons, int_values)
    | st.builds(binary, text_values, comparisons, text_values)
    | one_of((pt.col("b"), "b"), (pt.col("f") > 0.5, "(f > 0.5)"), (pt.col("f").is_null(), "(f is null)"))
    | int_values.map(unary(lambda e: e.is_not_null(), "({} is not null)"))
    | int_values.map(unary(lambda e: e.between(-5, 5), "({} between -5 and 5)"))
    | int_values.map(unary(lambda e: e.is_in([1, 2, None]), "({} in (1, 2, null))"))
    | text_values.map(unary(lambda e: e.str.contains("a"), "contains({}, 'a')"))
    | text_values.map(unary(lambda e: e.str.starts_with("X"), "starts_with({}, 'X')"))
    | text_values.map(unary(lambda e: e.str.like("_a%"), "({} like '_a%')"))
    | text_values.map(unary(lambda e: e.str.len() > 2, "(length({}) > 2)")),
    lambda inner: (
        st.builds(binary, inner, st.sampled_from(["and", "or"]), inner) | inner.map(unary(lambda e: ~e, "(not {})"))
    ),
    max_leaves=4,
)
values = (
    int_values
    | text_values
    | conditions
    | st.builds(
        lambda c, a, b: (pt.when(c[0]).then(a[0]).otherwise(b[0]), f"(case when {c[1]} then {a[1]} else {b[1]} end)"),
        conditions,
        int_values,
        int_values,
    )
    | int_values.map(unary(lambda e: e.cast("string"), "cast({} as varchar)"))
)

SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("i", pa.int64()),
        ("j", pa.int64()),
        ("s", pa.string()),
        ("b", pa.bool_()),
        ("f", pa.float64()),
    ]
)
randomly = settings(deadline=None, database=None, max_examples=120, suppress_health_check=list(HealthCheck))


def make_table(data: list[tuple[Any, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, (n, *row), strict=True)) for n, row in enumerate(data)], SCHEMA)


def judge(table: pa.Table, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.register("t", table)
        return connection.sql(query).fetchall()


@randomly
@given(rows, conditions)
def test_filters_agree_with_duckdb(data: list[tuple[Any, ...]], condition: Pair) -> None:
    table = make_table(data)
    want = [row[0] for row in judge(table, f"select n from t where {condition[1]} order by n")]
    ds = pt.from_arrow(table)
    assert ds.filter(condition[0]).to_arrow().column("n").to_pylist() == want
    # Text and JSON say the same.
    assert ds.filter(str(condition[0])).to_arrow().column("n").to_pylist() == want


@randomly
@given(rows, values, values)
def test_columns_agree_with_duckdb(data: list[tuple[Any, ...]], x: Pair, y: Pair) -> None:
    table = make_table(data)
    want = judge(table, f"select n, {x[1]}, {y[1]} from t order by n")
    got = pt.from_arrow(table).with_columns(x=x[0]).with_columns(y=y[0]).select("n", "x", "y").to_arrow()
    assert list(zip(*(column.to_pylist() for column in got.columns), strict=True)) == want
    assert pt.sql(str(x[0])).to_json() == pt.sql(str(pt.sql(str(x[0])))).to_json()


def evaluate(expression: pt.Expr, **columns: Any) -> list[Any]:
    return pt.from_pydict(columns or {"a": [0]}).select(x=expression).to_arrow().column("x").to_pylist()


LITERALS = [
    None,
    True,
    -(2**63),
    2**64 - 1,
    1.5,
    math.inf,
    "it's ü",
    b"\x00\xff",
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
    datetime.time(1, 2, 3),
    datetime.timedelta(days=1, microseconds=5),
    decimal.Decimal("-12.340"),
]


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_literals_stand_for_themselves(value: Any) -> None:
    assert evaluate(pt.lit(value)) == [value]
    assert pt.sql(str(pt.lit(value))).to_json() == pt.lit(value).to_json() or value is None


def test_literals_keep_their_type() -> None:
    for value, dtype in [
        (np.int8(3), pa.int8()),
        (np.float32(0.5), pa.float32()),
        (np.bool_(True), pa.bool_()),
        (pa.scalar(3, pa.uint16()), pa.uint16()),
        (pa.scalar([1, 2], pa.list_(pa.int8())), pa.list_(pa.int8())),
        (pa.scalar(None, pa.date32()), pa.date32()),
    ]:
        schema = pt.range(1).select(x=pt.lit(value)).schema()
        assert schema.field("x").type == dtype
    assert pt.range(1).select(x=pt.lit("2024-01-31", "date32")).take(1) == [{"x": datetime.date(2024, 1, 31)}]
    assert math.isnan(evaluate(pt.lit(math.nan))[0])


def test_what_is_no_value_is_refused() -> None:
    for wrong in (2**64, object(), pt.range(1)):
        with pytest.raises(pt.UserError):
            pt.lit(wrong)  # type: ignore[arg-type]
    with pytest.raises(pt.UserError):
        pt.col(3)  # type: ignore[arg-type]
    with pytest.raises(pt.UserError):
        pt.col("a").is_in("abc")
    with pytest.raises(pt.UserError):
        pt.col("\ud800").is_null().__str__()


def test_expressions_are_no_truth_values() -> None:
    with pytest.raises(TypeError, match="&"):
        bool(pt.col("a") == 1)
    with pytest.raises(TypeError):
        _ = pt.col("a") > 1 and pt.col("b") > 1
    with pytest.raises(TypeError):
        list(pt.col("a"))
    with pytest.raises(TypeError):
        hash(pt.col("a"))


def test_reflected_operators() -> None:
    a = pt.col("a")
    assert evaluate(10 - a, a=[3]) == [7]
    assert evaluate(10 % a, a=[3]) == [1]
    assert evaluate(2**a, a=[3]) == [8]
    assert evaluate(7.0 / a, a=[2.0]) == [3.5]
    assert evaluate(True & (a > 1), a=[3]) == [True]
    assert evaluate(False | ~(a > 1), a=[3]) == [False]


def test_null_logic_is_sqls() -> None:
    b = pt.col("b")
    columns = {"b": [True, False, None]}
    assert evaluate(b & None, **columns) == [None, False, None]
    assert evaluate(b | None, **columns) == [True, None, None]
    assert pt.from_pydict(columns).filter(b).take(9) == [{"b": True}]
    assert pt.from_pydict(columns).filter(b == None).take(9) == []  # noqa: E711


def test_functions() -> None:
    s = pt.col("s")
    columns = {"s": ["  Ab-cd  "]}
    assert evaluate(s.str.strip(), **columns) == ["Ab-cd"]
    assert evaluate(s.str.strip().str.strip("Ad"), **columns) == ["b-c"]
    assert evaluate(s.str.lstrip(), **columns) == ["Ab-cd  "]
    assert evaluate(s.str.rstrip(), **columns) == ["  Ab-cd"]
    assert evaluate(s.str.len_bytes(), s=["ü"]) == [2]
    assert evaluate(s.str.split("-"), s=["a-b"]) == [["a", "b"]]
    assert evaluate(s.str.split("-").list.get(1), s=["a-b"]) == ["b"]
    assert evaluate(s.str.split("-").list.len(), s=["a-b"]) == [2]
    assert evaluate(s.str.ends_with("B", ignore_case=True), s=["a-b"]) == [True]
    assert evaluate(s.str.extract(r"(?P<x>\w)-(?P<y>\w)")["y"], s=["a-b", "c"]) == ["b", None]
    assert evaluate(s.str.find("-"), s=["a-b", "c"]) == [1, -1]
    assert evaluate(s.str.count("a"), s=["aba"]) == [2]
    assert evaluate(s.str.zfill(4), s=["7"]) == ["0007"]
    assert evaluate(s.str.replace("(a)", r"<\1>", regex=True, n=1), s=["aa"]) == ["<a>a"]
    assert evaluate(s.str.to_datetime("%Y-%m-%d"), s=["2024-02-29"]) == [datetime.datetime(2024, 2, 29)]
    t = pt.col("t")
    when = {"t": [datetime.datetime(2024, 2, 29, 13, 14, 15)]}
    parts = [t.dt.year(), t.dt.month(), t.dt.day(), t.dt.hour(), t.dt.minute(), t.dt.second()]
    assert [evaluate(part, **when)[0] for part in parts] == [2024, 2, 29, 13, 14, 15]
    assert evaluate(t.dt.day_of_week(), **when) == [3]
    assert evaluate(t.dt.day_of_year(), **when) == [60]
    assert evaluate(t.dt.truncate("month"), **when) == [datetime.datetime(2024, 2, 1)]
    assert evaluate(t.dt.strftime("%Y/%m"), **when) == ["2024/02"]
    x = pt.col("x")
    assert evaluate(x.round(1), x=[1.25, 1.35]) == [1.2, 1.4]
    assert evaluate(x.floor(), x=[-1.5]) == [-2]
    assert evaluate(x.ceil(), x=[-1.5]) == [-1]
    assert evaluate(x.sqrt(), x=[9.0]) == [3]
    assert evaluate(x.is_nan(), x=[math.nan, 1.0]) == [True, False]
    assert evaluate(pt.col("d")["k"] + 1, d=[{"k": 1}]) == [2]
    assert evaluate(x.cast("int8", safe=False), x=[300]) == [44]
    assert evaluate(pt.func("if_else", x > 1, "big", "small"), x=[1, 2]) == ["small", "big"]


def test_names() -> None:
    assert pt.col("a").name == "a"
    assert pt.col("a").cast("int8").name == "a"
    assert (pt.col("a") + 1).name is None
    assert (pt.col("a") + 1).alias("b").name == "b"
    with pytest.raises(pt.UserError, match="alias"):
        pt.range(1).select(pt.col("id") + 1)
    with pytest.raises(pt.UserError, match="twice"):
        pt.range(1).select("id", id="id")
    odd = 'a.b "c" `d`'
    assert pt.from_pydict({odd: [1]}).filter(pt.col(odd) == 1).take(1) == [{odd: 1}]
    assert pt.from_pydict({odd: [1]}).filter(str(pt.col(odd) == 1)).take(1) == [{odd: 1}]


def test_overflow_and_bad_casts_are_errors_of_the_row() -> None:
    with pytest.raises(pt.DataError) as caught:
        evaluate(pt.col("a") + 1, a=[1, 2**63 - 1])
    assert caught.value.row == 1
    with pytest.raises(pt.DataError):
        evaluate(pt.col("a") / 0, a=[1])


def test_errors_in_text_say_where() -> None:
    for text, pattern in [("a >", "column 4"), ("wdith > 1", "width"), ("uper(s) = 'A'", "upper"), ("a = 'x", "'")]:
        with pytest.raises(pt.UserError, match=pattern):
            pt.from_pydict({"a": [1], "width": [1], "s": ["a"]}).filter(text).schema()
