"""Rows for a training loop: shards of an epoch that is computed, and iterators that resume to the exact next row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from . import batches
from .errors import UserError
from .lines import Line
from .options import RunOptions
from .positions import Leg, count, left_of, with_taken
from .prefetch import Prefetch, check_prefetch

STATE_VERSION = 1

Convert = Callable[[pa.RecordBatch], Any]


class Shard:
    """The rows of one rank: made by `streaming_split`, iterated in the rank's own process.

    It is pickled to that process: it holds the plan and what is known of the files, no rows.

    Example:
        >>> first, second = pt.range(10).streaming_split(2, seed=3)
        >>> first.num_rows, second.num_rows
        (5, 5)
        >>> rows = [row for shard in (first, second) for batch in shard.iter_batches(4) for row in batch["id"].tolist()]
        >>> sorted(rows)
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(self, line: Line, rank: int, ranks: int, equal: bool, options: RunOptions) -> None:
        self._line = line
        self._rank = rank
        self._ranks = ranks
        self._equal = equal
        self._options = options

    def __repr__(self) -> str:
        return f"Shard({self._rank} of {self._ranks}, {self.num_rows} rows)"

    @property
    def num_rows(self) -> int:
        """Rows of epoch 0 that are this rank's."""
        return self._rows_of(0)

    def _rows_of(self, epoch: int) -> int:
        return count(self._leg(1).part(left_of(self._line.rows(epoch), ()), self._rank))

    def _leg(self, batch_size: int | None, workers: int = 1) -> Leg:
        return Leg(self._ranks, self._equal, workers, batch_size or 1)

    def iter_batches(
        self,
        batch_size: int | None = 256,
        batch_format: str = "numpy",
        *,
        drop_last: bool = False,
        prefetch_batches: int = 1,
        collate_fn: Callable[[Any], Any] | None = None,
    ) -> BatchIterator:
        """Batches of this rank's rows, an epoch in each `for` loop.

        Args:
            batch_size: Rows of every batch but the last; None: blocks as the run makes them.
            batch_format: `"numpy"` (dict of arrays; views where types allow), `"arrow"`, `"pandas"`, `"polars"` or
                `"pydict"`.
            drop_last: Whether a shorter last batch is left out.
            prefetch_batches: Batches that a thread makes ready ahead; 0: none. Rows before that wait inside the run's
                budget, whatever this is.
            collate_fn: What makes of a batch (in `batch_format`) what the loop gets; runs in that thread.

        Example:
            >>> (shard,) = pt.range(10).streaming_split(1)
            >>> it = shard.iter_batches(4)
            >>> next(it)["id"].tolist()
            [0, 1, 2, 3]
            >>> state = it.state_dict()
            >>> later = shard.iter_batches(3)
            >>> later.load_state_dict(state)
            >>> [batch["id"].tolist() for batch in later]
            [[4, 5, 6], [7, 8, 9]]
        """
        batches.check_format(batch_format)

        def convert(batch: pa.RecordBatch) -> Any:
            found = batches.convert(batch, batch_format)
            return found if collate_fn is None else collate_fn(found)

        return BatchIterator(self, check_size(batch_size), drop_last, prefetch_batches, convert)

    def iter_torch_batches(
        self,
        batch_size: int | None = 256,
        *,
        dtypes: Any = None,
        device: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        prefetch_batches: int = 1,
    ) -> BatchIterator:
        """Batches of tensors of this rank's rows, an epoch in each `for` loop.

        Columns of numbers and of lists of one length become tensors without a copy (do not write into them); text,
        bytes and columns with nulls become lists of Python values. Needs torch.

        Args:
            batch_size: Rows of every batch but the last; None: blocks as the run makes them.
            dtypes: A torch dtype for all tensors, or a dict of column: dtype.
            device: Where tensors are put; to a GPU through pinned memory.
            collate_fn: What makes of a batch (dict of NumPy arrays) what the loop gets, instead of tensors.
            drop_last: Whether a shorter last batch is left out.
            prefetch_batches: Batches that a thread makes ready ahead, on the device; 0: none.
        """
        from .tensors import torch_converter

        convert = torch_converter(dtypes, device, collate_fn)
        return BatchIterator(self, check_size(batch_size), drop_last, prefetch_batches, convert)

    def to_torch_iterable(
        self,
        batch_size: int = 256,
        *,
        dtypes: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
    ) -> Any:
        """This rank's rows as a `torch.utils.data.IterableDataset`, for a `DataLoader` with any number of workers.

        It gives whole batches: `DataLoader(shard.to_torch_iterable(128), batch_size=None, num_workers=4)`. Call its
        `set_epoch` before each epoch, and its `state_dict(batches=n)` with the number of batches that the loop took in
        this epoch; or let `.loader(num_workers=4)` do both. See docs/training.md.

        Args:
            batch_size: Rows of every batch but the last.
            dtypes: A torch dtype for all tensors, or a dict of column: dtype.
            collate_fn: What makes of a batch (dict of NumPy arrays) what the loop gets, instead of tensors.
            drop_last: Whether a shorter last batch is left out.
        """
        from . import torch_data

        if batch_size is None:
            raise UserError("batch_size must be a positive number", hint="batches are made here, not by the DataLoader")
        made: Any = torch_data.TorchIterable
        return made(self, check_size(batch_size), dtypes, collate_fn, drop_last)


