"""Parquet to Parquet partitioned by `bucket`: `fat.py PEER IN OUT`. Each as its documentation does it, set up for little memory."""

import json
import pathlib
import sys
import time

LIMIT_MIB = 2048


def dask(source: str, out: str) -> float:
    import dask
    import dask.dataframe as dd

    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=1):  # one partition at a time
        dd.read_parquet(source).to_parquet(out, partition_on=["bucket"], write_index=False, compression="snappy")
    return start


def daft(source: str, out: str) -> float:
    import daft as engine

    start = time.perf_counter()
    engine.read_parquet(source).into_batches(1).write_parquet(out, partition_cols=["bucket"], compression="snappy")
    return start


def polars(source: str, out: str) -> float:
    import polars as pl

    start = time.perf_counter()
    target = pl.PartitionBy(out, key="bucket", include_key=False)
    pl.scan_parquet(source, low_memory=True).sink_parquet(
        target, compression="snappy", row_group_size=1, statistics=False, mkdir=True
    )
    return start


def duckdb(source: str, out: str) -> float:
    import duckdb as engine

    start = time.perf_counter()
    database = engine.connect()
    database.execute(
        f"SET memory_limit = '{LIMIT_MIB * 3 // 4}MiB'; SET threads = 2; SET preserve_insertion_order = false"
    )
    database.execute(f"SET temp_directory = '{out}.tmp'")
    database.execute(
        f"COPY (FROM read_parquet('{source}/*.parquet')) TO '{out}' (FORMAT parquet, PARTITION_BY (bucket), COMPRESSION snappy, "
        "ROW_GROUP_SIZE_BYTES '128MB')"
    )
    return start


def duckdb_rows(source: str, out: str) -> float:
    """DuckDB with a COPY a row: what is left when PARTITION_BY does not fit. Needs a row group a row (--layout groups)."""
    import duckdb as engine

    start = time.perf_counter()
    database = engine.connect()
    database.execute(
        f"SET memory_limit = '{LIMIT_MIB - 148}MiB'; SET threads = 1; SET preserve_insertion_order = false"
    )
    for file in sorted(pathlib.Path(source).glob("*.parquet")):
        for row, bucket in database.execute(f"SELECT id, bucket FROM '{file}'").fetchall():
            folder = pathlib.Path(out) / f"bucket={bucket}"
            folder.mkdir(parents=True, exist_ok=True)
            database.execute(
                f"COPY (SELECT id, length, text FROM '{file}' WHERE id = {row}) "
                f"TO '{folder}/{row}.parquet' (FORMAT parquet, COMPRESSION snappy)"
            )
    return start


def ray(source: str, out: str) -> float:
    import ray as engine
    import ray.data

    engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=768 << 20)
    ray.data.DataContext.get_current().enable_progress_bars = False
    start = time.perf_counter()
    ray.data.read_parquet(source).write_parquet(out, partition_cols=["bucket"])
    return start


def loop(source: str, out: str) -> float:
    """pyarrow, a row at a time: buffered column reads, one writer a bucket, one row group a row."""
    import pyarrow.parquet as pq

    start = time.perf_counter()
    writers = {}
    for number, file in enumerate(sorted(pathlib.Path(source).glob("*.parquet"))):
        reader = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        schema = reader.schema_arrow
        keep = [name for name in schema.names if name != "bucket"]
        for batch in reader.iter_batches(1, use_threads=False):
            bucket = batch.column("bucket")[0].as_py()
            if bucket not in writers:
                folder = pathlib.Path(out) / f"bucket={bucket}"
                folder.mkdir(parents=True, exist_ok=True)
                kept = batch.select(keep).schema
                writers[bucket] = pq.ParquetWriter(
                    folder / f"{number}.parquet",
                    kept,
                    compression="snappy",
                    use_dictionary=False,
                    write_statistics=False,
                )
            writers[bucket].write_batch(batch.select(keep))
    for writer in writers.values():
        writer.close()
    return start


if __name__ == "__main__":
    began = {f.__name__: f for f in (dask, daft, polars, duckdb, duckdb_rows, ray, loop)}[sys.argv[1]](
        sys.argv[2], sys.argv[3]
    )
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
