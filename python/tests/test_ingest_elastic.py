"""Law 1 and 4 of training ingest: the order follows from seed and epoch, and a state serves any number of readers."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from partita.positions import Interval, Leg, count

import partita as pt

ROWS = 1103  # a prime: no number of ranks or rows of a batch divides it
SHAPE: dict[str, Any] = {"chunk_bytes": 600, "window_bytes": 3000}


def parquet(folder: str = "numbers", rows: int = ROWS) -> pt.Dataset:
    if not Path(folder).exists():
        pt.range(rows).with_columns(v="id * 2").write_parquet(folder, row_group_size=90, rows_per_file=400)
    return pt.read_parquet(folder).with_columns(w="v + 1")


def ids(batches: Iterable[Any]) -> list[int]:
    return [row for batch in batches for row in batch["id"].tolist()]


def line(ds: pt.Dataset, epoch: int = 0, **shape: Any) -> list[int]:
    (shard,) = ds.streaming_split(1, **{**SHAPE, **shape})
    batches = shard.iter_batches(97)
    batches.set_epoch(epoch)
    return ids(batches)


@pytest.mark.parametrize("shuffle", ["none", "local", "global"])
def test_an_epoch_is_every_row_once(shuffle: str) -> None:
    rows = line(parquet(), shuffle=shuffle, seed=3)
    assert sorted(rows) == list(range(ROWS))
    assert (rows == sorted(rows)) == (shuffle == "none")


def test_epochs_and_seeds_differ_and_repeat() -> None:
    ds = parquet()
    found = {(seed, epoch): line(ds, epoch, seed=seed) for seed in (0, 1) for epoch in (0, 1)}
    assert len({tuple(rows) for rows in found.values()}) == 4
    assert line(ds, 1, seed=0) == found[0, 1]
    (shard,) = ds.streaming_split(1, seed=0, **SHAPE)
    batches = shard.iter_batches(50)
    assert [ids(batches), ids(batches)] == [found[0, 0], found[0, 1]]  # each loop is the next epoch


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 8}, {"memory": "32MiB"}, {"memory": "4GiB"}])
def test_the_order_does_not_follow_from_the_machine(options: Any) -> None:
    assert line(parquet(), seed=5, **options) == line(parquet(), seed=5)


def test_global_shuffle_mixes_rows_from_everywhere() -> None:
    first = line(parquet(), seed=2, window_bytes="1MiB")[:100]
    assert len({row // 90 for row in first}) > 8  # row groups


def read_some(shards: list[pt.Shard], batch_size: int, batches: int, state: Any) -> tuple[list[list[int]], Any]:
    """Each rank takes so many batches. The state is that of the last rank, through JSON."""
    taken = []
    for shard in shards:
        found = shard.iter_batches(batch_size, prefetch_batches=len(taken) % 3)
        if state is not None:
            found.load_state_dict(state)
        taken.append(ids(itertools.islice(found, batches)))
        after = found.state_dict()
        found.close()
    return taken, json.loads(json.dumps(after))


@pytest.mark.parametrize(("before", "after"), list(itertools.product(range(1, 9), range(1, 9))))
def test_resumes_on_another_number_of_ranks(before: int, after: int) -> None:
    r = random.Random(8 * before + after)
    ds = parquet(rows=331)
    shape = {"seed": 7, "shuffle": r.choice(["none", "local", "global"]), **SHAPE}
    whole = line(ds, **shape)
    size = r.randint(1, 12)
    first, state = read_some(ds.streaming_split(before, **shape), size, r.randint(0, 331 // before // size), None)
    seen = {row for rows in first for row in rows}
    assert len(seen) == sum(map(len, first))
    # What is left is in the order of the line, cut in equal parts; at most after - 1 rows at its end stay out.
    left = [row for row in whole if row not in seen]
    parts = []
    for shard in ds.streaming_split(after, **shape):
        found = shard.iter_batches(r.randint(1, 40))
        found.load_state_dict(state)
        parts.append(ids(found))
        assert found.epoch == 1
    assert len({len(part) for part in parts}) == 1
    assert [row for part in parts for row in part] == left[: len(left) // after * after]
    assert len(left) - sum(map(len, parts)) < after


def test_resumes_again_and_again() -> None:
    r = random.Random(1)
    ds = parquet()
    whole = line(ds, seed=1)
    state = None
    left = whole
    seen: list[int] = []
    for ranks in (3, 3, 5, 1, 8, 2, 2, 7):
        taken, state = read_some(ds.streaming_split(ranks, equal=False, seed=1, **SHAPE), r.randint(1, 9), 3, state)
        now = {row for rows in taken for row in rows}
        assert now <= set(left)
        seen += now
        left = [row for row in left if row not in now]
    (shard,) = ds.streaming_split(1, equal=False, seed=1, **SHAPE)
    last = shard.iter_batches(64)
    last.load_state_dict(state)
    assert ids(last) == left
    assert sorted(seen + left) == list(range(ROWS))


def test_states_do_not_grow_with_restarts() -> None:
    ds = parquet()
    state = None
    for _ in range(5):
        _, state = read_some(ds.streaming_split(4, seed=1, **SHAPE), 3, 2, state)
    assert [leg["rows"] for leg in state["legs"]] == [30]


def test_unequal_parts_leave_nothing_out() -> None:
    shards = parquet().streaming_split(4, equal=False, seed=1, **SHAPE)
    parts = [ids(shard.iter_batches(10)) for shard in shards]
    assert {len(part) for part in parts} == {275, 276}
    assert [row for part in parts for row in part] == line(parquet(), seed=1)


def flat(intervals: Iterable[Interval]) -> list[int]:
    return [row for begin, end in intervals for row in range(begin, end)]


def test_workers_take_batches_in_turn_and_lose_none() -> None:
    """The arithmetic against a simulation of a DataLoader: worker i gives batches i, i + workers, … of its rank."""
    r = random.Random(5)
    for _ in range(600):
        left = [(0, r.randint(1, 200))]
        for _ in range(r.randint(1, 4)):
            leg = Leg(r.randint(1, 8), True, r.randint(1, 4), r.randint(1, 9))
            parts = [leg.part(left, rank) for rank in range(leg.ranks)]
            batches = r.randint(0, -(-count(parts[0]) // leg.batch_size))
            taken: list[int] = []
            for part in parts:
                lanes = [flat(leg.lane(part, worker)) for worker in range(leg.workers)]
                assert sorted(row for lane in lanes for row in lane) == flat(part)
                queues = [[lane[i : i + leg.batch_size] for i in range(0, len(lane), leg.batch_size)] for lane in lanes]
                given = [queues[i % leg.workers][i // leg.workers] for i in range(-(-count(part) // leg.batch_size))]
                assert all(len(batch) == leg.batch_size for batch in given[:-1])
                taken += [row for batch in given[:batches] for row in batch]
            rows = min(batches * leg.batch_size, count(parts[0]))
            after = Leg(leg.ranks, True, leg.workers, leg.batch_size, rows).remaining(left)
            assert flat(after) == sorted(set(flat(left)) - set(taken))
            left = after


SOURCES: dict[str, Callable[[], pt.Dataset]] = {
    "range": lambda: pt.range(700),
    "memory": lambda: pt.from_pydict({"id": list(range(700))}),
    "jsonl": lambda: pt.read_jsonl("rows.jsonl", partition_bytes="1KB"),
    "webdataset": lambda: pt.read_webdataset("shards").select(id="cast(cast(id as string) as int64)"),
    "files": lambda: pt.read_files("many", rows_per_partition=7).select(id="cast(cast(bytes as string) as int64)"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shuffle", ["none", "global"])
def test_every_source_is_skipped_into(source: str, shuffle: str) -> None:
    numbers = pt.range(700)
    if source == "jsonl":
        Path("rows.jsonl").write_text("".join(f'{{"id": {i}}}\n' for i in range(700)))
    elif source == "webdataset":
        numbers.select(id="cast(id as string)").write_webdataset("shards", rows_per_shard=60, extensions={"id": "id"})
    elif source == "files":
        Path("many").mkdir()
        for i in range(100):
            Path(f"many/{i:03}.txt").write_text(str(i))
    shape: dict[str, Any] = {"shuffle": shuffle, "seed": 4, "chunk_bytes": 400, "window_bytes": 40_000}
    ds = SOURCES[source]()
    whole = line(ds, **shape)
    assert sorted(whole) == list(range(100 if source == "files" else 700))
    (shard,) = ds.streaming_split(1, **shape)
    found = shard.iter_batches(7)
    assert ids(itertools.islice(found, 5)) == whole[:35]
    state = found.state_dict()
    found.close()
    again = shard.iter_batches(50)
    again.load_state_dict(state)
    assert ids(again) == whole[35:]


@pytest.mark.parametrize("stop", ["first", "all"])
def test_mixtures_resume(stop: str) -> None:
    small, large = pt.range(200), pt.range(900).select(id="id + 1000")
    mixture = pt.mix([small, large], weights=[1, 2], seed=3, stop=stop, **SHAPE)
    (shard,) = mixture.streaming_split(1)
    whole = ids(shard.iter_batches(31))
    assert len(whole) == mixture.num_rows
    if stop == "first":
        assert len(set(whole)) == len(whole)
        assert sum(row < 1000 for row in whole) == 200
    else:
        assert set(whole) == {*range(200), *range(1000, 1900)}
        assert abs(sum(row < 1000 for row in whole) - len(whole) / 3) < 20
    first, state = read_some(mixture.streaming_split(3), 9, 4, None)
    parts = []
    for other in mixture.streaming_split(2):
        found = other.iter_batches(17)
        found.load_state_dict(state)
        parts += ids(found)
    third = len(whole) // 3
    left = [row for i in range(3) for row in whole[i * third + 36 : (i + 1) * third]] + whole[3 * third :]
    assert parts == left[: len(left) // 2 * 2]
    assert [row for rows in first for row in rows] == [row for i in range(3) for row in whole[i * third :][:36]]
