"""From the shell: how long until the first row of a thousand files, and for a pipeline of five rows?"""

from __future__ import annotations

import argparse
import json
import pathlib
import re

import paths
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from harness import Contender, play
from results import Report, mib, number, outcome, table

QUESTION = "First row of a 1,000-file dataset, and a five-row pipeline, from the shell: wall time?"
REPETITIONS = 7
FILES, ROWS_PER_FILE = 1000, 100

# What a user types after `python -c`. {data}: a folder of Parquet files; {out}: a folder to be made.
FIRST_ROW = {
    "duckdb": "import duckdb; print(duckdb.sql(\"FROM read_parquet('{data}/*.parquet') LIMIT 1\").fetchall())",
    "polars": "import polars as pl; print(pl.scan_parquet('{data}').head(1).collect().rows())",
    "daft": "import daft; print(daft.read_parquet('{data}').limit(1).to_pylist())",
    "dask": "import dask.dataframe as dd; print(dd.read_parquet('{data}').head(1).values.tolist())",
    "ray": "import ray; ray.init(include_dashboard=False, log_to_driver=False); print(ray.data.read_parquet('{data}').take(1))",
}
FIVE_ROWS = {
    "duckdb": "import duckdb, os; os.makedirs('{out}'); duckdb.sql(\"COPY (SELECT *, value * 2 AS twice FROM read_parquet('{data}/*.parquet') "
    "WHERE id >= 0) TO '{out}/part.parquet' (FORMAT parquet, COMPRESSION snappy)\")",
    "polars": "import polars as pl; pl.scan_parquet('{data}').filter(pl.col('id') >= 0).with_columns((pl.col('value') * 2).alias('twice'))"
    ".sink_parquet('{out}/part.parquet', compression='snappy', mkdir=True)",
    "daft": "import daft; from daft import col; daft.read_parquet('{data}').where(col('id') >= 0).with_column('twice', col('value') * 2)"
    ".write_parquet('{out}')",
    "dask": "import dask.dataframe as dd; d = dd.read_parquet('{data}'); d = d[d.id >= 0]; d.assign(twice=d.value * 2).to_parquet('{out}', write_index=False)",
    "ray": "import ray; ray.init(include_dashboard=False, log_to_driver=False); from ray.data.expressions import col; "
    "ray.data.read_parquet('{data}').filter(expr=col('id') >= 0).with_column('twice', col('value') * 2).write_parquet('{out}')",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser


def make_sources(files: int) -> tuple[pathlib.Path, pathlib.Path]:
    many, five = paths.DATA / f"startup-{files}", paths.DATA / "startup-five"
    if not (many / "done").exists():
        paths.empty(many)
        for i in range(files):
            ids = list(range(i * ROWS_PER_FILE, (i + 1) * ROWS_PER_FILE))
            rows = pa.table({"id": ids, "value": [row * 0.5 for row in ids], "name": [f"name {row}" for row in ids]})
            (many / "data").mkdir(exist_ok=True)
            pq.write_table(rows, many / "data" / f"part-{i:05d}.parquet")
        (many / "done").touch()
    five.mkdir(parents=True, exist_ok=True)
    rows = pa.table(
        {"id": list(range(5)), "value": [0.5 * i for i in range(5)], "name": [f"name {i}" for i in range(5)]}
    )
    pq.write_table(rows, five / "five.parquet")
    return many / "data", five


def main(arguments: argparse.Namespace) -> int:
    files = max(5, round(FILES * arguments.scale))
    many, five = make_sources(files)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "startup")
    report = Report(
        "startup",
        QUESTION,
        {"files": files, "rows a file": ROWS_PER_FILE, "rounds": arguments.repeat, "page cache": "warm"},
    )
    partita = str(paths.program("partita"))

    def python_c(name: str, code: str) -> list[str]:
        return [str(paths.python_of("daft" if name == "daft" else "peers")), "-c", code]

    first = [Contender("partita", [partita, "inspect", str(many), "--rows", "1"], is_ours=True)]
    first += [Contender(name, python_c(name, code.format(data=many))) for name, code in FIRST_ROW.items()]
    out = work / "out"
    run_five = [
        partita,
        "run",
        str(paths.BENCH / "pipelines" / "five_rows.yaml"),
        "--set",
        f"in={five}",
        "--set",
        f"out={out}",
    ]
    last = [Contender("partita", run_five, is_ours=True)]
    last += [Contender(name, python_c(name, code.format(data=five, out=out))) for name, code in FIVE_ROWS.items()]
    for contender in last:
        contender.prepare = lambda: paths.empty(out).rmdir()
        contender.check = lambda run: check_five_rows(out)
    for title, contenders in (("first row", first), ("five rows", last)):
        if arguments.only:
            contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
        for contender in contenders:
            contender.timeout_s = 120
            contender.watch_memory = False  # asking every 10 ms costs programs of 10 ms as much again
            if title == "first row":
                contender.check = lambda run, c=contender: check_first_row(c)
        print(title)
        play(contenders[:], 1, work)  # binaries and byte code into the page cache; thrown away
        for contender in contenders:
            contender.runs.clear()
        play(contenders, arguments.repeat, work)
        report.add_runs(title, contenders)
        wall = {c.name: c.median(lambda run: run.wall_s) for c in contenders}
        rows = []
        for c in contenders:
            seconds = wall[c.name]
            ratio = seconds / wall["partita"] if seconds and wall.get("partita") else None
            cpu, peak = c.median(lambda run: run.cpu_s), c.median(lambda run: run.peak_with_cache_bytes)
            rows.append(
                [
                    c.name,
                    number(seconds * 1000 if seconds else None),
                    number(ratio),
                    number(cpu * 1000 if cpu else None, 0),
                    mib(peak),
                    outcome(c),
                ]
            )
        report.say(
            f"\n## {title}\n\n"
            + table(["", "wall ms", "times partita", "CPU ms", "peak with page cache", ""], rows)
            + "\n"
        )
        peers = {name: seconds for name, seconds in wall.items() if seconds and name != "partita"}
        if wall.get("partita") and peers:
            best = min(peers, key=lambda name: peers[name])
            report.say(f"**{title}: partita takes {wall['partita'] / peers[best]:.3f} of {best}, the fastest peer.**")
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def check_first_row(contender: Contender) -> None:
    """One row was printed. Daft and Ray give any row, not the first: that is noted, not held against them."""
    text = (contender.log or pathlib.Path()).read_text()
    printed = set(re.findall(r"\bname (\d+)\b", text))
    assert len(printed) == 1, f"{len(printed)} rows were printed"
    if printed != {"0"}:
        contender.note = "a row, not the first one"


def check_five_rows(out: pathlib.Path) -> None:
    found = ds.dataset([str(file) for file in sorted(out.rglob("*.parquet"))]).to_table(
        columns=["id", "value", "name", "twice"]
    )
    found = found.sort_by("id").to_pydict()
    expected = {"id": list(range(5)), "value": [0.5 * i for i in range(5)], "name": [f"name {i}" for i in range(5)]}
    expected["twice"] = [2 * value for value in expected["value"]]
    assert found == expected, json.dumps(found)[:200]
