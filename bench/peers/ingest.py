"""Batches of stored tensors for a training loop: `ingest.py PEER FOLDER ROWS BATCH`, and `ingest.py prepare-PEER …` before.

Prints the seconds of an epoch, of its first batch, and of the first batch after a restart in mid-epoch (a fresh loader that is given the
state, in this process, after its imports), with a checksum of every row of the epoch.
"""

import itertools
import json
import os
import pathlib
import sys
import time

import numpy as np

SHAPE = (64, 64, 3)
SEED = 1
CHUNK = 1000


def pixels(first: int, rows: int) -> np.ndarray:
    """Of rows `first` to `first + rows`, a multiple of CHUNK."""
    parts = [
        np.random.default_rng(start).integers(0, 255, (CHUNK, *SHAPE), dtype=np.uint8)
        for start in range(first, first + rows, CHUNK)
    ]
    return np.concatenate(parts)


def samples(rows: int):
    for first in range(0, rows, CHUNK):
        yield from zip(range(first, first + CHUNK), pixels(first, CHUNK), strict=True)


def checksum(ids, images) -> int:
    ids, images = np.asarray(ids), np.asarray(images)
    assert images.shape[1:] == SHAPE, images.shape
    return int(((ids.astype(np.int64) + 1) * (images[:, 5, 7, 1].astype(np.int64) + 1)).sum())


# Each peer: prepare(folder, rows), and loader(folder, batch, state) -> (iterable of (ids, images), a function that gives the state).
# A state is taken in the middle of the epoch, right after a batch. No state: the peer has none.


