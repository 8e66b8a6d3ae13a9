"""Sort or shuffle of 100-byte records: `sort.py sort|shuffle PEER DATA OUT LIMIT_MIB`. Each as its documentation does it, set up for the limit."""

import json
import sys
import time

ROW_GROUP = 1_000_000


def duckdb(job: str, data: str, out: str, limit_mib: int) -> float:
    import pathlib

    import duckdb as engine

    start = time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    database = engine.connect()
    database.execute(
        f"SET memory_limit = '{limit_mib * 3 // 4}MiB'; SET threads = 2; SET preserve_insertion_order = false"
    )
    database.execute(f"SET temp_directory = '{out}.tmp'")
    order = "key" if job == "sort" else "hash(key, 5)"
    database.execute(
        f"COPY (FROM read_parquet('{data}/*.parquet') ORDER BY {order}) TO '{out}/part-0.parquet' "
        f"(FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE {ROW_GROUP})"
    )
    return start


def polars(job: str, data: str, out: str, limit_mib: int) -> float:
    import os
    import pathlib

    os.environ["POLARS_TEMP_DIR"] = out + ".tmp"
    import polars as pl

    start = time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    frame = pl.scan_parquet(data)
    if job == "sort":
        frame = frame.sort("key")
    else:
        frame = frame.with_columns(pl.col("key").hash(5).alias("__h")).sort("__h").drop("__h")
    frame.sink_parquet(f"{out}/part-0.parquet", compression="uncompressed", statistics=False, row_group_size=ROW_GROUP)
    return start


def daft(job: str, data: str, out: str, limit_mib: int) -> float:
    import daft as engine

    start = time.perf_counter()
    frame = engine.read_parquet(f"{data}/*.parquet")
    frame = frame.sort("key") if job == "sort" else frame.sort(frame["key"].hash(5))
    frame.write_parquet(out, compression="none")
    return start


def dask(job: str, data: str, out: str, limit_mib: int) -> float:
    import dask.dataframe as dd
    import pyarrow as pa
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit=f"{limit_mib * 9 // 20}MiB",
        dashboard_address=None,
        local_directory=out + ".tmp",
    )
    with cluster, Client(cluster):
        start = time.perf_counter()
        frame = dd.read_parquet(data)
        if job == "sort":
            frame = frame.sort_values("key")
        else:
            frame = frame.assign(h=frame["key"].map(hash, meta=("h", "int64"))).sort_values("h").drop(columns="h")
        schema = pa.schema([("key", pa.string()), ("payload", pa.binary())])  # it cannot infer binaries
        frame.to_parquet(out, write_index=False, compression=None, schema=schema)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    return start


def ray(job: str, data: str, out: str, limit_mib: int) -> float:
    import ray as engine

    engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=limit_mib * 3 // 10 << 20)
    engine.data.DataContext.get_current().enable_progress_bars = False
    start = time.perf_counter()
    rows = engine.data.read_parquet(data)
    (rows.sort("key") if job == "sort" else rows.random_shuffle(seed=5)).write_parquet(out, compression="none")
    return start


def spark(job: str, data: str, out: str, limit_mib: int) -> float:
    from pyspark.sql import SparkSession, functions

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", f"{limit_mib * 6 // 10}m")
        .config("spark.local.dir", out + ".tmp")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.parquet.compression.codec", "uncompressed")
        .getOrCreate()
    )
    start = time.perf_counter()
    rows = session.read.parquet(data)
    order = "key" if job == "sort" else functions.rand(5)
    rows.orderBy(order).write.parquet(out)
    return start


if __name__ == "__main__":
    began = {f.__name__: f for f in (duckdb, polars, daft, dask, ray, spark)}[sys.argv[2]](
        sys.argv[1], sys.argv[3], sys.argv[4], int(sys.argv[5])
    )
    if sys.argv[2] != "dask":
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
