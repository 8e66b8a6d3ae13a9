"""One rank of a line: which rows of an epoch are its own, what a state of its readers holds, its rows in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from . import batches
from .errors import UserError
from .lines import Line
from .options import RunOptions
from .positions import Intervals, Leg, left_of

STATE_VERSION = 2  # 1: all windows of an epoch were of one size

Convert = Callable[[pa.RecordBatch], Any]


@dataclass(frozen=True)
class Rank:
    """One of several readers of a line, side by side. It is pickled to the rank's own process.

    Attributes:
        line: What is read.
        rank: Its number.
        ranks: How many there are.
        equal: Whether all have the same number of rows.
        options: Run options of each reading.
    """

    line: Line
    rank: int
    ranks: int
    equal: bool
    options: RunOptions

    def leg(self, batch_size: int | None, workers: int = 1) -> Leg:
        """What it begins now."""
        return Leg(self.ranks, self.equal, workers, batch_size or 1)

    def part(self, epoch: int, legs: Sequence[Leg], leg: Leg) -> Intervals:
        """Its rows in `leg`, of what `legs` left of the epoch."""
        return leg.part(left_of(self.line.rows(epoch), legs), self.rank)

    def batches(
        self,
        epoch: int,
        intervals: Intervals,
        batch_size: int | None,
        drop_last: bool,
        convert: Convert,
        options: RunOptions,
    ) -> Iterator[tuple[int, Any]]:
        """Batches with their numbers of rows."""
        if intervals:
            yield from converted(self.line.read(epoch, intervals, options, batch_size), batch_size, drop_last, convert)

    def state(self, epoch: int, legs: Sequence[Leg]) -> dict[str, Any]:
        """As JSON holds it."""
        order = self.line.order
        return {
            "version": STATE_VERSION,
            "rows": self.line.rows(epoch),
            "digest": self.line.digest(),
            "seed": order.seed,
            "shuffle": order.shuffle,
            "window_rows": order.window_rows,
            "window_bytes": order.window_bytes,
            "epoch": epoch,
            "legs": [leg.to_json() for leg in legs],
        }

    def read_state(self, state: Mapping[str, Any]) -> tuple[int, tuple[Leg, ...]]:
        """Epoch and legs of a state, of any rank.

        Raises:
            UserError: It is none, or of other data or another order.
        """
        if not isinstance(state, Mapping) or state.get("version") != STATE_VERSION:
            raise UserError("this is no state of an iterator", hint="give what state_dict() gave")
        order = self.line.order
        for key in ("seed", "shuffle", "window_rows", "window_bytes"):
            if state.get(key) != getattr(order, key):
                raise UserError(
                    f"the state is of {key}={state.get(key)!r}, and this shard of {key}={getattr(order, key)!r}: rows "
                    "would be lost and doubled",
                    hint="split the dataset as it was when the state was taken",
                )
        if state.get("digest") != self.line.digest():
            raise UserError(
                "the state is of other data: files, their order or chunk_bytes have changed, so that rows would be "
                "lost and doubled",
                hint="begin the epoch again",
            )
        legs = state.get("legs")
        if not isinstance(legs, list) or not all(isinstance(leg, Mapping) for leg in legs):
            raise UserError("this is no state of an iterator: it has no legs")
        return check_epoch(state.get("epoch")), tuple(Leg.from_json(leg) for leg in legs)


def converted(
    blocks: Iterator[pa.RecordBatch], batch_size: int | None, drop_last: bool, convert: Convert
) -> Iterator[tuple[int, Any]]:
    try:
        cut = blocks if batch_size is None else batches.recut(blocks, batch_size, drop_last)
        for batch in cut:
            if batch.num_rows:
                yield batch.num_rows, convert(batch)
    finally:
        blocks.close()  # type: ignore[attr-defined]


def check_epoch(epoch: object) -> int:
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 1 << 32:
        raise UserError(f"an epoch is a number from 0 on, not {epoch!r}")
    return epoch


def check_size(batch_size: int | None) -> int | None:
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise UserError(f"batch_size must be a positive number, not {batch_size!r}")
    return batch_size
