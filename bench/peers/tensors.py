"""Tensors in Parquet: `tensors.py make KIND FOLDER ROWS | copy KIND SOURCE OUT | check OUT SOURCE`.

`copy` is a bare loop: pyarrow's reader and writer, batch by batch, in one thread.
"""

import json
import os
import pathlib
import sys
import time
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILES = 4
WIDTH = {"floats": 64, "images": 150_528}  # 224 x 224 x 3
BATCH = {"floats": 8192, "images": 64}
GROUP = {"floats": 65_536, "images": 256}


def writer_of(kind, file, schema):
    return pq.ParquetWriter(file, schema, compression="none", use_dictionary=kind == "images")


def values_of(kind, rows, seed):
    random = np.random.default_rng(seed)
    if kind == "floats":
        return random.standard_normal(rows * WIDTH[kind], dtype=np.float32)
    return random.integers(0, 256, rows * WIDTH[kind], dtype=np.uint8)


def make(kind, folder, rows):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(FILES):
        left = int(rows) * (part + 1) // FILES - int(rows) * part // FILES
        writer, seed = None, part << 32
        while left > 0:
            count = min(left, GROUP[kind])
            column = pa.FixedSizeListArray.from_arrays(pa.array(values_of(kind, count, seed)), WIDTH[kind])
            table = pa.table({"x": column})
            writer = writer or writer_of(kind, folder / f"part-{part}.parquet", table.schema)
            writer.write_table(table)
            left, seed = left - count, seed + 1
        writer.close()
    (folder / "_made").touch()


def copy(kind, source, out):
    cpu, start = sum(os.times()[:2]), time.perf_counter()
    pathlib.Path(out).mkdir(parents=True)
    for file in sorted(pathlib.Path(source).glob("*.parquet")):
        reader = pq.ParquetFile(file)
        with writer_of(kind, pathlib.Path(out) / file.name, reader.schema_arrow) as writer:
            for batch in reader.iter_batches(BATCH[kind], use_threads=False):
                writer.write_batch(batch)
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": sum(os.times()[:2]) - cpu}), flush=True)


def check(out, source):
    """The same values in the same order."""

    def digest(folder):
        rows, crc = 0, 0
        for file in sorted(pathlib.Path(folder).rglob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(256):
                rows += batch.num_rows
                crc = zlib.crc32(np.ascontiguousarray(batch.column(0).flatten().to_numpy()), crc)
        return rows, crc

    found, expected = digest(out), digest(source)
    assert found == expected, f"{found[0]} rows of {expected[0]}, or other values"


if __name__ == "__main__":
    {"make": make, "copy": copy, "check": check}[sys.argv[1]](*sys.argv[2:])
