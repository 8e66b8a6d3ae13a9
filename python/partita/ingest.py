"""Rows for a training loop: shards of an epoch that is computed, and iterators that resume to the exact next row."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Unpack

import pyarrow as pa

from . import batches
from ._graph import Node
from ._native import native
from .errors import UserError
from .lines import SHUFFLES, DatasetLine, Line, MixLine, Order
from .options import RunOptions
from .positions import Leg, count, left_of, with_taken

STATE_VERSION = 1
WINDOW_ROWS = 1 << 20

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
        if isinstance(prefetch_batches, bool) or not isinstance(prefetch_batches, int) or prefetch_batches < 0:
            raise UserError(f"prefetch_batches must be 0 or more, not {prefetch_batches!r}")
        self._shard = shard
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._prefetch = prefetch_batches
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
    blocks = shard._line.read(epoch, intervals, options, batch_size)
    try:
        cut = blocks if batch_size is None else batches.recut(blocks, batch_size, drop_last)
        for batch in cut:
            if batch.num_rows:
                yield batch.num_rows, convert(batch)
    finally:
        blocks.close()  # type: ignore[attr-defined]


class Prefetch(Iterator[tuple[int, Any]]):
    """An iterator whose next items a thread of its own makes ready."""

    def __init__(self, items: Iterator[tuple[int, Any]], ahead: int) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(ahead)
        stop = threading.Event()
        thread = threading.Thread(
            target=_make_ready, args=(items, self._ready, stop), name="partita-prefetch", daemon=True
        )
        # The thread knows the queue, not this object: whoever drops the iterator ends the thread.
        self._end = weakref.finalize(self, _end, thread, self._ready, stop)
        thread.start()

    def __next__(self) -> tuple[int, Any]:
        if not self._end.alive:
            raise StopIteration
        item = self._ready.get()
        if isinstance(item, tuple):
            return item
        self._end()
        raise StopIteration if item is None else item

    def close(self) -> None:
        self._end()


def _make_ready(items: Iterator[tuple[int, Any]], ready: queue.Queue[Any], stop: threading.Event) -> None:
    try:
        for item in items:
            ready.put(item)
            if stop.is_set():
                break
        ready.put(None)
    except BaseException as error:  # is raised where the items are taken
        ready.put(error)
    finally:
        items.close()  # type: ignore[attr-defined]


def _end(thread: threading.Thread, ready: queue.Queue[Any], stop: threading.Event) -> None:
    stop.set()
    while thread.is_alive():
        # Room for what it is about to put, so that it sees that nobody wants more.
        try:
            ready.get(timeout=0.01)
        except queue.Empty:
            continue
    thread.join()


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


def _bytes(value: int | str, name: str) -> int:
    try:
        found = native.parse_bytes(str(value))
    except UserError:
        found = 0
    if found < 1:
        raise UserError(f"{name} must be a number of bytes like '64MiB', not {value!r}")
    return found


def shards_of(line: Line, n: int, equal: bool, options: RunOptions) -> list[Shard]:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UserError(f"the number of ranks must be positive, not {n!r}")
    return [Shard(line, rank, n, equal, options) for rank in range(n)]


class Training:
    """What a dataset offers a training loop."""

    _node: Node

    def streaming_split(
        self,
        n: int,
        *,
        equal: bool = True,
        seed: int | None = None,
        shuffle: str | None = None,
        window_bytes: int | str = "128MiB",
        window_rows: int = WINDOW_ROWS,
        chunk_bytes: int | str = "8MiB",
        index: str | None = None,
        **options: Unpack[RunOptions],
    ) -> list[Shard]:
        """Cuts each epoch's rows in `n` parts, one for each rank of a training run.

        The order of an epoch follows from seed, epoch and the data alone, and is computed, not replayed: a shard's
        iterators resume in the middle of an epoch to the exact next row, on another number of ranks too, and read no
        more than the window in which they resume. The dataset must be over stored data (or `pt.range`, or rows in
        memory), with steps that give a row for a row. See docs/training.md.

        Args:
            n: Number of ranks.
            equal: Whether all ranks get the same number of rows: up to n - 1 rows, others in each epoch, are left out.
                Otherwise parts differ by one row at most.
            seed: Of the order of epochs; None: 0, or that of a `random_shuffle` at the end of the dataset.
            shuffle: `"none"`: the dataset's order. `"local"`: chunks in a random order, rows at random in each.
                `"global"`: rows at random in windows of chunks from everywhere. None: `"global"` with a seed, else
                `"none"`.
            window_bytes: About how much of the data a window holds: it is in memory at once. Part of the order.
            window_rows: Most rows of a window. Part of the order.
            chunk_bytes: About how much of the data is read in one piece. Part of the order.
            index: A file that keeps what was found out about the rows, so that other processes need not look again:
                worth it for many files, and for formats whose rows must be counted (tar shards, CSV, JSONL, text).
            options: Run options (`memory="2GiB"`, …) of each iterator, see `pt.options`.

        Raises:
            UserError: A step may give more or fewer rows than it takes; the message says what persisting would cost.

        Example:
            >>> shards = pt.range(100).random_shuffle(seed=9).streaming_split(4)
            >>> [shard.num_rows for shard in shards]
            [25, 25, 25, 25]
        """
        line = self._line(seed, shuffle, window_bytes, window_rows, chunk_bytes, index, options)
        return shards_of(line, n, equal, options)

    def _line(
        self,
        seed: int | None,
        shuffle: str | None,
        window_bytes: int | str,
        window_rows: int,
        chunk_bytes: int | str,
        index: str | None,
        options: RunOptions,
    ) -> DatasetLine:
        node = self._node
        if node.op == "random_shuffle":
            # The epoch's own order takes its place: it needs no exchange, and another order each epoch.
            if seed is None:
                seed = int(node.args.get("seed", 0))
            (node,) = node.inputs
        if shuffle is None:
            shuffle = "none" if seed is None else "global"
        if shuffle not in SHUFFLES:
            raise UserError(f"shuffle cannot be {shuffle!r}", hint="choose one of " + ", ".join(SHUFFLES))
        seed = 0 if seed is None else seed
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
            raise UserError(f"a seed is a number from 0 to 2^63 - 1, not {seed!r}")
        if isinstance(window_rows, bool) or not isinstance(window_rows, int) or not 1 <= window_rows < 1 << 31:
            raise UserError(f"window_rows must be positive and below 2^31, not {window_rows!r}")
        order = Order(seed, shuffle, window_rows, _bytes(window_bytes, "window_bytes"))
        return DatasetLine(node, order, _bytes(chunk_bytes, "chunk_bytes"), index, options)


class Mixture:
    """Rows of several datasets by weight: made by `pt.mix`.

    Example:
        >>> isinstance(pt.mix([pt.range(10), pt.range(1000)], weights=[1, 3]), pt.Mixture)
        True
    """

    def __init__(self, line: MixLine, options: RunOptions) -> None:
        self._line = line
        self._options = options

    @property
    def num_rows(self) -> int:
        """Rows of epoch 0."""
        return self._line.rows(0)

    def streaming_split(self, n: int, *, equal: bool = True) -> list[Shard]:
        """Cuts each epoch's rows in `n` parts, one for each rank, as `Dataset.streaming_split` does.

        Args:
            n: Number of ranks.
            equal: Whether all ranks get the same number of rows.
        """
        return shards_of(self._line, n, equal, self._options)


def mix(
    datasets: Sequence[Training],
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    stop: str = "first",
    shuffle: str = "global",
    window_bytes: int | str = "128MiB",
    window_rows: int = WINDOW_ROWS,
    chunk_bytes: int | str = "8MiB",
    **options: Unpack[RunOptions],
) -> Mixture:
    """Mixes datasets by weight, row by row, for a training loop.

    In each 1,000 rows every dataset has exactly its share. Which rows stand where follows from the seed and the epoch
    alone, so that shards of a mixture resume as those of a dataset do.

    Args:
        datasets: Datasets with the same columns, each of a kind that `Dataset.streaming_split` takes.
        weights: One a dataset, in any unit; None: equal.
        seed: Of the order of epochs.
        stop: `"first"`: an epoch ends where a dataset has no more rows. `"all"`: it ends when every dataset was read
            whole, those that end earlier being read again, in another order.
        shuffle: How each dataset is shuffled, see `Dataset.streaming_split`.
        window_bytes: See `Dataset.streaming_split`.
        window_rows: See `Dataset.streaming_split`.
        chunk_bytes: See `Dataset.streaming_split`.
        options: Run options of each iterator; its memory and threads are divided by the datasets.

    Example:
        >>> small, large = pt.range(10), pt.range(1000).with_columns(id="id + 1000")
        >>> (shard,) = pt.mix([small, large], weights=[1, 3], seed=5).streaming_split(1)
        >>> batch = next(shard.iter_batches(20))
        >>> int((batch["id"] < 1000).sum()) in range(1, 10)
        True
    """
    if not datasets:
        raise UserError("there is nothing to mix")
    weights = [1.0] * len(datasets) if weights is None else list(weights)
    if len(weights) != len(datasets) or not all(weight > 0 for weight in weights):
        raise UserError("a mixture needs one positive weight for each dataset")
    if stop not in ("first", "all"):
        raise UserError(f"stop cannot be {stop!r}", hint="choose 'first' or 'all'")
    lines = [
        dataset._line(seed + i, shuffle, window_bytes, window_rows, chunk_bytes, None, options)
        for i, dataset in enumerate(datasets)
    ]
    return Mixture(MixLine(lines, weights, seed, stop), options)
