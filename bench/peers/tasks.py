"""Many tiny partitions through an identity map: `tasks.py PEER ROWS PARTITIONS`. Prints seconds, rows and their sum."""

import json
import sys
import time


def daft(rows: int, partitions: int):
    import daft as engine
    from daft import col

    @engine.func.batch(return_dtype=engine.DataType.int64(), use_process=False)
    def identity(ids: engine.Series) -> engine.Series:
        return ids

    engine.range(1).collect()  # its runtime is up
    start = time.perf_counter()
    frame = engine.range(0, rows, partitions=partitions).select(identity(col("id")).alias("id"))
    ids = frame.to_arrow()["id"]
    return time.perf_counter() - start, ids


def daft_expression(rows: int, partitions: int):
    """The same with an expression of its own instead of a Python function."""
    import daft as engine
    from daft import col

    engine.range(1).collect()
    start = time.perf_counter()
    frame = engine.range(0, rows, partitions=partitions).select((col("id") + 0).alias("id"))
    ids = frame.to_arrow()["id"]
    return time.perf_counter() - start, ids


def dask(rows: int, partitions: int, scheduler: str = "threads"):
    """Delayed functions on threads: its lightest way to say it; a data frame of the same shape is slower."""
    import dask as engine
    import pyarrow as pa

    size = -(-rows // partitions)

    @engine.delayed
    def source(i):
        return pa.array(range(i * size, min(rows, (i + 1) * size)), pa.int64())

    @engine.delayed
    def identity(ids):
        return ids

    start = time.perf_counter()
    parts = engine.compute(*[identity(source(i)) for i in range(partitions)], scheduler=scheduler, num_workers=2)
    return time.perf_counter() - start, pa.chunked_array(parts)


def dask_sync(rows: int, partitions: int):
    """The same without threads."""
    return dask(rows, partitions, "synchronous")


def dask_dataframe(rows: int, partitions: int):
    import dask.dataframe as dd
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    size = -(-rows // partitions)

    def source(i):
        return pd.DataFrame({"id": np.arange(i * size, min(rows, (i + 1) * size))})

    start = time.perf_counter()
    frame = dd.from_map(source, range(partitions), meta=source(0)).map_partitions(lambda part: part, meta=source(0))
    ids = frame.compute(scheduler="threads", num_workers=2)["id"]
    return time.perf_counter() - start, pa.chunked_array([pa.array(ids)])


def ray(rows: int, partitions: int):
    import pyarrow as pa
    import ray as engine
    import ray.data

    engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=1 << 30)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.range(2).materialize()  # workers are up
    start = time.perf_counter()
    data = ray.data.range(rows, override_num_blocks=partitions).map_batches(
        lambda batch: batch, batch_format="pyarrow", batch_size=None
    )
    chunks = [batch["id"].combine_chunks() for batch in data.iter_batches(batch_size=None, batch_format="pyarrow")]
    seconds = time.perf_counter() - start
    return seconds, pa.chunked_array(chunks)


def main() -> None:
    import pyarrow.compute as pc

    functions = {f.__name__: f for f in (daft, daft_expression, dask, dask_sync, dask_dataframe, ray)}
    rows, partitions = int(sys.argv[2]), int(sys.argv[3])
    seconds, ids = functions[sys.argv[1]](rows, partitions)
    print(json.dumps({"seconds": seconds, "rows": len(ids), "sum": pc.sum(ids).as_py()}), flush=True)


if __name__ == "__main__":
    main()
