"""A NumPy function over tensors: `udf.py make DATA ROWS FILES | check OUT DATA | PEER DATA OUT`. Each peer as its documentation does it.

The function takes 1,024 rows of 64 floats, normalises each row, and multiplies by a 64x64 matrix.
"""

import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

WIDTH, BATCH, PROCESSES = 64, 1024, 2
WEIGHTS = np.random.default_rng(1).standard_normal((WIDTH, WIDTH), dtype=np.float32) / 8


def work(x):
    centred = x - x.mean(axis=1, keepdims=True)
    centred /= centred.std(axis=1, keepdims=True) + np.float32(1e-6)
    return centred @ WEIGHTS


def step(batch):
    """For Partita: `udf:step`."""
    return {"y": work(batch["x"])}


class Model:
    """200 MB, of which a call uses what `work` does."""

    def __init__(self):
        self.weights = np.random.default_rng(1).standard_normal(50 << 20, dtype=np.float32)
        self.weights[: WIDTH * WIDTH] = WEIGHTS.reshape(-1)

    def __call__(self, batch):
        return {"y": self.applied(batch["x"])}

    def applied(self, x):
        centred = x - x.mean(axis=1, keepdims=True)
        centred /= centred.std(axis=1, keepdims=True) + np.float32(1e-6)
        return centred @ self.weights[: WIDTH * WIDTH].reshape(WIDTH, WIDTH)


def double(batch):
    """Twice as much as it gets."""
    return {"x": batch["x"], "again": batch["x"] + np.float32(0)}


def sums(batch):
    """Of a batch that was doubled, one row."""
    totals = {name: batch[name].sum(axis=0, dtype=np.float64)[None, :] for name in ("x", "again")}
    return {"rows": np.array([len(batch["x"])]), **totals}


_calls = 0


def dies(batch):
    """Ends its process in every 1,000th batch that the process gets."""
    global _calls
    _calls += 1
    if _calls == 1000:
        os._exit(1)
    return step(batch)


def tensors(array):
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), WIDTH)


def make(data, rows, files):
    import pathlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = pathlib.Path(data)
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(files):
        count = rows * (part + 1) // files - rows * part // files
        x = np.random.default_rng(part).standard_normal((count, WIDTH), dtype=np.float32)
        table = pa.table({"x": tensors(x)})
        pq.write_table(
            table, folder / f"part-{part:02}.parquet", compression="none", use_dictionary=False, row_group_size=65_536
        )


