"""Lines: the rows of an epoch in an order that follows from seed and epoch alone, of one dataset or of a mixture.

A line can be read from any row on. What is read of it, and by whom, is told in `partita.positions`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from . import _execute
from ._graph import Node
from ._native import native, schema_of, session
from .errors import UserError
from .options import RunOptions, options
from .positions import Interval, Intervals, join

SHUFFLES = ("none", "local", "global")


@dataclass(frozen=True)
class Order:
    """How a line is ordered; part of what a state is of."""

    seed: int
    shuffle: str
    window_rows: int
    window_bytes: int


class Line(Protocol):
    """Rows that can be read from anywhere."""

    order: Order

    def rows(self, epoch: int) -> int:
        """How many rows the epoch has."""

    def digest(self) -> str:
        """Tells lines apart that states cannot be moved between."""

    def schema(self) -> pa.Schema: ...

    def read(
        self, epoch: int, intervals: Intervals, given: RunOptions, batch_rows: int | None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of `intervals`, one after the other. Closing the iterator cancels the run.

        `batch_rows`: how many are taken at once, which blocks may follow; None: that is not known.
        """


class DatasetLine:
    """The line of a dataset over stored data, with steps that give a row for a row."""

    def __init__(self, node: Node, order: Order, chunk_bytes: int, index: str | None, given: RunOptions) -> None:
        self.order = order
        self._node: Node | None = node
        self._keep = node.keep if not node.inputs else [step.keep for step in _steps(node)]
        self._ingest = _opened(node, chunk_bytes, index, given)
        self._digest = self._ingest.digest()

    def __getstate__(self) -> dict[str, Any]:
        return {"order": self.order, "text": self._ingest.to_text()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.order = state["order"]
        self._node = None
        self._ingest = native.Ingest.from_text(state["text"])
        self._digest = self._ingest.digest()

    def rows(self, epoch: int) -> int:
        return self._ingest.num_rows

    def digest(self) -> str:
        return self._digest

    def schema(self) -> pa.Schema:
        return schema_of(self._ingest.schema())

    def read(
        self, epoch: int, intervals: Intervals, given: RunOptions, batch_rows: int | None
    ) -> Iterator[pa.RecordBatch]:
        order = self.order
        with _execute.call(given, show=False) as running:
            stream = native.stream_line(
                session,
                self._ingest,
                order.seed,
                epoch,
                order.shuffle,
                order.window_rows,
                order.window_bytes,
                intervals,
                batch_rows or 0,
                running.pairs,
                running.observer,
                None,
            )
            try:
                while (batch := stream.next_batch()) is not None:
                    yield pa.record_batch(batch)
            finally:
                stream.close()


def _steps(node: Node) -> Iterator[Node]:
    yield node
    for child in node.inputs:
        yield from _steps(child)


def _opened(node: Node, chunk_bytes: int, index: str | None, given: RunOptions) -> native.Ingest:
    """With what is known of the rows from the file `index`, which is made, or made anew, where it does not fit."""
    known = ""
    if index is not None:
        with contextlib.suppress(FileNotFoundError), open(index, encoding="utf-8") as file:
            known = file.read()
    pipeline, step = _execute.built(node, given)
    with _execute.call(given, show=False) as running:
        ingest = native.open_ingest(
            session, pipeline.native, step, chunk_bytes, known, running.pairs, running.observer, None
        )
    if index is not None and (text := ingest.to_text()) != known:
        temporary = f"{index}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, index)  # whole or not at all
    return ingest


# Of a mixture: in so many rows each dataset has exactly its share, in an order of their own.
PERIOD = 1000


class MixLine:
    """Rows of several lines by weight: which of them a row is of follows from seed, epoch and place."""

    def __init__(self, lines: Sequence[Line], weights: Sequence[float], seed: int, stop: str) -> None:
        self.order = Order(seed, "mix", 0, 0)
        self._lines = list(lines)
        self._shares = shares(weights)
        self._stop = stop
        self._last: tuple[int, int, list[int]] = (-1, -1, [])
        self._rows: dict[int, int] = {}
        first = self._lines[0].schema()
        self._schema = pa.schema([pa.field(field.name, field.type) for field in first])
        for line in self._lines[1:]:
            found = line.schema()
            if (found.names, found.types) != (first.names, first.types):
                raise UserError(
                    f"datasets of a mixture must have the same columns: {_columns(first)}; {_columns(found)}",
                    hint="select and cast them to the same",
                )
        if any(line.rows(0) == 0 for line in self._lines):
            raise UserError("a dataset of the mixture has no rows")

    def schema(self) -> pa.Schema:
        return self._schema

    def digest(self) -> str:
        parts = [f"{share}/{line.digest()}/{line.order}" for share, line in zip(self._shares, self._lines, strict=True)]
        return hashlib.sha256("\n".join([self._stop, *parts]).encode()).hexdigest()

    def rows(self, epoch: int) -> int:
        """Until a dataset has no row for the next place ("first"), or every one has been read whole once ("all")."""
        if epoch not in self._rows:
            self._rows = {epoch: self._counted(epoch)}
        return self._rows[epoch]

    def _counted(self, epoch: int) -> int:
        sizes = [line.rows(epoch) for line in self._lines]
        whole = [size // share for size, share in zip(sizes, self._shares, strict=True)]
        period = min(whole) if self._stop == "first" else max(max(whole) - 1, 0)
        taken = [period * share for share in self._shares]
        place = period * PERIOD
        while True:
            for source in self._pattern(epoch, place // PERIOD):
                if self._stop == "first" and taken[source] == sizes[source]:
                    return place
                taken[source] += 1
                place += 1
                if self._stop == "all" and all(n >= size for n, size in zip(taken, sizes, strict=True)):
                    return place

    def read(
        self, epoch: int, intervals: Intervals, given: RunOptions, batch_rows: int | None
    ) -> Iterator[pa.RecordBatch]:
        given = divided(given, len(self._lines))
        readers = [_Rows(self._source(i, epoch, intervals, given)) for i in range(len(self._lines))]
        try:
            for begin, end in intervals:
                for first in range(begin, end, batch_rows or PERIOD):
                    yield _drawn(readers, self._sources(epoch, first, min(end, first + (batch_rows or PERIOD))))
        finally:
            for reader in readers:
                reader.close()

    def _pattern(self, epoch: int, period: int) -> list[int]:
        """The datasets of a period's places."""
        known_epoch, known_period, known = self._last
        if (known_epoch, known_period) == (epoch, period):
            return known
        key = f"partita mix/{self.order.seed}/{epoch}/{period}".encode()
        hashes = struct.unpack(f"<{PERIOD}Q", hashlib.shake_256(key).digest(8 * PERIOD))
        sources = [source for source, share in enumerate(self._shares) for _ in range(share)]
        pattern = [sources[i] for i in sorted(range(PERIOD), key=hashes.__getitem__)]
        self._last = (epoch, period, pattern)
        return pattern

    def _sources(self, epoch: int, begin: int, end: int) -> list[int]:
        found: list[int] = []
        for period in range(begin // PERIOD, -(-end // PERIOD)):
            first = period * PERIOD
            found += self._pattern(epoch, period)[max(0, begin - first) : end - first]
        return found

    def _before(self, source: int, epoch: int, place: int) -> int:
        """Rows of a dataset before a place of the mixture."""
        period, rest = divmod(place, PERIOD)
        within = self._pattern(epoch, period)[:rest].count(source) if rest else 0
        return period * self._shares[source] + within

    def _source(self, source: int, epoch: int, intervals: Intervals, given: RunOptions) -> Iterator[pa.RecordBatch]:
        """A dataset's rows for `intervals` of the mixture; where it ends, its next epoch goes on."""
        line = self._lines[source]
        size = line.rows(epoch)
        wanted = join(
            (self._before(source, epoch, begin), self._before(source, epoch, end)) for begin, end in intervals
        )
        by_round: dict[int, Intervals] = {}
        for begin, end in wanted:
            while begin < end:
                turn, first = divmod(begin, size)
                last = min(size, first + end - begin)
                by_round.setdefault(turn, []).append((first, last))
                begin += last - first
        for turn, rows in by_round.items():
            for batch in line.read((epoch << 24) + turn, rows, given, None):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self._schema)


class _Rows:
    """Takes so many rows at a time from an iterator of batches."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: pa.RecordBatch | None = None

    def take(self, rows: int) -> list[pa.RecordBatch]:
        found: list[pa.RecordBatch] = []
        while rows:
            batch = self._rest if self._rest is not None else next(self._batches)
            found.append(batch.slice(0, rows))
            self._rest = batch.slice(rows) if batch.num_rows > rows else None
            rows -= found[-1].num_rows
        return found

    def close(self) -> None:
        close: Callable[[], None] | None = getattr(self._batches, "close", None)
        if close is not None:
            close()


def _drawn(readers: Sequence[_Rows], sources: Sequence[int]) -> pa.RecordBatch:
    """The next row of `sources[0]`, then of `sources[1]`, …"""
    parts: list[pa.RecordBatch] = []
    places = [0] * len(sources)
    position = 0
    for source, reader in enumerate(readers):
        rows = [i for i, wanted in enumerate(sources) if wanted == source]
        parts += reader.take(len(rows))
        for i in rows:
            places[i] = position
            position += 1
    together = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
    return together.take(pa.array(places, pa.int64()))


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def shares(weights: Sequence[float]) -> list[int]:
    """Rows of each dataset in a period: as near to the weights as whole rows are."""
    total = float(sum(weights))
    exact = [weight / total * PERIOD for weight in weights]
    found = [int(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: (found[i] - exact[i], i))
    for i in by_rest[: PERIOD - sum(found)]:
        found[i] += 1
    if min(found) == 0:
        raise UserError(f"a weight is below 1/{PERIOD} of all", hint="leave that dataset out, or give it more")
    return found


def divided(given: RunOptions, parts: int) -> RunOptions:
    """Run options of one of several runs that go on side by side: its part of memory and threads."""
    if parts <= 1:
        return given
    found = dict(native.resolve_options(options.pairs(given)))
    part: RunOptions = {**given}
    part["memory"] = max(1, int(found["memory"]) // parts)
    part["threads"] = max(1, int(found["threads"]) // parts)
    return part


__all__ = ["SHUFFLES", "DatasetLine", "Interval", "Line", "MixLine", "Order", "divided"]
