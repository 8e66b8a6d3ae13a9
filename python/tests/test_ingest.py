"""Shards and their iterators, as a training loop uses them."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import partita as pt


def shard(rows: int = 100, **given: Any) -> pt.Shard:
    (found,) = pt.range(rows).streaming_split(1, **given)
    return found


def ids(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["id"].tolist()]


def test_batches_have_the_asked_for_size() -> None:
    assert [len(batch["id"]) for batch in shard(10).iter_batches(4)] == [4, 4, 2]
    assert [len(batch["id"]) for batch in shard(10).iter_batches(4, drop_last=True)] == [4, 4]


def test_nothing_to_read() -> None:
    assert list(shard(0).iter_batches(4)) == []
    few = pt.range(3).streaming_split(5)
    assert [part.num_rows for part in few] == [0] * 5


def test_a_loop_that_is_left_goes_on() -> None:
    batches = shard(10).iter_batches(2)
    assert ids(itertools.islice(batches, 2)) == [0, 1, 2, 3]
    assert ids(batches) == [4, 5, 6, 7, 8, 9]
    assert batches.epoch == 1


def test_a_closed_iterator_goes_on_where_it_was() -> None:
    batches = shard(10).iter_batches(2, prefetch_batches=3)
    next(batches)
    batches.close()
    assert ids(batches) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_state_does_not_count_what_is_only_prefetched() -> None:
    batches = shard(1000).iter_batches(10, prefetch_batches=20)
    next(batches)
    time.sleep(0.1)
    again = shard(1000).iter_batches(5)
    again.load_state_dict(batches.state_dict())
    assert next(again)["id"].tolist() == [10, 11, 12, 13, 14]


def test_set_epoch_begins_that_epoch() -> None:
    batches = shard(50, seed=1).iter_batches(10)
    second = shard(50, seed=1).iter_batches(10)
    next(batches)
    batches.set_epoch(1)
    second.set_epoch(1)
    assert ids(batches) == ids(second)
    assert batches.epoch == second.epoch == 2


@pytest.mark.parametrize("batch_format", ["numpy", "arrow", "pandas", "polars", "pydict"])
def test_formats(batch_format: str) -> None:
    batch = next(shard(5).iter_batches(5, batch_format))
    assert list(batch["id"].to_pylist() if batch_format == "arrow" else batch["id"]) == [0, 1, 2, 3, 4]


def test_collate_makes_what_the_loop_gets() -> None:
    assert list(shard(4).iter_batches(2, collate_fn=lambda batch: int(batch["id"].sum()))) == [1, 5]


def test_an_error_of_collate_is_raised_in_the_loop_and_ends_its_thread() -> None:
    def wrong(batch: Any) -> Any:
        raise KeyError("mine")

    before = threading.active_count()
    with pytest.raises(KeyError, match="mine"):
        next(shard().iter_batches(2, collate_fn=wrong))
    assert threading.active_count() == before


def test_whoever_drops_an_iterator_ends_its_run() -> None:
    before = threading.active_count()
    for _ in range(5):
        next(shard(1_000_000_000).iter_batches(2, prefetch_batches=2))
    assert threading.active_count() == before


def test_shards_are_pickled_without_rows() -> None:
    pt.range(1000).write_parquet("numbers")
    shards = pt.read_parquet("numbers").streaming_split(2, seed=1)
    data = pickle.dumps(shards[1])
    assert len(data) < 20_000
    Path("shard").write_bytes(data)
    code = (
        "import pickle, pathlib\n"
        "shard = pickle.loads(pathlib.Path('shard').read_bytes())\n"
        "print([row for batch in shard.iter_batches(64) for row in batch['id'].tolist()])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(ids(shards[1].iter_batches(64)))
    with pytest.raises(pt.UserError, match="memory of this process"):
        pickle.dumps(pt.from_pydict({"id": [1]}).streaming_split(1)[0])


def test_random_shuffle_at_the_end_is_the_epochs_order() -> None:
    given = shard(100, seed=9, shuffle="global")
    (found,) = pt.range(100).random_shuffle(seed=9).streaming_split(1)
    assert ids(found.iter_batches(10)) == ids(given.iter_batches(10)) != list(range(100))


def test_what_cannot_be_skipped_into_says_so_and_what_persisting_costs() -> None:
    pt.range(1000).write_parquet("numbers")
    ds = pt.read_parquet("numbers")
    wrong = {
        "filter": ds.filter("id > 3"),
        "sort": ds.sort("id"),
        "sample": ds.sample(0.5),
        "cast": ds.cast(id="int32", on_error="skip"),
    }
    for step, other in wrong.items():
        with pytest.raises(pt.UserError, match="cannot be skipped into") as error:
            other.streaming_split(1)
        assert error.value.step == step
        assert "about 1,000 rows" in str(error.value.hint)
    with pytest.raises(pt.UserError, match="several sources"):
        ds.union(ds).streaming_split(1)
    with pytest.raises(pt.UserError, match="limit"):
        ds.limit(5).streaming_split(1)


def test_states_of_other_data_or_order_are_refused() -> None:
    state = shard(100, seed=1).iter_batches(2).state_dict()
    for other, why in [
        (shard(101, seed=1), "other data"),
        (shard(100, seed=2), "seed"),
        (shard(100, seed=1, shuffle="local"), "shuffle"),
        (shard(100, seed=1, window_bytes="1MiB"), "window_bytes"),
    ]:
        with pytest.raises(pt.UserError, match=why):
            other.iter_batches(2).load_state_dict(state)
    mine = shard(100, seed=1).iter_batches(2)
    for bad in ({}, {**state, "legs": None}, {**state, "legs": [{"ranks": 0}]}, {**state, "epoch": "one"}, []):
        with pytest.raises(pt.UserError):
            mine.load_state_dict(bad)  # type: ignore[arg-type]


def test_arguments_are_checked() -> None:
    with pytest.raises(pt.UserError, match="ranks"):
        pt.range(3).streaming_split(0)
    with pytest.raises(pt.UserError, match="shuffle"):
        shard(shuffle="all")
    with pytest.raises(pt.UserError, match="window_bytes"):
        shard(window_bytes="many")
    with pytest.raises(pt.UserError, match="batch_size"):
        shard().iter_batches(0)
    with pytest.raises(pt.UserError, match="prefetch"):
        shard().iter_batches(1, prefetch_batches=-1)
    with pytest.raises(pt.UserError, match="same columns"):
        pt.mix([pt.range(3), pt.range(3).select(other="id")])
    with pytest.raises(pt.UserError, match="weight"):
        pt.mix([pt.range(3), pt.range(3)], weights=[1, 0])


def test_an_index_saves_looking_again_and_notices_other_files() -> None:
    Path("data").mkdir()
    for i in range(5):
        pt.range(100).select(id=f"id + {100 * i}").write_jsonl(f"data/{i}")
    (first,) = pt.read_jsonl("data/*/*.jsonl").streaming_split(1, index="rows.index")
    assert first.num_rows == 500
    known = Path("rows.index").read_bytes()
    # Counted from the file: with another number in it, that is what is believed.
    (again,) = pt.read_jsonl("data/*/*.jsonl").streaming_split(1, index="rows.index")
    assert Path("rows.index").read_bytes() == known
    assert ids(again.iter_batches(64)) == ids(first.iter_batches(64))
    pt.range(7).write_jsonl("data/9")
    (more,) = pt.read_jsonl("data/*/*.jsonl").streaming_split(1, index="rows.index")
    assert more.num_rows == 507
    Path("rows.index").write_text("{broken")
    assert pt.read_jsonl("data/*/*.jsonl").streaming_split(1, index="rows.index")[0].num_rows == 507
    assert [name for name in os.listdir() if name.endswith(".tmp")] == []


def test_files_that_change_meanwhile_are_an_error_and_no_wrong_rows() -> None:
    Path("rows.jsonl").write_text("".join(f'{{"id": {i}}}\n' for i in range(100)))
    (found,) = pt.read_jsonl("rows.jsonl").streaming_split(1, seed=1)
    Path("rows.jsonl").write_text("".join(f'{{"id": {i}}}\n' for i in range(90)))
    with pytest.raises(pt.PartitaError, match="chang"):
        list(found.iter_batches(10))


def test_lists_of_one_length_become_dimensions_without_a_copy() -> None:
    values = np.arange(24, dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(pa.array(values), 3), 2)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(values.reshape(4, 2, 3))
    table = pa.table({"nested": column, "tensor": tensor})
    (found,) = pt.from_arrow(table).streaming_split(1)
    batch = next(found.iter_batches(4))
    assert batch["nested"].shape == batch["tensor"].shape == (4, 2, 3)
    np.testing.assert_array_equal(batch["nested"], values.reshape(4, 2, 3))
    np.testing.assert_array_equal(batch["tensor"], values.reshape(4, 2, 3))
    assert batch["nested"].base is not None


def test_errors_name_file_and_row_of_a_shuffled_row() -> None:
    texts = [str(i) for i in range(100)]
    texts[73] = "seventy-three"
    pt.from_pydict({"id": texts}).write_parquet("texts", row_group_size=10)
    (found,) = pt.read_parquet("texts").cast(id="int64").streaming_split(1, seed=4, chunk_bytes=64)
    with pytest.raises(pt.DataError) as error:
        list(found.iter_batches(10))
    assert error.value.row == 73
    assert str(error.value.file).endswith(".parquet")


def test_shares_of_a_mixture_are_exact_in_every_thousand() -> None:
    mixture = pt.mix([pt.range(4000), pt.range(9000).select(id="id + 10000")], weights=[0.3, 0.7], seed=1)
    (found,) = mixture.streaming_split(1)
    for batch in itertools.islice(found.iter_batches(1000), 5):
        assert int((batch["id"] < 10000).sum()) == 300


@pytest.mark.parametrize("holes", ["none", "lists", "values"])
def test_tensors_are_permuted_whole(holes: str) -> None:
    values = np.arange(600, dtype=np.int16)
    inner = pa.array([None if holes == "values" and i % 7 == 3 else int(v) for i, v in enumerate(values)], pa.int16())
    mask = pa.array([holes == "lists" and i % 5 == 2 for i in range(100)])
    column = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(inner, 3), 2, mask=mask)
    table = pa.table({"id": range(100), "x": column})
    (found,) = pt.from_arrow(table.slice(10, 80)).streaming_split(1, seed=5, chunk_bytes=1000)
    batches = list(found.iter_batches(9, "arrow"))
    order = [row for batch in batches for row in batch["id"].to_pylist()]
    assert sorted(order) == list(range(10, 90)) != order
    expected = table["x"].to_pylist()
    assert [row for batch in batches for row in batch["x"].to_pylist()] == [expected[i] for i in order]
    pt.from_arrow(table).write_parquet("tensors", row_group_size=20)
    (stored,) = pt.read_parquet("tensors").streaming_split(1, seed=5, chunk_bytes=100)
    for batch in stored.iter_batches(9, "arrow"):
        assert batch["x"].to_pylist() == [expected[i] for i in batch["id"].to_pylist()]


def half(batch: dict[str, Any]) -> dict[str, Any]:
    return {"id": batch["id"], "half": batch["id"] / 2}


def test_rows_of_functions_resume_to_the_exact_next_row() -> None:
    ds = pt.range(2000).map(lambda row: {"id": row["id"] + 1}, schema={"id": "int64"})
    ds = ds.map_batches(half, per_row=True, batch_size=64)
    (whole,) = ds.streaming_split(1, seed=3, window_rows=300)
    expected = [(int(i), h) for b in whole.iter_batches(100) for i, h in zip(b["id"], b["half"], strict=True)]
    assert sorted(i for i, _ in expected) == list(range(1, 2001))
    assert all(h == i / 2 for i, h in expected)
    (shard,) = pickle.loads(pickle.dumps(ds.streaming_split(1, seed=3, window_rows=300)))
    begun = shard.iter_batches(130)
    assert next(begun)["id"].tolist() == [i for i, _ in expected[:130]]
    later = whole.iter_batches(77)
    later.load_state_dict(begun.state_dict())
    begun.close()
    assert [int(i) for batch in later for i in batch["id"]] == [i for i, _ in expected[130:]]


def test_functions_of_batches_must_say_and_keep_to_a_row_for_a_row() -> None:
    with pytest.raises(pt.UserError, match="per_row=True"):
        pt.range(9).map_batches(half).streaming_split(1)
    ds = pt.range(9).map_batches(lambda batch: {"id": batch["id"][:3]}, per_row=True, schema={"id": "int64"})
    with pytest.raises(pt.UserError, match="3 rows for 9"):
        ds.to_arrow()