class BatchIterator(Iterator[Any]):
    """Batches of a shard. Each `for` loop goes on where the last one stopped, to the end of the epoch; the next loop is
    the next epoch.

    Made by `Shard.iter_batches` and its like.

    Example:
        >>> (shard,) = pt.range(10).streaming_split(1)
        >>> sum(len(batch["id"]) for batch in shard.iter_batches(4))
        10
    """

    def __init__(
        self, shard: Shard, batch_size: int | None, drop_last: bool, prefetch_batches: int, convert: Convert
    ) -> None:
        self._shard = shard
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._prefetch = check_prefetch(prefetch_batches)
        self._convert = convert
        self._epoch = 0
        self._legs: tuple[Leg, ...] = ()
        self._taken = 0  # rows since then
        self._source: Iterator[tuple[int, Any]] | None = None

    @property
    def epoch(self) -> int:
        """The epoch that the next batch is of."""
        return self._epoch

    def __iter__(self) -> BatchIterator:
        return self

    def __next__(self) -> Any:
        if self._source is None:
            self._source = self._started()
        try:
            rows, batch = next(self._source)
        except StopIteration:
            self.set_epoch(self._epoch + 1)
            raise
        except BaseException:
            self.close()
            raise
        self._taken += rows
        return batch

    def set_epoch(self, epoch: int) -> None:
        """The next batch is the first of `epoch`; in the middle of that epoch already, nothing happens.

        Args:
            epoch: 0 or more.
        """
        if epoch == self._epoch:
            return
        self.close()
        self._epoch = check_epoch(epoch)
        self._legs = ()
        self._taken = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is, as JSON holds it: behind the last batch that it got.

        The state of any one rank, taken when all ranks have had as many batches, serves every rank of a later run, on
        another number of ranks and with other batch sizes too.
        """
        return make_state(self._shard, self._epoch, self._now())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken.

        Args:
            state: Of `state_dict`, of an iterator over the same data in the same order.

        Raises:
            UserError: The state is of other data, or of another seed or shuffle.
        """
        epoch, legs = read_state(self._shard, state)
        self.close()
        self._epoch, self._legs, self._taken = epoch, legs, 0

    def close(self) -> None:
        """Ends the run and its thread. The next batch starts them again."""
        source, self._source = self._source, None
        if source is not None:
            self._legs, self._taken = self._now(), 0
            source.close()  # type: ignore[attr-defined]

    def _now(self) -> tuple[Leg, ...]:
        return with_taken(self._legs, self._shard._leg(self._batch_size), self._taken)

    def _started(self) -> Iterator[tuple[int, Any]]:
        self._legs, self._taken = self._now(), 0
        shard = self._shard
        part = shard._leg(self._batch_size).part(left_of(shard._line.rows(self._epoch), self._legs), shard._rank)
        made = formatted(shard, self._epoch, part, self._batch_size, self._drop_last, self._convert, shard._options)
        return Prefetch(made, self._prefetch) if self._prefetch else made


