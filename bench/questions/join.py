"""Two tables joined, Parquet to Parquet under a kernel limit; and the joins of the db-benchmark: who lives, and how fast?"""

from __future__ import annotations

import argparse
import pathlib

import paths
from harness import Contender, Run, drop_page_cache, judge, make, play
from results import Report, mib, number, outcome, table

QUESTION = (
    "two tables of 20 million rows joined one to one in 300 MiB; a join with a hot key; the db-benchmark's joins: "
    "time, peak, who dies?"
)
REPETITIONS = 1
ROWS = {"wide": 20_000_000, "skew": 20_000_000, "db": 10_000_000}
LIMITS = {"wide": 300, "skew": 1024, "db": 4096}  # MiB
DB_JOBS = ("small", "medium", "medium_left", "medium_text", "big")
PEERS = ("duckdb", "polars", "daft")
VENV = {"daft": "daft"}
JOINS = {  # job: (right table, key, how); as in peers/join.py
    "wide": ("right", "key", "inner"),
    "skew": ("right", "key", "inner"),
    "small": ("small", "id1", "inner"),
    "medium": ("medium", "id2", "inner"),
    "medium_left": ("medium", "id2", "left"),
    "medium_text": ("medium", "id5", "inner"),
    "big": ("big", "id3", "inner"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--job", choices=tuple(ROWS), default="wide")
    parser.add_argument(
        "--limit", type=int, help="MiB of the kernel limit, of all alike [wide 300, skew 1024, db 4096]"
    )
    parser.add_argument("--budget", type=int, help="MiB of Partita's budget [limit - 80, db limit - 256]")
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a run counts as stalled")


def make_tables(kind: str, rows: int) -> pathlib.Path:
    folder = paths.DATA / f"join-{kind}-{rows}"
    if not (folder / "_made").exists():
        paths.empty(folder)
        make("join.py", "make", kind, folder, rows)
        (folder / "_made").touch()
    return folder


def main(arguments: argparse.Namespace) -> int:
    rows = max(1000, round(ROWS[arguments.job] * arguments.scale))
    source = make_tables(arguments.job, rows)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "join")
    limit = arguments.limit or LIMITS[arguments.job]
    budget = arguments.budget or limit - (80 if arguments.job == "wide" else 256)
    parameters = {
        "rows": f"{rows} on the left",
        "limit": f"{limit} MiB for each (Partita's budget {budget} MiB)",
        "codec of the output": "none",
        "its row groups": "122,880 rows, as DuckDB has them; those of others are their own",
        "rounds": arguments.repeat,
        "page cache": "dropped before each run" if arguments.job == "wide" else "warm",
    }
    report = Report(f"join-{arguments.job}", QUESTION, parameters)
    for job in DB_JOBS if arguments.job == "db" else (arguments.job,):
        ask(job, arguments, report, source, work, limit, budget)
    report.say(
        "Seconds of peers are without imports, Partita's with everything; `cold shell` counts all of it for all."
    )
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def ask(
    job: str,
    arguments: argparse.Namespace,
    report: Report,
    source: pathlib.Path,
    work: pathlib.Path,
    limit: int,
    budget: int,
) -> None:
    def contender(name: str, command: list[object], **more: object) -> Contender:
        out = work / name

        def prepare() -> None:
            paths.empty(out).rmdir()
            if job == "wide":
                drop_page_cache()

        def check(run: Run) -> None:
            judge("join.py", "check", job, source, out)
            paths.empty(out)

        return Contender(
            name,
            [str(word) for word in command],
            prepare=prepare,
            check=check,
            limit_bytes=limit << 20,
            timeout_s=arguments.timeout,
            **more,
        )

    right, key, how = JOINS[job]
    ours = [
        paths.program("partita"),
        "run",
        paths.BENCH / "pipelines" / "join.yaml",
        "--memory",
        f"{budget}MiB",
        "--quiet",
    ]
    given = {"left": source / "left", "right": source / right, "on": key, "how": how, "out": work / "partita"}
    for name, value in given.items():
        ours += ["--set", f"{name}={value}"]
    contenders = [contender("partita", ours, is_ours=True)]
    for name in PEERS:
        command = [paths.python_of(VENV.get(name, "peers")), paths.PEERS / "join.py", "run", job, name, source]
        contenders.append(contender(name, [*command, work / name, str(limit)]))
    if arguments.only:
        contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
    play(contenders, arguments.repeat, work)
    report.add_runs(job, contenders)
    seconds = {c.name: s for c in contenders if (s := c.median(lambda run: run.job_s))}
    lines = [
        [
            c.name,
            number(seconds.get(c.name), 2),
            number(c.median(lambda run: run.wall_s), 2),
            number(c.median(lambda run: run.cpu_s), 1),
            mib(max((run.peak_bytes for run in c.runs), default=None)),
            str(sum(run.kernel_kills for run in c.runs)),
            outcome(c),
        ]
        for c in contenders
    ]
    report.say(
        f"\n{job}\n\n" + table(["", "s", "cold shell s", "CPU s", "peak memory", "kernel kills", ""], lines) + "\n"
    )
    peers = {name: s for name, s in seconds.items() if name in PEERS}
    if "partita" in seconds and peers:
        best = min(peers, key=lambda name: peers[name])
        report.say(f"**{peers[best] / seconds['partita']:.2f} times {best}, the fastest survivor.**\n")
