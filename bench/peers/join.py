"""Joins from Parquet to Parquet: `join.py make wide|skew|db FOLDER ROWS`, `join.py check JOB FOLDER OUT` and `join.py run JOB PEER DATA OUT LIMIT_MIB`.

Jobs: `wide` joins two tables of a shuffled int64 key and 47 bytes of payload, one to one; `skew` joins rows half of which
have one key to a tenth as many different ones. The others are those of the db-benchmark: `small` (inner, int key, a right
table of 10 rows), `medium` and `medium_left` (10 thousand), `medium_text` (string key), `big` (as many rows as the left).
"""

import json
import pathlib
import sys
import time

PAYLOAD = 47
CHUNK = 1_000_000
ROW_GROUP = 1_000_000
LEFT_FACTOR, RIGHT_FACTOR = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F

# job: (right table, key, how)
JOBS = {
    "wide": ("right", "key", "inner"),
    "skew": ("right", "key", "inner"),
    "small": ("small", "id1", "inner"),
    "medium": ("medium", "id2", "inner"),
    "medium_left": ("medium", "id2", "left"),
    "medium_text": ("medium", "id5", "inner"),
    "big": ("big", "id3", "inner"),
}


def make_wide(root: pathlib.Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(11)
    rows_a_file = max(1, rows // 8)
    for side, payload, factor in (("left", "a", LEFT_FACTOR), ("right", "b", RIGHT_FACTOR)):
        (root / side).mkdir(parents=True)
        keys = random.permutation(rows)
        for number, begin in enumerate(range(0, rows, rows_a_file)):
            part = keys[begin : begin + rows_a_file]
            schema = pa.schema([("key", pa.int64()), (payload, pa.binary())])
            with pq.ParquetWriter(
                root / side / f"{number:05d}.parquet", schema, compression="none", use_dictionary=False
            ) as writer:
                for at in range(0, len(part), CHUNK):
                    chunk = part[at : at + CHUNK]
                    values = random.integers(0, 256, (len(chunk), PAYLOAD), dtype=np.uint8)
                    values[:, :8] = (chunk.astype(np.uint64) * np.uint64(factor)).view(np.uint8).reshape(-1, 8)
                    offsets = pa.py_buffer((np.arange(len(chunk) + 1, dtype=np.int32) * PAYLOAD).tobytes())
                    column = pa.BinaryArray.from_buffers(
                        pa.binary(), len(chunk), [None, offsets, pa.py_buffer(values.tobytes())]
                    )
                    writer.write_table(pa.table([pa.array(chunk, pa.int64()), column], schema=schema))
    (root / "_expected.json").write_text(json.dumps({"rows": rows, "sum": rows * (rows - 1) // 2}))


def make_skewed(root: pathlib.Path, rows: int) -> None:
    """Half of the left rows have one key, the others any of those on the right."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(12)
    keys = max(1, rows // 10)
    rows_a_file = max(1, rows // 8)
    for side, count, value in (("left", rows, "v1"), ("right", keys, "v2")):
        (root / side).mkdir(parents=True)
        for number, begin in enumerate(range(0, count, rows_a_file)):
            size = min(rows_a_file, count - begin)
            key = np.arange(begin, begin + size)
            if side == "left":
                key = np.where(random.random(size) < 0.5, keys // 3, random.integers(0, keys, size))
            payload = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(PAYLOAD), size, [None, pa.py_buffer(random.bytes(size * PAYLOAD))]
            )
            table = pa.table({"key": key, value: np.round(random.random(size) * 100, 6), f"{side}_payload": payload})
            path = root / side / f"{number:05d}.parquet"
            pq.write_table(table, path, compression="none", use_dictionary=False, row_group_size=ROW_GROUP)


def make_benchmark(root: pathlib.Path, rows: int) -> None:
    """The tables of the db-benchmark's join task: nine of ten keys of the left match."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(108)
    sizes = {"small": max(1, rows // 10**6), "medium": max(1, rows // 10**3), "big": rows}

    def keys(n: int) -> tuple:
        """Those that both sides have, those of the left only, of the right only."""
        order = random.permutation(np.arange(1, n * 11 // 10 + 2))
        common, rest = order[: n * 9 // 10], order[n * 9 // 10 :]
        half = len(rest) // 2
        return np.concatenate([common, rest[:half]]), np.concatenate([common, rest[half:]])

    left_keys, right_keys = {}, {}
    for name, n in sizes.items():
        left_keys[name], right_keys[name] = keys(n)

    def text(values):
        return pa.array(np.char.add("id", values.astype("U")), pa.string())

    def write(name: str, columns: dict) -> None:
        (root / name).mkdir(parents=True)
        pq.write_table(pa.table(columns), root / name / "0.parquet", compression="snappy", row_group_size=ROW_GROUP)

    def take(values, n: int):
        return random.permutation(np.resize(values, n))

    x = [take(left_keys[name], rows).astype(np.int64) for name in sizes]
    columns = {f"id{i + 1}": pa.array(x[i]) for i in range(3)}
    columns |= {f"id{i + 4}": text(x[i]) for i in range(3)}
    write("left", columns | {"v1": pa.array(np.round(random.random(rows) * 100, 6))})
    for depth, (name, n) in enumerate(sizes.items()):
        own = take(right_keys[name], n).astype(np.int64)
        ids = [take(right_keys[other], n).astype(np.int64) for other in list(sizes)[:depth]] + [own]
        columns = {f"id{i + 1}": pa.array(v) for i, v in enumerate(ids)} | {
            f"id{i + 4}": text(v) for i, v in enumerate(ids)
        }
        write(name, columns | {"v2": pa.array(np.round(random.random(n) * 100, 6))})


def make(job: str, folder: str, rows: str) -> None:
    {"wide": make_wide, "skew": make_skewed}.get(job, make_benchmark)(pathlib.Path(folder), int(rows))


def files_of(out: str) -> list:
    return [str(path) for path in pathlib.Path(out).rglob("*.parquet")]


def check(job: str, folder: str, out: str) -> None:
    """The wide join row by row; of the others the number of rows and the sums, by DuckDB's own join of the keys."""
    if job == "wide":
        import numpy as np
        import pyarrow.parquet as pq

        expected = json.loads((pathlib.Path(folder) / "_expected.json").read_text())
        rows, total = 0, 0
        for file in files_of(out):
            for batch in pq.ParquetFile(file).iter_batches(CHUNK // 2, columns=["key", "a", "b"]):
                key = np.asarray(batch.column(0)).astype(np.uint64)
                for column, factor in ((batch.column(1), LEFT_FACTOR), (batch.column(2), RIGHT_FACTOR)):
                    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(key) + 1]
                    values = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, PAYLOAD)
                    head = np.ascontiguousarray(values[:, :8]).view(np.uint64)[:, 0]
                    assert (head == key * np.uint64(factor)).all(), "a row has another row's payload"
                rows += len(key)
                total += int(key.sum())
        assert (rows, total) == (expected["rows"], expected["sum"]), f"{rows} rows with sum {total}"
        return
    import duckdb as engine

    right, key, how = JOBS[job]
    sums = "count(*), round(fsum(v1), 3), round(fsum(v2), 3)"
    expected = engine.execute(
        f"SELECT {sums} FROM '{folder}/left/*.parquet' l {how} JOIN '{folder}/{right}/*.parquet' r USING ({key})"
    ).fetchone()
    found = engine.execute(f"SELECT {sums} FROM read_parquet({files_of(out)!r})").fetchone()
    assert found == expected, f"{found} instead of {expected}"


def duckdb(job: str, data: str, out: str, limit_mib: int) -> float:
    import duckdb as engine

    right, key, how = JOBS[job]
    start = time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    database = engine.connect()
    database.execute(
        f"SET memory_limit = '{limit_mib * 3 // 4}MiB'; SET threads = 2; SET preserve_insertion_order = false"
    )
    database.execute(f"SET temp_directory = '{out}.tmp'")
    database.execute(
        f"COPY (FROM read_parquet('{data}/left/*.parquet') l {how} JOIN read_parquet('{data}/{right}/*.parquet') r "
        f"USING ({key})) TO '{out}/part-0.parquet' (FORMAT parquet, COMPRESSION uncompressed)"
    )
    return start


def polars(job: str, data: str, out: str, limit_mib: int) -> float:
    import os

    os.environ["POLARS_TEMP_DIR"] = out + ".tmp"
    import polars as pl

    right, key, how = JOBS[job]
    start = time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    frame = pl.scan_parquet(f"{data}/left").join(pl.scan_parquet(f"{data}/{right}"), on=key, how=how)
    frame.sink_parquet(f"{out}/part-0.parquet", compression="uncompressed")
    return start


def daft(job: str, data: str, out: str, limit_mib: int) -> float:
    import daft as engine

    right, key, how = JOBS[job]
    start = time.perf_counter()
    frame = engine.read_parquet(f"{data}/left/*.parquet")
    frame.join(engine.read_parquet(f"{data}/{right}/*.parquet"), on=key, how=how).write_parquet(out, compression="none")
    return start


if __name__ == "__main__":
    verb, job = sys.argv[1:3]
    if verb == "make":
        make(job, *sys.argv[3:])
    elif verb == "check":
        check(job, *sys.argv[3:])
    else:
        began = {f.__name__: f for f in (duckdb, polars, daft)}[sys.argv[3]](job, *sys.argv[4:6], int(sys.argv[6]))
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
