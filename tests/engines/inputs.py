"""Pipelines of every kind, and what they read: the laws' own, Python functions, pictures, quarantine."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

from binary import Workspace
from photos import write_inputs
from pipelines import PIPELINES

# Everything a module may offer a worker: numbers, closures, generators.
FUNCTIONS = '''
import numpy as np


def center(batch):
    """Depends on how batches are cut: a wrong cut shows in the output."""
    ids, width = batch["id"], batch["width"]
    return {"id": ids, "width": width - width.mean(), "rows": np.full(len(ids), len(ids))}


def repeated(row):
    for k in range(row["id"] % 3):
        yield {"id": row["id"], "k": k}
'''

MORE = {
    "map_batches": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
  - map_batches: {fn: "functions:center", batch_size: 97, schema: "id: int64, width: double, rows: int64"}
  - write_parquet: {path: out/a, rows_per_file: 500}
  - flat_map: {fn: "functions:repeated", schema: "id: int64, k: int64"}
  - random_shuffle: {seed: 4}
  - write_jsonl: out/b
""",
    "images": """
steps:
  - read_files: {path: in/images, rows_per_partition: 3}
  - resize_images: {image: bytes, size: 24, mode: center_crop, encode_quality: 90}
    on_error: quarantine
  - write_webdataset: {path: out/shards, rows_per_shard: 5, exact: true, extensions: {bytes: jpg}}
""",
    "quarantine": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 500}
  - with_columns: {n: "cast(caption as int64)"}
    name: parse
    on_error: quarantine
  - group_by: {by: [n], aggregates: {rows: count()}}
  - write_parquet: out/a
""",
    "no_rows": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 500}
  - filter: width > 1000000
  - sort: {by: id}
  - write_parquet: out/a
""",
}
ALL = {**PIPELINES, **MORE}


def png(width: int, height: int, seed: int) -> bytes:
    """A colour picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(
        b"\0" + bytes((x * y * c + seed * 40 + x) & 0xFF for x in range(width) for c in (1, 2, 3))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_images(workspace: Workspace) -> None:
    r = random.Random(9)
    for i in range(14):
        workspace.write(f"in/images/{i:02}.png", png(r.randrange(20, 90), r.randrange(20, 90), i))
    workspace.write("in/images/07b.png", b"no picture")


def write_all(folder: Path, names: list[str]) -> None:
    """A folder for each pipeline; what they read is one folder, under the same name for all."""
    shared = Workspace(folder / "inputs")
    write_inputs(shared, 3000)
    write_images(shared)
    for name in names:
        workspace = Workspace(folder / name)
        workspace.write("pipeline.yaml", ALL[name])
        workspace.write("functions.py", FUNCTIONS)
        (workspace.path / "in").symlink_to(shared.path / "in")
