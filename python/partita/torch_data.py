"""The partner of torch's DataLoader. Its class needs torch: it is made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import UserError
from .lines import divided
from .positions import Intervals, Leg, count, cut, with_taken
from .ranks import Rank, check_epoch
from .tensors import _torch, torch_converter

__all__ = ["TorchIterable"]  # noqa: F822  # made by __getattr__


def __getattr__(name: str) -> Any:
    if name != "TorchIterable":
        raise AttributeError(name)
    found = _torch_iterable()
    globals()[name] = found  # where pickle looks for it
    return found


def _torch_iterable() -> type:
    torch = _torch()

    class TorchIterable(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
        """Batches of a shard for a DataLoader, aware of its workers."""

        def __init__(
            self,
            rank: Rank,
            batch_size: int,
            dtypes: Any,
            collate_fn: Callable[[dict[str, Any]], Any] | None,
            drop_last: bool,
        ) -> None:
            self._rank = rank
            self._batch_size = batch_size
            self._dtypes = dtypes
            self._collate_fn = collate_fn
            self._drop_last = drop_last
            # Shared with workers that live on: set_epoch reaches them.
            self._shared_epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
            self._legs_epoch = 0
            self._legs: tuple[Leg, ...] = ()
            self._worker: tuple[int, int, int] | None = None  # workers, number, rows taken: of a worker's own state
            self._taken = 0

        def set_epoch(self, epoch: int) -> None:
            """The next loop is over this epoch.

            Args:
                epoch: 0 or more.
            """
            self._shared_epoch[0] = check_epoch(epoch)

        @property
        def epoch(self) -> int:
            return int(self._shared_epoch[0])

        def __len__(self) -> int:
            """Batches of what is left of the epoch."""
            rows = count(self._part(self._leg(1)))
            return rows // self._batch_size if self._drop_last else -(-rows // self._batch_size)

        def __iter__(self) -> Iterator[Any]:
            info = torch.utils.data.get_worker_info()
            workers, worker = (info.num_workers, info.id) if info is not None else (1, 0)
            part = self._part(self._leg(workers))
            lane = self._leg(workers).lane(part, worker)
            taken = 0
            if self._worker is not None and self._legs_epoch == self.epoch:
                of, number, taken = self._worker
                if (of, number) != (workers, worker):
                    raise UserError(
                        f"the state is of worker {number} of {of}, and this is worker {worker} of {workers}",
                        hint="keep num_workers, or take states with state_dict(batches=...) or .loader()",
                    )
            self._taken = taken
            lane = cut(lane, taken, count(lane))
            options = divided(self._rank.options, workers)
            convert = torch_converter(self._dtypes, None, self._collate_fn)
            for given, batch in self._rank.batches(
                self.epoch, lane, self._batch_size, self._drop_last, convert, options
            ):
                self._taken += given
                yield batch

        def _leg(self, workers: int) -> Leg:
            return self._rank.leg(self._batch_size, workers)

        def _part(self, leg: Leg) -> Intervals:
            return self._rank.part(self.epoch, self._legs if self._legs_epoch == self.epoch else (), leg)

        def state_dict(self, batches: int | None = None, num_workers: int = 1) -> dict[str, Any]:
            """Where the loop is.

            Args:
                batches: How many batches the loop took since this epoch began or a state was loaded. None: as many as
                    this object itself gave, which is right in the process that iterates it: without workers, or in
                    one.
                num_workers: Of the DataLoader.
            """
            info = torch.utils.data.get_worker_info()
            legs = self._legs if self._legs_epoch == self.epoch else ()
            if info is not None and batches is None:
                state = self._rank.state(self.epoch, legs)
                return {**state, "worker": [info.num_workers, info.id, self._taken]}
            taken = self._taken if batches is None else batches * self._batch_size
            rows = count(self._part(self._leg(1)))
            leg = self._leg(max(1, num_workers))
            return self._rank.state(self.epoch, with_taken(legs, leg, min(taken, rows)))

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            """Goes on where `state` was taken, of an iterator too. Call it before the DataLoader starts its workers.

            Args:
                state: Of `state_dict`.
            """
            epoch, self._legs = self._rank.read_state(state)
            worker = state.get("worker")
            self._worker = None if worker is None else (int(worker[0]), int(worker[1]), int(worker[2]))
            self._legs_epoch = epoch
            self._taken = 0
            self.set_epoch(epoch)

        def loader(self, num_workers: int = 0, **given: Any) -> Loader:
            """A DataLoader over this that counts what the loop takes: it has states, and goes on epoch by epoch.

            Args:
                num_workers: Worker processes; 0: none, which is often as fast: the engine has threads of its own.
                given: Arguments of torch's DataLoader.
            """
            return Loader(self, num_workers, given)

    TorchIterable.__qualname__ = "TorchIterable"
    return TorchIterable


class Loader:
    """A DataLoader that knows where it is. Each `for` loop is an epoch, or what is left of it."""

    def __init__(self, dataset: Any, num_workers: int, given: Mapping[str, Any]) -> None:
        self._dataset = dataset
        self._workers = num_workers
        options = {**given, "batch_size": None}
        self._loader = _torch().utils.data.DataLoader(dataset, num_workers=num_workers, **options)
        self._given = 0

    def __iter__(self) -> Iterator[Any]:
        # A loop that was left early is begun again where the state says: here, where it was left.
        if self._given:
            self.load_state_dict(self.state_dict())
        for batch in self._loader:
            self._given += 1
            yield batch
        self._given = 0
        self._dataset.set_epoch(self._dataset.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """The next loop is over this epoch.

        Args:
            epoch: 0 or more.
        """
        if epoch != self._dataset.epoch:
            self._given = 0
            self._dataset.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is: behind the last batch that it got."""
        state: dict[str, Any] = self._dataset.state_dict(self._given, max(1, self._workers))
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken, also of another number of workers or ranks.

        Args:
            state: Of `state_dict`, of an iterator too.
        """
        self._dataset.load_state_dict(state)
        self._given = 0
