"""Rows for a training loop: shards of an epoch that is computed, and iterators that resume to the exact next row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from . import batches
from .errors import UserError
from .positions import Leg, count, with_taken
from .prefetch import Prefetch, check_prefetch
from .ranks import Convert, Rank, check_epoch, check_size


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

    def __init__(self, rank: Rank) -> None:
        self._rank = rank

    def __repr__(self) -> str:
        return f"Shard({self._rank.rank} of {self._rank.ranks}, {self.num_rows} rows)"

    @property
    def num_rows(self) -> int:
        """Rows of epoch 0 that are this rank's."""
        return count(self._rank.part(0, (), self._rank.leg(1)))

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

        return BatchIterator(self._rank, check_size(batch_size), drop_last, prefetch_batches, convert)

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
        return BatchIterator(self._rank, check_size(batch_size), drop_last, prefetch_batches, convert)

    def iter_jax_batches(
        self,
        batch_size: int | None = 256,
        *,
        dtypes: Any = None,
        device: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        prefetch_batches: int = 1,
    ) -> BatchIterator:
        """Batches of JAX arrays of this rank's rows, an epoch in each `for` loop.

        Columns of numbers and of lists of one length become arrays, put where `device` says; text, bytes and columns
        with nulls become lists of Python values. Needs jax.

        Args:
            batch_size: Rows of every batch but the last; None: blocks as the run makes them.
            dtypes: A dtype for all arrays, or a dict of column: dtype. None: as the columns are, 64 bits too.
            device: A device or a sharding of JAX, where arrays are put; None: JAX's default device.
            collate_fn: What makes of a batch (dict of NumPy arrays) what the loop gets, instead of JAX arrays.
            drop_last: Whether a shorter last batch is left out.
            prefetch_batches: Batches that a thread makes ready ahead, on the device; 0: none.
        """
        from .tensors import jax_converter

        convert = jax_converter(dtypes, device, collate_fn)
        return BatchIterator(self._rank, check_size(batch_size), drop_last, prefetch_batches, convert)

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
        return made(self._rank, check_size(batch_size), dtypes, collate_fn, drop_last)


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
        self, rank: Rank, batch_size: int | None, drop_last: bool, prefetch_batches: int, convert: Convert
    ) -> None:
        self._rank = rank
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
        return self._rank.state(self._epoch, self._now())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken.

        Args:
            state: Of `state_dict`, of an iterator over the same data in the same order.

        Raises:
            UserError: The state is of other data, or of another seed or shuffle.
        """
        epoch, legs = self._rank.read_state(state)
        self.close()
        self._epoch, self._legs, self._taken = epoch, legs, 0

    def close(self) -> None:
        """Ends the run and its thread. The next batch starts them again."""
        source, self._source = self._source, None
        if source is not None:
            self._legs, self._taken = self._now(), 0
            source.close()  # type: ignore[attr-defined]

    def _now(self) -> tuple[Leg, ...]:
        return with_taken(self._legs, self._rank.leg(self._batch_size), self._taken)

    def _started(self) -> Iterator[tuple[int, Any]]:
        self._legs, self._taken = self._now(), 0
        rank = self._rank
        part = rank.part(self._epoch, self._legs, rank.leg(self._batch_size))
        made = rank.batches(self._epoch, part, self._batch_size, self._drop_last, self._convert, rank.options)
        return Prefetch(made, self._prefetch) if self._prefetch else made


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
