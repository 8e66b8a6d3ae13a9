"""What a run tells when it is over."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


class Text(str):
    """Text that shows itself in an interactive session as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def format_count(count: float) -> str:
    return f"{round(count):,}"


def format_bytes(count: float) -> str:
    """As the engine writes sizes: at most three significant digits."""
    value = float(count)
    units = ["TiB", "GiB", "MiB", "KiB", "B"]
    while abs(value) >= 1024 and len(units) > 1:
        value /= 1024
        units.pop()
    unit = units[-1]
    if unit == "B":
        return f"{int(value)} B"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def format_seconds(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _detail(key: str, count: int) -> str:
    if key.endswith("_ms"):
        return f"{key.removesuffix('_ms')} {format_seconds(count / 1000)}"
    return f"{key} {format_count(count)}"


def table(header: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    """Aligned columns; the first `left` are text, the rest numbers."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


@dataclass(frozen=True)
class StepStats:
    """Counters of one step, summed over its tasks.

    Attributes:
        name: The step's name.
        op: What it is: `"filter"`, `"resize_images"`.
        rows_in: Rows it took.
        rows_out: Rows it gave.
        bytes_out: Bytes it gave.
        rows_skipped: Bad rows left out.
        rows_quarantined: Bad rows put in quarantine.
        busy_seconds: Time it worked, summed over threads.
        wait_seconds: Time it waited, by reason.
        details: What the step itself counts. Of steps with a Python function, where the time of its workers goes:
            `function_ms`, `transfer_ms` (moving rows to it and back) and `waiting_ms` (for rows). Of joins,
            `split_keys` and among how many partitions, `partitions_of_split_keys`. Of `group_by`,
            `continued_tables`: tasks that went on in the table of groups of the one before them.

    Example:
        >>> ds = pt.range(1000).filter("id < 10")
        >>> rows = ds.to_arrow()
        >>> step = ds.stats().step("filter")
        >>> step.op, step.rows_in, step.rows_out
        ('filter', 1000, 10)
    """

    name: str
    op: str
    rows_in: int
    rows_out: int
    bytes_out: int
    rows_skipped: int
    rows_quarantined: int
    busy_seconds: float
    wait_seconds: dict[str, float] = field(default_factory=dict)
    details: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunStats:
    """Counters of one run. As text it is a small table.

    Attributes:
        steps: One entry a step, in pipeline order.
        seconds: Wall time; 0 while it runs.
        tasks_total, tasks_done, tasks_resumed: Tasks of the plan, done, and done by an earlier run.
        memory_peak_bytes, memory_limit_bytes: Most that the run held, and its budget.
        held_by_caller_peak_bytes: Most bytes of rows that the caller held, beside the budget.
        unaccounted_peak_bytes: Most memory of the process that no counter explained.
        source_bytes_read: Bytes read from the sources.

    Example:
        >>> ds = pt.range(1000).filter(pt.col("id") < 10)
        >>> ds.count()
        10
        >>> ds.stats().step("range").rows_out
        1000
    """

    steps: tuple[StepStats, ...]
    seconds: float
    tasks_total: int
    tasks_done: int
    tasks_resumed: int
    memory_peak_bytes: int
    memory_limit_bytes: int
    held_by_caller_peak_bytes: int
    unaccounted_peak_bytes: int
    source_bytes_read: int

    @classmethod
    def from_json(cls, text: str) -> RunStats:
        form: dict[str, Any] = json.loads(text)
        steps = tuple(
            StepStats(
                step["name"],
                step["op"],
                step["rows_in"],
                step["rows_out"],
                step["bytes_out"],
                step["rows_skipped"],
                step["rows_quarantined"],
                step["busy_ms"] / 1000,
                {reason: ms / 1000 for reason, ms in step["wait_ms"].items()},
                dict(step["details"]),
            )
            for step in form["steps"]
        )
        memory, tasks = form["memory"], form["tasks"]
        return cls(
            steps,
            max(0, form["finished_us"] - form["started_us"]) / 1e6,
            tasks["total"],
            tasks["done"],
            tasks["resumed"],
            memory["peak"],
            memory["limit"],
            memory["held_by_caller_peak"],
            memory["unaccounted_peak"],
            form["source_bytes_read"],
        )

    def step(self, name: str) -> StepStats:
        """The step called `name`; KeyError where there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def to_text(self) -> str:
        """The table that `print(ds.stats())` shows."""
        rows = []
        for step in self.steps:
            waits = max(step.wait_seconds.items(), key=lambda item: item[1], default=None)
            bad = step.rows_skipped + step.rows_quarantined
            rate = step.rows_out / self.seconds if self.seconds > 0 else 0
            rows.append(
                [
                    step.name,
                    format_count(step.rows_in) if step.rows_in else "",
                    format_count(step.rows_out),
                    format_bytes(step.bytes_out),
                    format_count(rate),
                    format_count(bad) if bad else "",
                    format_seconds(step.busy_seconds),
                    f"{waits[0]} {format_seconds(waits[1])}" if waits is not None and waits[1] >= 0.001 else "",
                ]
            )
        lines = table(
            ["step", "rows in", "rows out", "bytes out", "rows/s", "bad rows", "busy", "waited most for"], rows
        )
        for step in self.steps:
            lines.extend(f"  {step.name}: {_detail(key, count)}" for key, count in step.details.items())
        held = self.held_by_caller_peak_bytes
        held_text = f", {format_bytes(held)} held by the caller" if held else ""
        budget = f"{format_bytes(self.memory_peak_bytes)} of {format_bytes(self.memory_limit_bytes)}"
        resumed = f" ({format_count(self.tasks_resumed)} by an earlier run)" if self.tasks_resumed else ""
        lines.append(
            f"{format_count(self.tasks_done)} of {format_count(self.tasks_total)} tasks{resumed} "
            f"in {format_seconds(self.seconds)}, read {format_bytes(self.source_bytes_read)}, "
            f"memory at most {budget}{held_text}"
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()
