"""The group-by questions of db-benchmark: `groupby.py make FOLDER ROWS`, `groupby.py run PEER q1 DATA OUT LIMIT_MIB`, `groupby.py check q1 OUT DATA`.

The data is what the benchmark's generator makes: id1, id2 of 100 texts, id3 of rows / 100 texts, id4, id5 of 100 and id6 of rows / 100 integers,
v1 from 1 to 5, v2 from 1 to 15, v3 a float below 100 of six places; no nulls. As Parquet files of 2,500,000 rows in row groups of 250,000.
"""

import json
import pathlib
import sys
import time

GROUPS = 100
ROWS_A_FILE, ROWS_A_ROW_GROUP = 2_500_000, 250_000

# As the benchmark asks them.
SQL = {
    "q1": "SELECT id1, sum(v1) AS v1 FROM x GROUP BY id1",
    "q2": "SELECT id1, id2, sum(v1) AS v1 FROM x GROUP BY id1, id2",
    "q3": "SELECT id3, sum(v1) AS v1, avg(v3) AS v3 FROM x GROUP BY id3",
    "q4": "SELECT id4, avg(v1) AS v1, avg(v2) AS v2, avg(v3) AS v3 FROM x GROUP BY id4",
    "q5": "SELECT id6, sum(v1) AS v1, sum(v2) AS v2, sum(v3) AS v3 FROM x GROUP BY id6",
    "q6": "SELECT id4, id5, quantile_cont(v3, 0.5) AS median_v3, stddev(v3) AS sd_v3 FROM x GROUP BY id4, id5",
    "q7": "SELECT id3, max(v1) - min(v2) AS range_v1_v2 FROM x GROUP BY id3",
    "q8": "SELECT id6, unnest(max(v3, 2)) AS largest2_v3 FROM x WHERE v3 IS NOT NULL GROUP BY id6",
    "q9": "SELECT id2, id4, pow(corr(v1, v2), 2) AS r2 FROM x GROUP BY id2, id4",
    "q10": "SELECT id1, id2, id3, id4, id5, id6, sum(v3) AS v3, count(*) AS count FROM x GROUP BY ALL",
}
KEYS = {
    "q1": ["id1"],
    "q2": ["id1", "id2"],
    "q3": ["id3"],
    "q4": ["id4"],
    "q5": ["id6"],
    "q6": ["id4", "id5"],
    "q7": ["id3"],
    "q8": ["id6"],
    "q9": ["id2", "id4"],
    "q10": ["id1", "id2", "id3", "id4", "id5", "id6"],
}


