"""Inputs that the laws are shown on: made from seeds, the same in every run."""

from __future__ import annotations

import json
import random

import pyarrow as pa
from binary import Workspace


def rows(count: int, seed: int = 1) -> pa.Table:
    r = random.Random(seed)
    words = ["sky", "hill", "träge", "line\nbreak", 'quo"te', "comma,", "", "日本", "-"]
    return pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "width": pa.array([r.randrange(1, 4000) for _ in range(count)], pa.int32()),
            "score": pa.array([r.choice([None, r.random(), -0.0, 1e300]) for _ in range(count)], pa.float64()),
            "caption": pa.array(
                [None if r.random() < 0.05 else " ".join(r.choices(words, k=r.randrange(6))) for _ in range(count)]
            ),
            "tags": pa.array([[r.choice(words) for _ in range(r.randrange(4))] for _ in range(count)]),
            "body": pa.array([r.randbytes(r.choice([0, 5, 60, 900])) for _ in range(count)], pa.binary()),
            "lang": pa.array([r.choice(["de", "en", "fr", None]) for _ in range(count)]),
        }
    )


def write_inputs(workspace: Workspace, count: int = 6000) -> None:
    """in/parquet (4 files with several row groups), in/jsonl and in/csv (one large file each, and a small one)."""
    table = rows(count)
    quarter = count // 4
    for i in range(4):
        part = table.slice(i * quarter, quarter)
        workspace.write_table(f"in/parquet/{i}.parquet", part, row_group_size=quarter // 3 + 1, data_page_size=4096)
    plain = table.select(["id", "width", "score", "caption", "lang"]).to_pylist()
    text = "".join(json.dumps(row, ensure_ascii=row["id"] % 2 == 0) + "\n" for row in plain)
    workspace.write("in/jsonl/a.jsonl", text)
    workspace.write("in/jsonl/b.jsonl", text[: text.index("\n", 2000) + 1])
    lines = ["id,width,caption\n"]
    for row in plain:
        caption = (row["caption"] or "").replace("\n", " ").replace('"', '""')
        lines.append(f'{row["id"]},{row["width"]},"{caption}"\n')
    workspace.write("in/csv/a.csv", "".join(lines))
    workspace.write("in/csv/b.csv", "".join(lines[:100]))
    workspace.write("in/text/a.txt", "".join(f"line {i} träge\n" for i in range(count)))