def prepare_parquet(folder: pathlib.Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = int(np.prod(SHAPE))
    schema = pa.schema({"id": pa.int64(), "pixels": pa.list_(pa.uint8(), size)})
    for file in range(4):
        with pq.ParquetWriter(folder / f"{file}.parquet", schema, compression="none", use_dictionary=False) as writer:
            for first in range(file * rows // 4, (file + 1) * rows // 4, CHUNK):
                column = pa.FixedSizeListArray.from_arrays(pa.array(pixels(first, CHUNK).reshape(-1)), size)
                writer.write_table(pa.table([pa.array(range(first, first + CHUNK)), column], schema=schema))


def prepare_partita(folder: pathlib.Path, rows: int) -> None:
    """The same rows as Partita writes them: a byte of a pixel takes a byte."""
    import tempfile

    import partita as pt

    with tempfile.TemporaryDirectory(dir=folder.parent) as plain:
        prepare_parquet(pathlib.Path(plain), rows)
        pt.read_parquet(plain).write_parquet(str(folder), compression="none", row_group_size=CHUNK)


def partita(folder, batch, state):
    import partita as pt

    (shard,) = pt.read_parquet(str(folder)).streaming_split(1, seed=SEED)
    found = shard.iter_batches(batch)
    if state is not None:
        found.load_state_dict(state)
    return ((b["id"], b["pixels"].reshape(-1, *SHAPE)) for b in found), found.state_dict


def partita_none(folder, batch, state):
    """The same in the order of the files: what the shuffle costs."""
    import partita as pt

    (shard,) = pt.read_parquet(str(folder)).streaming_split(1, shuffle="none")
    found = shard.iter_batches(batch)
    if state is not None:
        found.load_state_dict(state)
    return ((b["id"], b["pixels"].reshape(-1, *SHAPE)) for b in found), found.state_dict


def datasets(folder, batch, state):
    """Its iterable form with a shuffle buffer: the map-style one reads single rows at random, which is slower."""
    import datasets as engine

    engine.disable_progress_bars()
    data = engine.Dataset.from_parquet(
        [str(f) for f in sorted(folder.glob("*.parquet"))], cache_dir=str(folder / "cache")
    )
    data = data.to_iterable_dataset(num_shards=16).shuffle(seed=SEED, buffer_size=10_000).with_format("numpy")
    if state is not None:
        data.load_state_dict(state)
    return ((b["id"], np.asarray(b["pixels"]).reshape(-1, *SHAPE)) for b in data.iter(batch)), data.state_dict


def prepare_datasets(folder: pathlib.Path, rows: int) -> None:
    prepare_parquet(folder, rows)
    datasets(folder, 8, None)


def prepare_webdataset(folder: pathlib.Path, rows: int) -> None:
    import webdataset as engine

    with engine.ShardWriter(str(folder / "%04d.tar"), maxcount=2000, verbose=0) as writer:
        for i, image in samples(rows):
            writer.write({"__key__": f"{i:09}", "id": str(i).encode(), "bin": image.tobytes()})


def webdataset(folder, batch, state):
    import webdataset as engine

    urls = [str(f) for f in sorted(folder.glob("*.tar"))]
    data = (
        engine.WebDataset(urls, shardshuffle=len(urls), seed=SEED, empty_check=False)
        .shuffle(10_000)
        .map(lambda s: (int(s["id"]), np.frombuffer(s["bin"], np.uint8).reshape(SHAPE)))
        .batched(batch)
    )
    return data, None


def prepare_mosaic(folder: pathlib.Path, rows: int) -> None:
    from streaming import MDSWriter

    shape = ",".join(map(str, SHAPE))
    with MDSWriter(out=str(folder / "mds"), columns={"id": "int", "pixels": f"ndarray:uint8:{shape}"}) as writer:
        for i, image in samples(rows):
            writer.write({"id": i, "pixels": image})


def mosaic(folder, batch, state):
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    data = StreamingDataset(local=str(folder / "mds"), shuffle=True, shuffle_seed=SEED, batch_size=batch)
    loader = StreamingDataLoader(data, batch_size=batch, num_workers=0)
    if state is not None:
        loader.load_state_dict(state)
    return ((b["id"], b["pixels"]) for b in loader), loader.state_dict


def _sample(i: int) -> dict:
    return {"id": i, "pixels": pixels(i // CHUNK * CHUNK, CHUNK)[i % CHUNK]}


def _chunk_of_samples(first: int):
    for i, image in enumerate(pixels(first, CHUNK)):
        yield {"id": first + i, "pixels": image}


def prepare_litdata(folder: pathlib.Path, rows: int) -> None:
    from litdata import optimize

    inputs = list(range(0, rows, CHUNK))
    optimize(
        fn=_chunk_of_samples,
        inputs=inputs,
        output_dir=str(folder / "lit"),
        chunk_bytes="64MB",
        num_workers=1,
        verbose=False,
    )


def litdata(folder, batch, state):
    from litdata import StreamingDataLoader, StreamingDataset

    data = StreamingDataset(str(folder / "lit"), shuffle=True, seed=SEED)
    loader = StreamingDataLoader(data, batch_size=batch, num_workers=0)
    if state is not None:
        loader.load_state_dict(state)
    return ((b["id"], b["pixels"]) for b in loader), loader.state_dict


def ray(folder, batch, state):
    import ray as engine
    import ray.data

    if not engine.is_initialized():
        engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2 << 30)
        ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.read_parquet(str(folder), shuffle="files")
    found = data.iter_batches(batch_size=batch, local_shuffle_buffer_size=2_000, local_shuffle_seed=SEED)
    return ((b["id"], np.stack(b["pixels"]).reshape(-1, *SHAPE)) for b in found), None


PREPARE = {
    "partita": prepare_partita, "partita_none": prepare_partita, "ray": prepare_parquet, "datasets": prepare_datasets,
    "webdataset": prepare_webdataset, "mosaic": prepare_mosaic, "litdata": prepare_litdata,
}  # fmt: skip
LOADERS = {
    "partita": partita, "partita_none": partita_none, "ray": ray, "datasets": datasets, "webdataset": webdataset,
    "mosaic": mosaic, "litdata": litdata,
}  # fmt: skip


def measure(name: str, folder: pathlib.Path, rows: int, batch: int) -> dict:
    loader = LOADERS[name]
    next(iter(loader(folder, batch, None)[0]))  # imports are done, runtimes are up, files are in the page cache
    usage = sum(os.times()[:4])
    start = time.perf_counter()
    batches, state_of = loader(folder, batch, None)
    seen, total, state, first, seen_half = [], 0, None, 0.0, 0
    for ids, images in batches:
        if not seen:
            first = time.perf_counter() - start
        seen.append(np.array(ids))
        total += checksum(ids, images)
        if state is None and state_of is not None and sum(map(len, seen)) >= rows // 2:
            state = json.loads(json.dumps(state_of(), default=str)) if name.startswith("partita") else state_of()
            seen_half = len(seen)
    seconds = time.perf_counter() - start
    report = {
        "seconds": seconds,
        "first": first,
        "cpu": sum(os.times()[:4]) - usage,
        "rows": sum(map(len, seen)),
        "distinct": len(np.unique(np.concatenate(seen))),
        "checksum": total,
        "displaced": float(np.abs(np.concatenate(seen) - np.arange(sum(map(len, seen)))).mean() / rows),
    }
    # After a restart in mid-epoch: to the first batch that was not seen yet.
    start = time.perf_counter()
    batches, _ = loader(folder, batch, state)
    skip = seen_half if state is not None else len(seen) // 2
    skip = 0 if state is not None else skip
    # None: what a shuffle buffer held is lost.
    found = next(itertools.islice(iter(batches), skip, None), None)
    report["resume"] = time.perf_counter() - start
    report["has_state"] = state is not None
    report["exact"] = bool(state is not None and found and np.array_equal(np.asarray(found[0]), seen[seen_half]))
    return report


def main() -> None:
    name, folder, rows, batch = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if name.startswith("prepare-"):
        folder.mkdir(parents=True, exist_ok=True)
        PREPARE[name.removeprefix("prepare-")](folder, rows)
        return
    print(json.dumps(measure(name, folder, rows, batch)), flush=True)
    os._exit(0)  # what loaders leave running is nobody's time


if __name__ == "__main__":
    main()
