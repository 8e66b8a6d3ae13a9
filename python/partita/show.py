"""A few rows as a table for people."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

MAX_CELL = 40


def table_text(table: pa.Table) -> str:
    """Names, types and values; numbers to the right, long values cut."""
    if table.num_columns == 0:
        return f"({table.num_rows} rows without columns)"
    columns = [
        _column(name, column.type, column.to_pylist())
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    lines = [" ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    if table.num_rows == 0:
        lines.append("(no rows)")
    return "\n".join(lines)


def _column(name: str, dtype: pa.DataType, values: list[Any]) -> list[str]:
    head = [_cut(name), _cut(str(dtype))]
    cells = [_cell(value) for value in values]
    width = max(len(cell) for cell in head + cells)
    right = pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)
    body = [cell.rjust(width) if right else cell.ljust(width) for cell in cells]
    return [*(cell.ljust(width) for cell in head), "-" * width, *body]


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    text = value if isinstance(value, str) else repr(value) if isinstance(value, list | dict) else str(value)
    return _cut("".join(c if c.isprintable() else "·" for c in text[: 2 * MAX_CELL]))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"
