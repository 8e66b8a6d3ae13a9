"""Tensors, and the partner of torch's DataLoader. Only where torch is installed."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import partita as pt

torch = pytest.importorskip("torch")
DataLoader = torch.utils.data.DataLoader

# Fork is what torch uses by default on Linux; Python warns that the test's process has threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

SHAPE: dict[str, Any] = {"seed": 3, "chunk_bytes": 400, "window_bytes": 4000}


def ids(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["id"].tolist()]


def shard(rows: int = 503, n: int = 1, rank: int = 0) -> pt.Shard:
    if not Path("numbers").exists():
        pt.range(rows).with_columns(half="id / 2.0").write_parquet("numbers", row_group_size=50)
    return pt.read_parquet("numbers").streaming_split(n, **SHAPE)[rank]


def test_tensors_without_a_copy() -> None:
    floats = pa.array([float(i) for i in range(24)], pa.float32())
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(floats, 6),
            "flag": [True, False, True, True],
            "text": ["a", "b", "c", "d"],
            "hole": [1, None, 2, 3],
            "n": pa.array([1, 2, 3, 4], pa.int16()),
        }
    )
    (found,) = pt.from_arrow(table).streaming_split(1)
    batch = next(found.iter_torch_batches(4, dtypes={"n": torch.float64}))
    assert batch["x"].shape == (4, 6)
    assert batch["x"].data_ptr() == floats.buffers()[1].address
    assert batch["flag"].dtype == torch.bool
    assert batch["n"].dtype == torch.float64
    assert batch["text"] == ["a", "b", "c", "d"]
    assert batch["hole"] == [1, None, 2, 3]


def test_any_dataset_is_streamed_without_states() -> None:
    found = pt.range(100).filter("id % 2 = 0").iter_torch_batches(20)
    first = next(found)
    assert first["id"].tolist() == list(range(0, 40, 2))
    assert len(ids(found)) == 30
    with pytest.raises(pt.UserError, match="no states"):
        found.state_dict()
    found = pt.range(10**9).iter_torch_batches(20)
    next(found)
    found.close()


def test_a_dataset_is_an_iterable_for_one_rank() -> None:
    assert sorted(ids(DataLoader(pt.range(100).to_torch_iterable(20, seed=1), batch_size=None))) == list(range(100))


def test_collate_gets_arrays() -> None:
    found = shard().iter_torch_batches(10, collate_fn=lambda batch: torch.as_tensor(batch["id"]).sum())
    assert next(found).ndim == 0


def test_tensors_go_to_a_gpu_through_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def pinned(tensor: Any) -> Any:
        calls.append("pinned")
        return tensor

    def moved(tensor: Any, device: Any, **how: Any) -> Any:
        calls.append((device, how))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "to", moved)
    next(shard().iter_torch_batches(10, device="cuda:1", prefetch_batches=0))
    assert calls == ["pinned", ("cuda:1", {"non_blocking": True})] * 2, "each column"


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_every_row_once_with_any_number_of_workers(workers: int) -> None:
    found = ids(DataLoader(shard().to_torch_iterable(20), batch_size=None, num_workers=workers))
    assert sorted(found) == list(range(503))


def test_workers_that_are_spawned() -> None:
    context = multiprocessing.get_context("spawn")
    loader = DataLoader(shard().to_torch_iterable(20), batch_size=None, num_workers=2, multiprocessing_context=context)
    assert sorted(ids(loader)) == list(range(503))


def test_set_epoch_reaches_workers_that_live_on() -> None:
    data = shard().to_torch_iterable(20)
    loader = DataLoader(data, batch_size=None, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in range(3):
        data.set_epoch(epoch)
        epochs.append(ids(loader))
    assert all(sorted(rows) == list(range(503)) for rows in epochs)
    assert len({tuple(rows) for rows in epochs}) == 3


@pytest.mark.parametrize(("before", "after"), list(itertools.product([0, 1, 2, 3], repeat=2)))
def test_states_move_between_numbers_of_workers(before: int, after: int) -> None:
    loader = shard().to_torch_iterable(16).loader(before)
    first = ids(itertools.islice(loader, 7))
    assert len(first) == 7 * 16
    state = json.loads(json.dumps(loader.state_dict()))
    other = shard().to_torch_iterable(9).loader(after)
    other.load_state_dict(state)
    rest = ids(other)
    assert sorted(first + rest) == list(range(503))
    second = ids(other)  # the next epoch is whole
    assert sorted(second) == list(range(503))
    assert second[:100] != rest[:100]


def test_states_move_between_ranks_with_workers() -> None:
    taken: list[int] = []
    for rank in range(2):
        loader = shard(n=2, rank=rank).to_torch_iterable(8).loader(3)
        taken += ids(itertools.islice(loader, 10))
    state = loader.state_dict()
    for rank in range(3):
        found = shard(n=3, rank=rank).iter_torch_batches(11)
        found.load_state_dict(state)
        taken += ids(found)
    assert len(taken) == len(set(taken)) >= 501


def test_a_plain_loader_has_states_too() -> None:
    data = shard().to_torch_iterable(16)
    loader = DataLoader(data, batch_size=None, num_workers=2)
    first = ids(itertools.islice(loader, 5))
    state = data.state_dict(batches=5, num_workers=2)
    again = shard().to_torch_iterable(16)
    again.load_state_dict(state)
    assert sorted(first + ids(DataLoader(again, batch_size=None))) == list(range(503))


def test_torchdatas_stateful_loader() -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    made = stateful.StatefulDataLoader(shard().to_torch_iterable(16), batch_size=None, num_workers=2)
    first = ids(itertools.islice(made, 9))
    state = pickle.loads(pickle.dumps(made.state_dict()))
    again = stateful.StatefulDataLoader(shard().to_torch_iterable(16), batch_size=None, num_workers=2)
    again.load_state_dict(state)
    assert sorted(first + ids(again)) == list(range(503))


def test_length_and_pickle() -> None:
    data = shard().to_torch_iterable(20)
    assert len(data) == 26
    assert len(pickle.loads(pickle.dumps(data))) == 26
