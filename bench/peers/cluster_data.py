"""Inputs of the question `engines`: `cluster_data.py make FOLDER ROWS IMAGES PORT`, `cluster_data.py check JOB OUT FOLDER`.

urls.parquet: pictures of a server at this machine's PORT;
facts: key (10 random bytes as hexadecimal text), k (one of rows / 100 integers), v (a float below 1), text (60 characters); dims: k, weight.
"""

import itertools
import json
import pathlib
import sys

FILES = 16
ROWS_A_ROW_GROUP = 100_000


def make(folder: str, rows: int, images: int, port: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = pathlib.Path(folder)
    for name in ("facts", "dims"):
        (root / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    many = max(1, rows // 100)
    for number in range(FILES):
        count = rows // FILES + (number < rows % FILES)
        letters = random.integers(97, 123, (count, 60), dtype=np.uint8)
        table = pa.table(
            {
                "key": [part.hex() for part in _cut(random.bytes(count * 10))],
                "k": random.integers(0, many, count),
                "v": random.random(count),
                "text": pa.StringArray.from_buffers(
                    count, pa.py_buffer(np.arange(0, 60 * count + 1, 60, dtype=np.int32)), pa.py_buffer(letters)
                ),
            }
        )
        pq.write_table(table, root / "facts" / f"{number:02}.parquet", row_group_size=ROWS_A_ROW_GROUP)
    dims = pa.table({"k": np.arange(many), "weight": random.random(many)})
    for number in range(4):
        part = dims.slice(number * many // 4, (number + 1) * many // 4 - number * many // 4)
        pq.write_table(part, root / "dims" / f"{number}.parquet")
    names = [f"{i:06d}" for i in range(images)]
    urls = pa.table({"url": [f"http://127.0.0.1:{port}/{name}.jpg" for name in names], "key": names})
    pq.write_table(urls, root / "urls.parquet")
    (root / "_expected.json").write_text(json.dumps({job: summary(job, root) for job in SQL}))


def _cut(data: bytes) -> list[bytes]:
    return [data[i : i + 10] for i in range(0, len(data), 10)]


# What each job writes, in the words of a judge.
SQL = {
    "map": "SELECT key, k, v * 2 + k AS w, text FROM facts WHERE v < 0.9",
    "sort": "SELECT * FROM facts",
    "shuffle": "SELECT * FROM facts",
    "group_by": "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS m FROM facts GROUP BY k",
    "join": "SELECT * FROM facts JOIN dims USING (k)",
}
SUMS = {
    "map": "count(*), sum(k), sum(w), sum(hash(key || text) % 1000003)",
    "sort": "count(*), sum(k), sum(v), sum(hash(key || text) % 1000003)",
    "shuffle": "count(*), sum(k), sum(v), sum(hash(key || text) % 1000003)",
    "group_by": "count(*), sum(n), sum(s * (k % 101)), sum(m * (k % 103))",
    "join": "count(*), sum(weight), sum(v * weight), sum(hash(key || text) % 1000003)",
}


def summary(job: str, root: pathlib.Path) -> list[float]:
    import duckdb

    database = duckdb.connect()
    for name in ("facts", "dims"):
        database.execute(f"CREATE VIEW {name} AS FROM read_parquet('{root}/{name}/*.parquet')")
    return [float(value) for value in database.execute(f"SELECT {SUMS[job]} FROM ({SQL[job]})").fetchone()]


def check(job: str, out: str, folder: str) -> None:
    import duckdb

    files = sorted(str(path) for path in pathlib.Path(out).rglob("*.parquet") if "_partita" not in path.parts)
    found = duckdb.execute(f"SELECT {SUMS[job]} FROM read_parquet({files!r}, union_by_name = true)").fetchone()
    expected = json.loads((pathlib.Path(folder) / "_expected.json").read_text())[job]
    for mine, theirs in zip(found, expected, strict=True):
        assert abs(float(mine) - theirs) <= 1e-9 * max(1.0, abs(theirs)), f"{found} instead of {expected}"
    if job == "sort":
        check_order(files)


def check_order(files: list[str]) -> None:
    """Each file in order, and the files' ranges side by side."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ranges = []
    for file in files:
        key = pq.read_table(file, columns=["key"])["key"].combine_chunks()
        if len(key):
            assert pc.all(pc.less_equal(key.slice(0, len(key) - 1), key.slice(1))).as_py() is not False, (
                f"{file}: order"
            )
            ranges.append((key[0].as_py(), key[-1].as_py()))
    ranges.sort()
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges)), "ranges overlap"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        check(*sys.argv[2:])
