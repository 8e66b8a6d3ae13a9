"""Rows of 128 MiB: who copies them in little memory, and how fast?"""

from __future__ import annotations

import argparse
import pathlib

import paths
from harness import Contender, Run, drop_page_cache, judge, make, play
from results import Report, mib, number, outcome, table

QUESTION = "4 partitions x 10 rows x 128 MiB strings beside small columns, Parquet to Parquet partitioned by a small column: peak memory and time?"
REPETITIONS = 3
PARTITIONS, ROWS, VALUE_BYTES = 4, 10, 128 << 20
OUR_LIMIT, PEER_LIMIT = 768 << 20, 2048 << 20
VENV = {"daft": "daft"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory", default="512MiB", help="Partita's budget; its cgroup has 768 MiB, a peer's 2 GiB [%(default)s]"
    )
    parser.add_argument(
        "--layout",
        choices=("pages", "groups", "whole"),
        default="pages",
        help="of the input: one row group a file with a page a value, a row group a row, or one page with all values [%(default)s]",
    )
    parser.add_argument(
        "--timeout", type=float, default=300, help="seconds after which a run counts as stalled [%(default)s]"
    )


def make_sources(value_bytes: int, layout: str) -> pathlib.Path:
    folder = paths.DATA / f"fat-{layout}-{PARTITIONS}x{ROWS}x{value_bytes}"
    if not (folder / "_expected.json").exists():
        make("fat_data.py", folder, PARTITIONS, ROWS, value_bytes, layout)
    # Peers would read the file with the digests as data: they get a folder with the Parquet files alone.
    view = folder.with_name(folder.name + "-files")
    view.mkdir(exist_ok=True)
    for file in folder.glob("*.parquet"):
        if not (view / file.name).exists():
            (view / file.name).hardlink_to(file)
    return folder


def main(arguments: argparse.Namespace) -> int:
    value_bytes = max(1024, round(VALUE_BYTES * arguments.scale))
    source = make_sources(value_bytes, arguments.layout)
    files = source.with_name(source.name + "-files")
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "fat")
    stored = sum(file.stat().st_size for file in files.iterdir())
    total = PARTITIONS * ROWS * value_bytes
    parameters = {
        "rows": f"{PARTITIONS} x {ROWS}",
        "bytes a value": value_bytes,
        "layout": arguments.layout,
        "snappy makes of it": f"{stored / total:.2f}",
        "limits": f"Partita {OUR_LIMIT >> 20} MiB (budget {arguments.memory}), peers {PEER_LIMIT >> 20} MiB",
        "rounds": arguments.repeat,
        "page cache": "dropped before each run",
    }
    report = Report("fat" if arguments.layout == "pages" else f"fat-{arguments.layout}", QUESTION, parameters)

    def contender(name: str, command: list[object], limit: int, **more: object) -> Contender:
        out = work / name.replace(" ", "-")

        def check(run: Run) -> None:
            judge("fat_data.py", "check", out, source)
            paths.empty(out)  # 5 GiB each: not kept

        return Contender(
            name,
            [str(word) for word in command] + more.pop("tail", []),
            prepare=lambda: (paths.empty(out).rmdir(), drop_page_cache()),
            check=check,
            limit_bytes=limit,
            timeout_s=arguments.timeout,
            **more,
        )

    ours = [
        paths.program("partita"),
        "run",
        paths.BENCH / "pipelines" / "fat.yaml",
        "--memory",
        arguments.memory,
        "--quiet",
    ]
    ours += ["--set", f"in={files}", "--set", f"out={work / 'partita'}"]
    contenders = [contender("partita", ours, OUR_LIMIT, is_ours=True)]
    for name in ("loop", "duckdb", "duckdb_rows", "polars", "daft", "dask", "ray"):
        command = [paths.python_of(VENV.get(name, "peers")), paths.PEERS / "fat.py", name, files, work / name]
        contenders.append(contender(name, command, PEER_LIMIT, note="pyarrow, row by row" if name == "loop" else ""))
    if arguments.only:
        contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
    play(contenders, arguments.repeat, work)
    report.add_runs("fat", contenders)
    rows = []
    for c in contenders:
        seconds = c.median(lambda run: run.job_s)
        rows.append(
            [
                c.name,
                f"{(c.limit_bytes or 0) >> 20} MiB",
                number(total / 2**20 / seconds if seconds else None, 0),
                number(seconds, 2),
                number(c.median(lambda run: run.cpu_s), 2),
                mib(max((run.peak_bytes for run in c.runs), default=None)),
                str(sum(run.kernel_kills for run in c.runs)),
                outcome(c),
            ]
        )
    report.say("\n" + table(["", "limit", "MiB/s", "s", "CPU s", "highest peak", "kernel kills", ""], rows) + "\n")
    best = {c.name: c.median(lambda run: run.job_s) for c in contenders}
    if best.get("partita") and best.get("loop"):
        report.say(f"**{best['loop'] / best['partita']:.2f} times the row-by-row loop.**")
    others = {name: s for name, s in best.items() if s and name not in ("partita", "loop")}
    if best.get("partita") and others:
        name = min(others, key=lambda key: others[key])
        report.say(f"\n**{others[name] / best['partita']:.2f} times {name}, the fastest engine that finished.**")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