def make(folder: str, rows: int) -> None:
    import duckdb
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pathlib.Path(folder) / "data"
    data.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(108)
    many = max(1, rows // GROUPS)

    def texts(count: int, width: int, groups: int) -> pa.Array:
        names = pa.array([f"id{number:0{width}d}" for number in range(1, groups + 1)])
        return names.take(pa.array(random.integers(0, groups, count)))

    def integers(count: int, groups: int) -> pa.Array:
        return pa.array(random.integers(1, groups + 1, count, dtype=np.int32))

    for number, begin in enumerate(range(0, rows, ROWS_A_FILE)):
        count = min(ROWS_A_FILE, rows - begin)
        table = pa.table(
            {
                "id1": texts(count, 3, GROUPS),
                "id2": texts(count, 3, GROUPS),
                "id3": texts(count, 10, many),
                "id4": integers(count, GROUPS),
                "id5": integers(count, GROUPS),
                "id6": integers(count, many),
                "v1": integers(count, 5),
                "v2": integers(count, 15),
                "v3": pa.array(np.round(random.random(count) * 100, 6)),
            }
        )
        pq.write_table(table, data / f"part-{number:03d}.parquet", row_group_size=ROWS_A_ROW_GROUP)
    # What all must agree with: the answers of one engine, in sums that bind values to keys.
    database = duckdb.connect()
    database.execute(f"CREATE VIEW x AS FROM read_parquet('{data}/*.parquet')")
    expected = {question: summary(database, f"({sql})", question) for question, sql in SQL.items()}
    (pathlib.Path(folder) / "_expected.json").write_text(json.dumps(expected))


def summary(database, rows: str, question: str) -> list[float]:
    """The number of rows, and of each value the sum, plain and weighted by a hash of the row's keys."""
    columns = [row[0] for row in database.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()]
    keys = " || '/' || ".join(f"{key}::VARCHAR" for key in KEYS[question])
    parts = ["count(*)", f"sum((hash({keys}) % 1000003)::DOUBLE)"]
    for column in columns:
        if column not in KEYS[question]:
            parts += [f"sum({column}::DOUBLE)", f"sum({column}::DOUBLE * (hash({keys}) % 1009)::DOUBLE)"]
    return [float(value) for value in database.execute(f"SELECT {', '.join(parts)} FROM {rows}").fetchone()]


def check(question: str, out: str, data: str) -> None:
    import duckdb

    columns = {
        "q8": "SELECT id6, unnest(largest2_v3) AS largest2_v3",
        "q9": "SELECT id2, id4, CASE WHEN isnan(r2) THEN NULL ELSE r2 END AS r2",
    }
    file = out if out.endswith(".parquet") else f"{out}/*.parquet"
    rows = f"read_parquet('{file}')"
    database = duckdb.connect()
    names = [row[0:2] for row in database.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()]
    if question == "q9" or any(kind.endswith("[]") for _, kind in names):
        rows = f"({columns[question]} FROM {rows})"
    found = summary(database, rows, question)
    expected = json.loads((pathlib.Path(data) / "_expected.json").read_text())[question]
    assert len(found) == len(expected), (found, expected)
    for a, b in zip(found, expected, strict=True):
        assert abs(a - b) <= 1e-6 * max(1.0, abs(b)), (question, found, expected)


def duckdb(question: str, data: str, out: str, limit_mib: int) -> None:
    import duckdb as engine

    database = engine.connect()
    database.execute(
        f"SET memory_limit = '{limit_mib * 3 // 4}MiB'; SET threads = 2; SET preserve_insertion_order = false"
    )
    database.execute(f"SET temp_directory = '{out}.tmp'")
    database.execute(f"CREATE VIEW x AS FROM read_parquet('{data}/*.parquet')")
    database.execute(f"COPY ({SQL[question]}) TO '{out}.parquet' (FORMAT parquet)")


def polars(question: str, data: str, out: str, limit_mib: int) -> None:
    import os

    os.environ["POLARS_TEMP_DIR"] = out + ".tmp"
    import polars as pl
    from polars import col

    x = pl.scan_parquet(data)
    keys = KEYS[question]
    answers = {
        "q1": lambda: x.group_by(keys).agg(col("v1").sum()),
        "q2": lambda: x.group_by(keys).agg(col("v1").sum()),
        "q3": lambda: x.group_by(keys).agg(col("v1").sum(), col("v3").mean()),
        "q4": lambda: x.group_by(keys).agg(col("v1", "v2", "v3").mean()),
        "q5": lambda: x.group_by(keys).agg(col("v1", "v2", "v3").sum()),
        "q6": lambda: x.group_by(keys).agg(col("v3").median().alias("median_v3"), col("v3").std().alias("sd_v3")),
        "q7": lambda: x.group_by(keys).agg((col("v1").max() - col("v2").min()).alias("range_v1_v2")),
        "q8": lambda: (
            x.drop_nulls("v3").group_by(keys).agg(col("v3").top_k(2).alias("largest2_v3")).explode("largest2_v3")
        ),
        "q9": lambda: x.group_by(keys).agg((pl.corr("v1", "v2") ** 2).alias("r2")),
        "q10": lambda: x.group_by(keys).agg(col("v3").sum(), pl.len().alias("count")),
    }
    answers[question]().sink_parquet(out + ".parquet")


def pandas(question: str, data: str, out: str, limit_mib: int) -> None:
    import pandas as pd

    keys = KEYS[question]
    values = {"q1": ["v1"], "q2": ["v1"], "q5": ["v1", "v2", "v3"], "q3": ["v1", "v3"], "q4": ["v1", "v2", "v3"]}
    x = pd.read_parquet(data, columns=keys + values[question])
    groups = x.groupby(keys, as_index=False, sort=False, observed=True)
    if question in ("q1", "q2", "q5"):
        answer = groups.sum()
    elif question == "q3":
        answer = groups.agg({"v1": "sum", "v3": "mean"})
    else:
        answer = groups.mean()
    answer.to_parquet(out + ".parquet", index=False)


def ray(question: str, data: str, out: str, limit_mib: int) -> None:
    import ray as engine
    from ray.data.aggregate import Count, Mean, Sum

    engine.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=limit_mib * 3 // 10 << 20)
    engine.data.DataContext.get_current().enable_progress_bars = False
    answers = {
        "q1": [Sum("v1", alias_name="v1")],
        "q2": [Sum("v1", alias_name="v1")],
        "q3": [Sum("v1", alias_name="v1"), Mean("v3", alias_name="v3")],
        "q4": [Mean(name, alias_name=name) for name in ("v1", "v2", "v3")],
        "q5": [Sum(name, alias_name=name) for name in ("v1", "v2", "v3")],
        "q10": [Sum("v3", alias_name="v3"), Count(alias_name="count")],
    }
    engine.data.read_parquet(data).groupby(KEYS[question]).aggregate(*answers[question]).write_parquet(out)


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    if job == "make":
        make(words[0], int(words[1]))
    elif job == "check":
        check(*words)
    else:
        peer, question, data, out, limit = words
        began = time.perf_counter()
        {f.__name__: f for f in (duckdb, polars, pandas, ray)}[peer](question, data, out, int(limit))
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
