"""The functions of strings, dates and lists: `Expr.str`, `Expr.dt`, `Expr.list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .expressions import Expr, IntoExpr


class _Functions:
    __slots__ = ("_expr",)

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def _call(self, function: str, *args: IntoExpr, **options: Any) -> Expr:
        return self._expr._function(function, *args, options={k: v for k, v in options.items() if v is not None})


class StrFunctions(_Functions):
    """`Expr.str`: functions of strings. Lengths and positions count code points.

    Example:
        >>> ds = pt.from_pydict({"s": ["  Cat.JPG "]})
        >>> ds.select(s=pt.col("s").str.strip().str.lower()).take(1)
        [{'s': 'cat.jpg'}]
    """

    __slots__ = ()

    def upper(self) -> Expr:
        """In upper case."""
        return self._call("utf8_upper")

    def lower(self) -> Expr:
        """In lower case."""
        return self._call("utf8_lower")

    def len(self) -> Expr:
        """Number of code points."""
        return self._call("utf8_length")

    def len_bytes(self) -> Expr:
        """Number of bytes."""
        return self._call("binary_length")

    def strip(self, characters: str | None = None) -> Expr:
        """Without `characters` (None: white space) at both ends."""
        return self._trim("trim", characters)

    def lstrip(self, characters: str | None = None) -> Expr:
        """Without `characters` (None: white space) at the start."""
        return self._trim("ltrim", characters)

    def rstrip(self, characters: str | None = None) -> Expr:
        """Without `characters` (None: white space) at the end."""
        return self._trim("rtrim", characters)

    def _trim(self, kind: str, characters: str | None) -> Expr:
        if characters is None:
            return self._call(f"utf8_{kind}_whitespace")
        return self._call(f"utf8_{kind}", characters=characters)

    def starts_with(self, prefix: str, *, ignore_case: bool = False) -> Expr:
        """Whether it starts with `prefix`."""
        return self._call("starts_with", pattern=prefix, ignore_case=ignore_case or None)

    def ends_with(self, suffix: str, *, ignore_case: bool = False) -> Expr:
        """Whether it ends with `suffix`."""
        return self._call("ends_with", pattern=suffix, ignore_case=ignore_case or None)

    def contains(self, pattern: str, *, regex: bool = False, ignore_case: bool = False) -> Expr:
        """Whether it contains `pattern`, a plain text or (`regex=True`) a regular expression of RE2.

        Example:
            >>> ds = pt.from_pydict({"s": ["cat", "dog", "cart"]})
            >>> ds.filter(pt.col("s").str.contains("^ca.t", regex=True)).take(9)
            [{'s': 'cart'}]
        """
        function = "match_substring_regex" if regex else "match_substring"
        return self._call(function, pattern=pattern, ignore_case=ignore_case or None)

    def like(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """SQL's `like`: `%` stands for any text, `_` for one character."""
        return self._call("match_like", pattern=pattern, ignore_case=ignore_case or None)

    def replace(self, pattern: str, replacement: str, *, regex: bool = False, n: int | None = None) -> Expr:
        r"""Every `pattern` (at most `n`) replaced by `replacement`; with `regex=True` groups are `\1`, `\2`, …"""
        function = "replace_substring_regex" if regex else "replace_substring"
        return self._call(function, pattern=pattern, replacement=replacement, max_replacements=n)

    def slice(self, start: int, stop: int | None = None) -> Expr:
        """Code points `start` to `stop` (not included), as in Python's `s[start:stop]`."""
        return self._call("utf8_slice_codeunits", start=start, stop=stop)

    def split(self, pattern: str, *, regex: bool = False, max_splits: int | None = None) -> Expr:
        """The list of parts between `pattern`."""
        function = "split_pattern_regex" if regex else "split_pattern"
        return self._call(function, pattern=pattern, max_splits=max_splits)

    def extract(self, pattern: str) -> Expr:
        r"""A struct of the named groups of a regular expression: `(?P<year>\d+)`; null where it does not match."""
        return self._call("extract_regex", pattern=pattern)

    def find(self, text: str) -> Expr:
        """Byte position of the first `text`; -1: not found."""
        return self._call("find_substring", pattern=text)

    def count(self, text: str) -> Expr:
        """How often `text` occurs."""
        return self._call("count_substring", pattern=text)

    def zfill(self, width: int) -> Expr:
        """Padded with zeros at the left to `width` code points."""
        return self._call("utf8_zero_fill", width=width)

    def to_datetime(self, format: str, *, unit: str = "us") -> Expr:
        """Read as a timestamp with `strptime`'s `format`; `unit` is `"s"`, `"ms"`, `"us"` or `"ns"`."""
        return self._call("strptime", format=format, unit=unit)


class DateFunctions(_Functions):
    """`Expr.dt`: parts of dates and timestamps, in their time zone.

    Example:
        >>> import datetime
        >>> ds = pt.from_pydict({"t": [datetime.date(2024, 2, 29)]})
        >>> ds.select(y=pt.col("t").dt.year(), m=pt.col("t").dt.month()).take(1)
        [{'y': 2024, 'm': 2}]
    """

    __slots__ = ()

    def year(self) -> Expr:
        """The year."""
        return self._call("year")

    def month(self) -> Expr:
        """The month, 1 to 12."""
        return self._call("month")

    def day(self) -> Expr:
        """The day of the month, 1 to 31."""
        return self._call("day")

    def hour(self) -> Expr:
        """The hour, 0 to 23."""
        return self._call("hour")

    def minute(self) -> Expr:
        """The minute, 0 to 59."""
        return self._call("minute")

    def second(self) -> Expr:
        """The second, 0 to 59."""
        return self._call("second")

    def day_of_week(self) -> Expr:
        """The day of the week; Monday is 0."""
        return self._call("day_of_week")

    def day_of_year(self) -> Expr:
        """The day of the year, from 1."""
        return self._call("day_of_year")

    def strftime(self, format: str = "%Y-%m-%dT%H:%M:%S") -> Expr:
        """As text, by `strftime`'s `format`."""
        return self._call("strftime", format=format)

    def truncate(self, unit: str) -> Expr:
        """The start of the `"year"`, `"month"`, `"week"`, `"day"`, `"hour"`, `"minute"` or `"second"` it lies in."""
        return self._call("floor_temporal", unit=unit)


class ListFunctions(_Functions):
    """`Expr.list`: functions of lists.

    Example:
        >>> ds = pt.from_pydict({"a": [[1, 2, 3]]})
        >>> ds.select(n=pt.col("a").list.len(), last=pt.col("a").list.get(2)).take(1)
        [{'n': 3, 'last': 3}]
    """

    __slots__ = ()

    def len(self) -> Expr:
        """Number of items."""
        return self._call("list_value_length")

    def get(self, index: int) -> Expr:
        """The item at `index`, from 0."""
        return self._call("list_element", index)

    def slice(self, start: int, stop: int | None = None) -> Expr:
        """Items `start` to `stop` (not included)."""
        return self._call("list_slice", start=start, stop=stop)