def formatted(
    shard: Shard,
    epoch: int,
    intervals: list[tuple[int, int]],
    batch_size: int | None,
    drop_last: bool,
    convert: Convert,
    options: RunOptions,
) -> Iterator[tuple[int, Any]]:
    """Batches with their rows."""
    if not intervals:
        return
    yield from converted(shard._line.read(epoch, intervals, options, batch_size), batch_size, drop_last, convert)


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


class StreamBatches(Iterator[Any]):
    """Batches of a dataset that is streamed from its start: without epochs and states."""

    def __init__(self, items: Iterator[tuple[int, Any]], prefetch_batches: int) -> None:
        self._items = Prefetch(items, prefetch_batches) if check_prefetch(prefetch_batches) else items

    def __next__(self) -> Any:
        return next(self._items)[1]

    def state_dict(self) -> dict[str, Any]:
        """Raises a UserError: see `Dataset.streaming_split`."""
        raise UserError(
            "a dataset that is streamed from its start has no states",
            hint="iterate ds.streaming_split(1)[0]; it says what stands against that, if anything does",
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises a UserError: see `Dataset.streaming_split`.

        Args:
            state: Of another iterator.
        """
        self.state_dict()

    def close(self) -> None:
        """Ends the run and its thread."""
        self._items.close()  # type: ignore[attr-defined]


def make_state(shard: Shard, epoch: int, legs: Sequence[Leg]) -> dict[str, Any]:
    order = shard._line.order
    return {
        "version": STATE_VERSION,
        "rows": shard._line.rows(epoch),
        "digest": shard._line.digest(),
        "seed": order.seed,
        "shuffle": order.shuffle,
        "window_rows": order.window_rows,
        "window_bytes": order.window_bytes,
        "epoch": epoch,
        "legs": [leg.to_json() for leg in legs],
    }


def read_state(shard: Shard, state: Mapping[str, Any]) -> tuple[int, tuple[Leg, ...]]:
    if not isinstance(state, Mapping) or state.get("version") != STATE_VERSION:
        raise UserError("this is no state of an iterator", hint="give what state_dict() gave")
    order = shard._line.order
    for key in ("seed", "shuffle", "window_rows", "window_bytes"):
        if state.get(key) != getattr(order, key):
            raise UserError(
                f"the state is of {key}={state.get(key)!r}, and this shard of {key}={getattr(order, key)!r}: rows "
                "would be lost and doubled",
                hint="split the dataset as it was when the state was taken",
            )
    if state.get("digest") != shard._line.digest():
        raise UserError(
            "the state is of other data: files, their order or chunk_bytes have changed, so that rows would be lost "
            "and doubled",
            hint="begin the epoch again",
        )
    legs = state.get("legs")
    if not isinstance(legs, list) or not all(isinstance(leg, Mapping) for leg in legs):
        raise UserError("this is no state of an iterator: it has no legs")
    return check_epoch(state.get("epoch")), tuple(Leg.from_json(leg) for leg in legs)


def check_epoch(epoch: object) -> int:
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 1 << 32:
        raise UserError(f"an epoch is a number from 0 on, not {epoch!r}")
    return epoch


def check_size(batch_size: int | None) -> int | None:
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise UserError(f"batch_size must be a positive number, not {batch_size!r}")
    return batch_size
