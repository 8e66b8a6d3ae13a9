"""Who reads which rows of an epoch's line: pure arithmetic, from which states and resumption follow.

A line is the rows 0 to n of an epoch in the order in which they are to be read. What is left of it is a list of
intervals. A *leg* is a time in which so many ranks, each with so many loader workers, read it side by side: each rank
reads one contiguous part, each worker one contiguous part of that. When a leg ends, what its readers did not take is
what is left, in the order of the line, and the next leg cuts that again. So the legs of an epoch are all that a state
needs to hold, and what every rank has to read follows from the state of any one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import UserError

Interval = tuple[int, int]
Intervals = list[Interval]


def count(intervals: Iterable[Interval]) -> int:
    return sum(end - begin for begin, end in intervals)


def cut(intervals: Iterable[Interval], begin: int, end: int) -> Intervals:
    """Rows [begin, end) of the rows of `intervals`, counted one interval after the other."""
    found: Intervals = []
    for first, last in intervals:
        size = last - first
        low, high = max(0, begin), min(size, end)
        if low < high:
            found.append((first + low, first + high))
        begin -= size
        end -= size
        if end <= 0:
            break
    return found


def join(intervals: Iterable[Interval]) -> Intervals:
    """The same rows in as few intervals as hold them. They must be in order."""
    found: Intervals = []
    for begin, end in intervals:
        if begin >= end:
            continue
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


@dataclass(frozen=True)
class Leg:
    """So many readers side by side, and how much each rank took.

    Attributes:
        ranks: Number of ranks.
        equal: Whether all ranks have the same number of rows; rows that are too many for that are left over.
        workers: Loader workers of each rank; 1: the rank reads its part as one.
        batch_size: Rows of a batch; workers take whole batches in turn.
        taken: Rows that each rank took.
    """

    ranks: int
    equal: bool = True
    workers: int = 1
    batch_size: int = 1
    taken: int = 0

    def part(self, left: Intervals, rank: int) -> Intervals:
        """What a rank has to read of what is left."""
        rows = count(left)
        if self.equal:
            size = rows // self.ranks
            return cut(left, rank * size, (rank + 1) * size)
        return cut(left, rows * rank // self.ranks, rows * (rank + 1) // self.ranks)

    def lane_order(self, rows: int) -> list[int]:
        """The workers in the order of their parts. The one that has the short last batch comes last."""
        batches = -(-rows // self.batch_size)
        last = (batches - 1) % self.workers if batches else self.workers - 1
        return [worker for worker in range(self.workers) if worker != last] + [last]

    def lane(self, part: Intervals, worker: int) -> Intervals:
        """What a worker has to read of its rank's part: batches i, i + workers, … of the rank are its own."""
        rows = count(part)
        begin = 0
        for other in self.lane_order(rows):
            size = self._lane_rows(rows, other)
            if other == worker:
                return cut(part, begin, begin + size)
            begin += size
        raise AssertionError(worker)

    def _lane_rows(self, rows: int, worker: int) -> int:
        batches = -(-rows // self.batch_size)
        own = batches // self.workers + (worker < batches % self.workers)
        short = batches * self.batch_size - rows
        return own * self.batch_size - (short if own and worker == (batches - 1) % self.workers else 0)

    def lane_taken(self, rows: int, worker: int) -> int:
        """Rows that a worker gave when its rank took `taken` of `rows`, batch after batch from worker after worker."""
        if self.workers == 1:
            return min(rows, self.taken)
        batches = -(-min(rows, self.taken) // self.batch_size)
        own = batches // self.workers + (worker < batches % self.workers)
        return min(own * self.batch_size, self._lane_rows(rows, worker))

    def remaining(self, left: Intervals) -> Intervals:
        """What is left when the leg has ended, in the order of the line."""
        found: Intervals = []
        read = 0
        for rank in range(self.ranks):
            part = self.part(left, rank)
            rows = count(part)
            read += rows
            for worker in self.lane_order(rows):
                lane = self.lane(part, worker)
                found += cut(lane, self.lane_taken(rows, worker), count(lane))
        return join(found + cut(left, read, count(left)))

    def to_json(self) -> dict[str, Any]:
        return {
            "ranks": self.ranks,
            "equal": self.equal,
            "workers": self.workers,
            "batch_size": self.batch_size,
            "rows": self.taken,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Leg:
        numbers = {key: value.get(key) for key in ("ranks", "workers", "batch_size", "rows")}
        least = {"ranks": 1, "workers": 1, "batch_size": 1, "rows": 0}
        for key, number in numbers.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < least[key]:
                raise UserError(f"this is no state of an iterator: {key} is {number!r}")
        return Leg(
            numbers["ranks"] or 1,
            bool(value.get("equal", True)),
            numbers["workers"] or 1,
            numbers["batch_size"] or 1,
            numbers["rows"] or 0,
        )


def left_of(rows: int, legs: Iterable[Leg]) -> Intervals:
    """What is left of a line after some legs."""
    left: Intervals = [(0, rows)] if rows else []
    for leg in legs:
        left = leg.remaining(left)
    return left


def with_taken(legs: tuple[Leg, ...], leg: Leg, taken: int) -> tuple[Leg, ...]:
    """The legs and one more, if anything was taken in it.

    Equal ranks that go on as they were are one leg with those before: states do not grow with the number of restarts.
    """
    if not taken:
        return legs
    last = legs[-1] if legs else None
    if last is not None and last.equal and leg.equal and last.ranks == leg.ranks and last.workers == leg.workers == 1:
        return (*legs[:-1], replace(leg, taken=last.taken + taken))
    return (*legs, replace(leg, taken=taken))
