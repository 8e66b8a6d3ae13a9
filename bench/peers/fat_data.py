"""Makes the fat rows: `fat_data.py FOLDER PARTITIONS ROWS VALUE_BYTES LAYOUT`; and checks a copy: `fat_data.py check OUT FOLDER`.

A value is text of words drawn from a vocabulary of 50,000, frequent ones far more often: Snappy makes it 0.9 of its size. One file a
partition, columns id, bucket (four values), length and text. LAYOUT: pages (one row group a file, a page a value), groups (a row group a
row) or whole (one row group and one page: what pyarrow writes when it is not told otherwise; whoever reads it must hold or stream 1.25 GiB).
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BUCKETS = ["books", "code", "news", "web"]
SCHEMA = pa.schema([("id", pa.int64()), ("bucket", pa.string()), ("length", pa.int64()), ("text", pa.large_string())])


def vocabulary() -> np.ndarray:
    """Words of 7 letters and a space, as 8-byte integers: a value is then made by one gather."""
    rng = np.random.Generator(np.random.PCG64(1))
    letters = rng.choice(np.frombuffer(b"eeeeetttaaaoooiinnsshhrrdlcumwfgypbvkjxqz", np.uint8), (50_000, 8))
    letters[:, 7] = ord(" ")
    return np.ascontiguousarray(letters).view(np.uint64).ravel()


def text_of(row: int, size: int, words: np.ndarray) -> bytes:
    rng = np.random.Generator(np.random.PCG64(1_000 + row))
    out = np.empty(size // 8 + 1, np.uint64)
    for begin in range(0, len(out), 1 << 20):
        part = out[begin : begin + (1 << 20)]
        # Frequent words are far more frequent than rare ones.
        part[:] = words[(rng.random(len(part), dtype=np.float32) ** 3 * len(words)).astype(np.int32)]
    return out.tobytes()[:size]


def make(folder: pathlib.Path, partitions: int, rows: int, size: int, layout: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary()
    digests = {}
    for partition in range(partitions):
        numbers = range(partition * rows, (partition + 1) * rows)
        texts = []
        for row in numbers:
            text = text_of(row, size, words)
            digests[row] = hashlib.blake2b(text, digest_size=16).hexdigest()
            texts.append(text)
        columns = {"id": list(numbers), "bucket": [BUCKETS[row * 7 % 4] for row in numbers], "length": [size] * rows}
        text_array = pa.array(texts, pa.large_binary()).cast(pa.large_string())
        del texts
        table = pa.table({**columns, "text": text_array}, schema=SCHEMA)
        with pq.ParquetWriter(
            folder / f"part-{partition}.parquet",
            SCHEMA,
            compression="snappy",
            use_dictionary=False,
            write_statistics=["id"],
            store_schema=False,
            write_batch_size=1024 if layout == "whole" else 1,
        ) as writer:
            writer.write_table(table, row_group_size=1 if layout == "groups" else rows)
    (folder / "_expected.json").write_text(json.dumps({"size": size, "digests": digests}))


def check(out: pathlib.Path, source: pathlib.Path) -> None:
    """Every row once, in the folder of its bucket, its text unchanged. One row at a time."""
    expected = json.loads((source / "_expected.json").read_text())
    seen = set()
    for file in sorted(out.rglob("*.parquet")):
        if any(part.startswith(("_", ".")) for part in file.relative_to(out).parts):
            continue
        folder = file.parent.name.removeprefix("bucket=")
        reader = pq.ParquetFile(file, buffer_size=1 << 20)
        for batch in reader.iter_batches(1, columns=["id", "length", "text"]):
            row, length, text = (batch.column(i)[0] for i in range(3))
            assert row.as_py() not in seen, f"row {row} stands twice"
            seen.add(row.as_py())
            data = text.as_buffer()
            assert len(data) == length.as_py() == expected["size"], f"row {row}: {len(data)} bytes"
            assert hashlib.blake2b(data, digest_size=16).hexdigest() == expected["digests"][str(row)], (
                f"row {row}: other text"
            )
            assert folder == BUCKETS[row.as_py() * 7 % 4], f"row {row} is in folder {folder}"
    assert len(seen) == len(expected["digests"]), f"{len(seen)} rows of {len(expected['digests'])}"


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    else:
        make(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5])