def check(out, data):
    """The same rows, whatever their order: counts, and sums that do not depend on it."""
    import pathlib

    import pyarrow.parquet as pq

    def columns(folder, name):
        for file in sorted(pathlib.Path(folder).rglob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(65_536):
                values = batch.column(name)
                while hasattr(values, "storage"):
                    values = values.storage
                yield values.flatten().to_numpy(zero_copy_only=False).reshape(-1, WIDTH)

    def fold(arrays):
        rows, total, squares = 0, np.zeros(WIDTH), np.zeros(WIDTH)
        for array in arrays:
            rows += len(array)
            total += array.sum(axis=0, dtype=np.float64)
            squares += np.square(array, dtype=np.float64).sum(axis=0)
        return rows, total, squares

    rows, total, squares = fold(columns(out, "y"))
    expected_rows, expected_total, expected_squares = fold(work(x) for x in columns(data, "x"))
    assert rows == expected_rows, f"{rows} rows, not {expected_rows}"
    assert np.allclose(total, expected_total, rtol=1e-4, atol=1e-2 * rows**0.5), "other sums"
    assert np.allclose(squares, expected_squares, rtol=1e-4), "other squares"


def _totals(folder, name):
    """How many rows there are, and their sum."""
    import pathlib

    import pyarrow.parquet as pq

    rows, total = 0, np.zeros(WIDTH)
    for file in sorted(pathlib.Path(folder).rglob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(65_536, columns=[name]):
            x = batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, WIDTH)
            rows += len(x)
            total += x.sum(axis=0, dtype=np.float64)
    return rows, total


def check_double(out, data):
    """As many rows, and the same sums in both columns."""
    rows, total = _totals(data, "x")
    for name in ("x", "again"):
        found_rows, found = _totals(out, name)
        assert found_rows == rows, f"{found_rows} rows of {name}, not {rows}"
        assert np.allclose(found, total, rtol=1e-6, atol=1e-3), f"other sums of {name}"


def check_sums(out, data):
    """The sums of batches are those of all rows."""
    import pyarrow.parquet as pq

    rows, total = _totals(data, "x")
    found_rows = sum(pq.read_table(out, columns=["rows"])["rows"].to_pylist())
    assert found_rows == rows, f"{found_rows} rows, not {rows}"
    for name in ("x", "again"):
        assert np.allclose(_totals(out, name)[1], total, rtol=1e-6, atol=1e-3), f"other sums of {name}"


def _loop_one(job, work=work):
    import pyarrow as pa
    import pyarrow.parquet as pq

    files, out = job
    for file in files:
        writer = None
        for batch in pq.ParquetFile(file).iter_batches(65_536, use_threads=False):
            x = batch.column(0).flatten().to_numpy().reshape(-1, WIDTH)
            y = np.concatenate([work(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])
            table = pa.table({"y": tensors(y)})
            if writer is None:
                name = os.path.join(out, os.path.basename(file))
                writer = pq.ParquetWriter(name, table.schema, compression="none", use_dictionary=False)
            writer.write_table(table)
        if writer is not None:
            writer.close()


def loop(data, out):
    """No engine: NumPy and pyarrow in as many processes."""
    import multiprocessing
    import pathlib

    start = time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    files = sorted(str(file) for file in pathlib.Path(data).glob("*.parquet"))
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(_loop_one, [([file], out) for file in files], chunksize=1)
    return time.perf_counter() - start


_model = None


def _loop_with_model(job):
    global _model
    _model = _model or Model()
    _loop_one(job, _model.applied)


def loop_model(data, out):
    """The same with a model in each process."""
    import multiprocessing
    import pathlib

    start = time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    files = sorted(str(file) for file in pathlib.Path(data).glob("*.parquet"))
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(_loop_with_model, [([file], out) for file in files], chunksize=1)
    return time.perf_counter() - start


def dask(data, out):
    import pathlib

    import pyarrow as pa
    import pyarrow.parquet as pq
    from dask import delayed
    from distributed import Client, LocalCluster

    def one(file):
        table = pq.read_table(file, use_threads=False)
        x = table.column(0).combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)
        y = np.concatenate([work(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])
        path = os.path.join(out, os.path.basename(file))
        pq.write_table(pa.table({"y": tensors(y)}), path, compression="none", use_dictionary=False)

    cluster = LocalCluster(
        n_workers=PROCESSES, threads_per_worker=1, dashboard_address=None, local_directory=out + ".tmp"
    )
    with cluster, Client(cluster) as client:
        start = time.perf_counter()
        pathlib.Path(out).mkdir(parents=True)
        jobs = [delayed(one)(str(file)) for file in sorted(pathlib.Path(data).glob("*.parquet"))]
        client.gather(client.compute(jobs))
        return time.perf_counter() - start


def daft(data, out):
    import daft as engine

    @engine.udf(return_dtype=engine.DataType.fixed_size_list(engine.DataType.float32(), WIDTH), batch_size=BATCH)
    def function(x):
        array = x.to_arrow()
        array = array.combine_chunks() if hasattr(array, "combine_chunks") else array
        return tensors(work(array.flatten().to_numpy(zero_copy_only=False).reshape(-1, WIDTH)))

    start = time.perf_counter()
    frame = engine.read_parquet(f"{data}/*.parquet")
    frame.select(function(frame["x"]).alias("y")).write_parquet(out, compression="none")
    return time.perf_counter() - start


def ray(data, out):
    import ray as engine

    def function(batch):
        array = batch.column("x").combine_chunks()
        import pyarrow as pa

        return pa.table({"y": tensors(work(array.flatten().to_numpy().reshape(-1, WIDTH)))})

    engine.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, object_store_memory=2 << 30)
    engine.data.DataContext.get_current().enable_progress_bars = False
    start = time.perf_counter()
    rows = engine.data.read_parquet(data)
    rows.map_batches(function, batch_size=BATCH, batch_format="pyarrow", zero_copy_batch=True).write_parquet(
        out, compression="none"
    )
    return time.perf_counter() - start


def datasets(data, out):
    """Parquet to Parquet: its Arrow cache is made in the time that counts, as the reading of others is."""
    import pathlib

    import datasets as engine

    def function(table):
        import pyarrow as pa

        x = table.column("x").combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)
        return pa.table({"y": tensors(work(x))})

    engine.disable_progress_bars()
    start = time.perf_counter()
    files = sorted(str(file) for file in pathlib.Path(data).glob("*.parquet"))
    rows = engine.Dataset.from_parquet(files, cache_dir=out + ".cache").with_format("arrow")
    made = rows.map(function, batched=True, batch_size=BATCH, num_proc=PROCESSES, remove_columns=["x"])
    pathlib.Path(out).mkdir(parents=True)
    made.to_parquet(os.path.join(out, "rows.parquet"))
    return time.perf_counter() - start


def _ray(data, out, *functions, **more):
    import ray as engine

    engine.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, object_store_memory=512 << 20)
    engine.data.DataContext.get_current().enable_progress_bars = False
    start = time.perf_counter()
    rows = engine.data.read_parquet(data)
    for function in functions:
        rows = rows.map_batches(function, batch_size=BATCH, batch_format="pyarrow", zero_copy_batch=True, **more)
    rows.write_parquet(out, compression="none")
    return time.perf_counter() - start


class _RayModel:
    def __init__(self):
        self.model = Model()

    def __call__(self, batch):
        import pyarrow as pa

        x = batch.column("x").combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)
        return pa.table({"y": tensors(self.model.applied(x))})


def ray_model(data, out):
    # Half a processor each, or the two hold all that reading and writing wait for: it never ends.
    return _ray(data, out, _RayModel, concurrency=PROCESSES, num_cpus=0.5)


def _ray_doubled(batch):
    import pyarrow as pa

    x = batch.column("x").combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)
    return pa.table({"x": tensors(x), "again": tensors(x + np.float32(0))})


def _ray_sums(batch):
    import pyarrow as pa

    columns = {name: batch.column(name).combine_chunks().flatten().to_numpy() for name in ("x", "again")}
    found = sums({name: values.reshape(-1, WIDTH) for name, values in columns.items()})
    return pa.table({"rows": found["rows"], "x": tensors(found["x"]), "again": tensors(found["again"])})


def ray_double(data, out):
    return _ray(data, out, _ray_doubled)


def ray_sums(data, out):
    return _ray(data, out, _ray_doubled, _ray_sums)


if __name__ == "__main__":
    word, arguments = sys.argv[1], sys.argv[2:]
    if word == "make":
        make(arguments[0], int(arguments[1]), int(arguments[2]))
    elif word == "check":
        check(*arguments)
    elif word == "check_double":
        check_double(*arguments)
    elif word == "check_sums":
        check_sums(*arguments)
    else:
        peers = (loop, loop_model, dask, daft, datasets, ray, ray_model, ray_double, ray_sums)
        seconds = {f.__name__: f for f in peers}[word](*arguments)
        print(json.dumps({"seconds": seconds}), flush=True)
