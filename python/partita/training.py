"""What a dataset offers a training loop: splits for ranks, streams of tensors, mixtures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import pyarrow as pa

from ._graph import Node
from ._native import native
from .errors import UserError
from .ingest import Shard, StreamBatches
from .lines import SHUFFLES, DatasetLine, Line, MixLine, Order
from .options import RunOptions
from .ranks import Rank, check_size, converted

WINDOW_ROWS = 1 << 20


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
    return [Shard(Rank(line, rank, n, equal, options)) for rank in range(n)]


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

    def iter_torch_batches(
        self,
        batch_size: int | None = 256,
        *,
        dtypes: Any = None,
        device: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        prefetch_batches: int = 1,
        **options: Unpack[RunOptions],
    ) -> StreamBatches:
        """Streams the rows of any dataset in their order, from the start, as dicts of tensors. Needs torch.

        For epochs, ranks and states take `streaming_split(1, seed=…)[0].iter_torch_batches(…)`.

        Args:
            batch_size: Rows of every batch but the last; None: blocks as the run makes them.
            dtypes: A torch dtype for all tensors, or a dict of column: dtype.
            device: Where tensors are put; to a GPU through pinned memory.
            collate_fn: What makes of a batch (dict of NumPy arrays) what the loop gets, instead of tensors.
            drop_last: Whether a shorter last batch is left out.
            prefetch_batches: Batches that a thread makes ready ahead, on the device; 0: none.
            options: Run options, see `pt.options`.
        """
        from .tensors import torch_converter

        convert = torch_converter(dtypes, device, collate_fn)
        size = check_size(batch_size)
        return StreamBatches(
            converted(self._batches(-1, options, show=False), size, drop_last, convert), prefetch_batches
        )

    def iter_jax_batches(
        self,
        batch_size: int | None = 256,
        *,
        dtypes: Any = None,
        device: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        prefetch_batches: int = 1,
        **options: Unpack[RunOptions],
    ) -> StreamBatches:
        """Streams the rows of any dataset in their order, from the start, as dicts of JAX arrays. Needs jax.

        For epochs, ranks and states take `streaming_split(1, seed=…)[0].iter_jax_batches(…)`.

        Args:
            batch_size: Rows of every batch but the last; None: blocks as the run makes them.
            dtypes: A dtype for all arrays, or a dict of column: dtype. None: as the columns are, 64 bits too.
            device: A device or a sharding of JAX, where arrays are put; None: JAX's default device.
            collate_fn: What makes of a batch (dict of NumPy arrays) what the loop gets, instead of JAX arrays.
            drop_last: Whether a shorter last batch is left out.
            prefetch_batches: Batches that a thread makes ready ahead, on the device; 0: none.
            options: Run options, see `pt.options`.
        """
        from .tensors import jax_converter

        made = converted(
            self._batches(-1, options, show=False),
            check_size(batch_size),
            drop_last,
            jax_converter(dtypes, device, collate_fn),
        )
        return StreamBatches(made, prefetch_batches)

    def to_torch_iterable(
        self,
        batch_size: int = 256,
        *,
        dtypes: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        **split: Any,
    ) -> Any:
        """The rows as a `torch.utils.data.IterableDataset` for a single rank: see `Shard.to_torch_iterable`.

        Args:
            batch_size: Rows of every batch but the last.
            dtypes: A torch dtype for all tensors, or a dict of column: dtype.
            collate_fn: What makes of a batch (dict of NumPy arrays) what the loop gets, instead of tensors.
            drop_last: Whether a shorter last batch is left out.
            split: Arguments of `streaming_split`: `seed`, `shuffle`, …
        """
        (shard,) = self.streaming_split(1, **split)
        return shard.to_torch_iterable(batch_size, dtypes=dtypes, collate_fn=collate_fn, drop_last=drop_last)

    @abstractmethod
    def _batches(self, limit: int, options: RunOptions, *, show: bool) -> Iterator[pa.RecordBatch]: ...

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
        >>> small, large = pt.range(1000), pt.range(9000).with_columns(id="id + 1000")
        >>> (shard,) = pt.mix([small, large], weights=[1, 3], seed=5).streaming_split(1)
        >>> batch = next(shard.iter_batches(1000))
        >>> int((batch["id"] < 1000).sum())
        250
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
