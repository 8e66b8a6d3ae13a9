"""Records of 100 bytes: `records.py make FOLDER RECORDS RECORDS_A_FILE`, `check OUT FOLDER sort|shuffle`, `move DATA OUT BYTES`."""

import json
import pathlib
import sys
import time

KEY, PAYLOAD = 10, 90
# Keys are text, because not every peer sorts binaries.
LETTERS = b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHUNK = 500_000


def digest(keys, payloads) -> int:
    """The same for the same records in any order."""
    import numpy as np

    head = np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
    tail = np.ascontiguousarray(payloads[:, :8]).view(np.uint64)[:, 0]
    mixed = (head ^ (tail * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    return int((mixed ^ (mixed >> np.uint64(29))).sum(dtype=np.uint64))


def make(folder: str, records: str, records_a_file: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = pathlib.Path(folder)
    (root / "data").mkdir(parents=True, exist_ok=True)
    schema = pa.schema([pa.field("key", pa.string()), pa.field("payload", pa.binary())])
    random = np.random.default_rng(7)
    left, number, total = int(records), 0, 0
    while left > 0:
        rows = min(left, int(records_a_file))
        with pq.ParquetWriter(
            root / "data" / f"{number:05d}.parquet",
            schema,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        ) as writer:
            for begin in range(0, rows, CHUNK * 2):
                n = min(CHUNK * 2, rows - begin)
                keys = np.frombuffer(LETTERS, dtype=np.uint8)[random.integers(0, 64, (n, KEY), dtype=np.uint8)]
                payloads = random.integers(0, 256, (n, PAYLOAD), dtype=np.uint8)
                total += digest(keys, payloads)
                columns = []
                for kind, values, width in ((pa.string(), keys, KEY), (pa.binary(), payloads, PAYLOAD)):
                    offsets = pa.py_buffer((np.arange(n + 1, dtype=np.int32) * width).tobytes())
                    columns.append(pa.Array.from_buffers(kind, n, [None, offsets, pa.py_buffer(values.tobytes())]))
                writer.write_table(pa.table(columns, schema=schema), row_group_size=n)
        left -= rows
        number += 1
    (root / "_expected.json").write_text(json.dumps({"rows": int(records), "digest": total % 2**64}))


def bytes_of(column, width: int):
    import numpy as np
    import pyarrow as pa

    column = column.cast(pa.binary()) if not pa.types.is_binary(column.type) else column
    assert column.null_count == 0
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    assert len(column) == 0 or int(offsets[-1] - offsets[0]) == len(column) * width
    values = (
        np.frombuffer(column.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
        if len(column)
        else np.empty(0, np.uint8)
    )
    return values.reshape(-1, width)


def check(out: str, folder: str, job: str) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    expected = json.loads((pathlib.Path(folder) / "_expected.json").read_text())
    rows, total, last, descents = 0, 0, None, 0
    for file in sorted(
        pathlib.Path(out).rglob("*.parquet"),
        key=lambda path: [int(w) if w.isdigit() else 0 for w in path.stem.replace("_", "-").split("-")],
    ):
        for batch in pq.ParquetFile(file).iter_batches(CHUNK, columns=["key", "payload"]):
            keys, payloads = bytes_of(batch.column(0), KEY), bytes_of(batch.column(1), PAYLOAD)
            rows += len(keys)
            total += digest(keys, payloads)
            order = np.ascontiguousarray(keys[:, :8]).view(">u8")[:, 0]
            descents += int((order[1:] < order[:-1]).sum())
            if len(order):
                descents += int(last is not None and order[0] < last)
                last = order[-1]
    assert rows == expected["rows"], f"{rows} rows instead of {expected['rows']}"
    assert total % 2**64 == expected["digest"], "other records"
    if job == "sort":
        assert descents == 0, f"not in order at {descents} places"
    else:
        assert abs(descents - rows / 2) < max(1000, rows / 50), f"{descents} descents in {rows} rows are no shuffle"


def move(data: str, out: str, total: str) -> None:
    """What the disk takes to read the input, write it as a spill, read that, and write the output: two threads, 1 MiB calls."""
    import os
    import threading

    start = time.perf_counter()
    root = pathlib.Path(out)
    root.mkdir(parents=True)

    def copy(files: list[pathlib.Path], suffix: str) -> None:
        buffer = bytearray(1 << 20)
        for file in files:
            with (
                open(file, "rb", buffering=0) as source,
                open(root / (file.stem + suffix), "wb", buffering=0) as target,
            ):
                while read := source.readinto(buffer):
                    target.write(memoryview(buffer)[:read])

    def both(files: list[pathlib.Path], suffix: str) -> None:
        threads = [threading.Thread(target=copy, args=(files[i::2], suffix)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    both(sorted(pathlib.Path(data).glob("*.parquet")), ".spill")
    both(sorted(root.glob("*.spill")), ".out")
    os.sync()
    print(json.dumps({"seconds": time.perf_counter() - start, "bytes": int(total)}), flush=True)


if __name__ == "__main__":
    {"make": make, "check": check, "move": move}[sys.argv[1]](*sys.argv[2:])
