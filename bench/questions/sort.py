"""Records of 100 bytes, sorted by a random key of 10 bytes (or shuffled), Parquet to Parquet: who lives, and how fast?"""

from __future__ import annotations

import argparse
import pathlib

import paths
from harness import Contender, Run, drop_page_cache, judge, make, play
from results import Report, mib, number, outcome, table

QUESTION = "100-byte records sorted by a random 10-byte key, or shuffled, Parquet to Parquet under a kernel limit: time, peak, who dies?"
REPETITIONS = 1
RECORDS, RECORD_BYTES = 100_000_000, 100
RECORDS_A_FILE = 2_500_000
PEERS = ("duckdb", "polars", "daft", "dask", "ray", "spark")
VENV = {"daft": "daft", "spark": "spark"}
JOBS = ("sort", "shuffle")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--job", choices=JOBS, default="sort")
    parser.add_argument("--limit", type=int, default=2048, help="MiB of the kernel limit, of all alike [%(default)s]")
    parser.add_argument("--timeout", type=float, default=900, help="seconds after which a run counts as stalled")


def make_records(records: int) -> pathlib.Path:
    folder = paths.DATA / f"text-records-{records}"
    if not (folder / "_expected.json").exists():
        make("records.py", "make", folder, records, RECORDS_A_FILE)
    return folder


def main(arguments: argparse.Namespace) -> int:
    records = max(1000, round(RECORDS * arguments.scale))
    source = make_records(records)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "sort")
    limit = arguments.limit << 20
    budget = f"{arguments.limit - 256}MiB"
    total = records * RECORD_BYTES
    parameters = {
        "records": records,
        "bytes": total,
        "limit": f"{arguments.limit} MiB for each (Partita's budget {budget})",
        "codec": "none",
        "row groups": "of about 128 MiB where a writer can be told",
        "rounds": arguments.repeat,
        "page cache": "dropped before each run",
    }
    report = Report(
        arguments.job if arguments.scale == 1 else f"{arguments.job}-{total // 10**6}MB", QUESTION, parameters
    )

    def contender(name: str, command: list[object], **more: object) -> Contender:
        out = work / name

        def prepare() -> None:
            paths.empty(out).rmdir()
            drop_page_cache()

        def check(run: Run) -> None:
            judge("records.py", "check", out, source, arguments.job)
            paths.empty(out)

        return Contender(
            name,
            [str(word) for word in command],
            prepare=prepare,
            check=check,
            limit_bytes=limit,
            timeout_s=arguments.timeout,
            **more,
        )

    ours = [
        paths.program("partita"),
        "run",
        paths.BENCH / "pipelines" / f"{arguments.job}.yaml",
        "--memory",
        budget,
        "--quiet",
    ]
    ours += ["--set", f"in={source / 'data'}", "--set", f"out={work / 'partita'}"]
    contenders = [contender("partita", ours, is_ours=True)]
    move = [paths.python_of("peers"), paths.PEERS / "records.py", "move", source / "data", work / "moving", str(total)]
    if arguments.job == "sort":
        contenders.append(contender("moving", move, is_limit=True, note="read, write, read, write the bytes: no sort"))
        contenders[-1].check = lambda run: paths.empty(work / "moving") and None
    for name in PEERS:
        if name == "spark" and not paths.is_installed(name):
            parameters["left out"] = "spark (bench/setup.sh spark)"
            continue
        command = [
            paths.python_of(VENV.get(name, "peers")),
            paths.PEERS / "sort.py",
            arguments.job,
            name,
            source / "data",
        ]
        contenders.append(contender(name, [*command, work / name, str(arguments.limit)]))
    if arguments.only:
        contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
    play(contenders, arguments.repeat, work)
    report.add_runs(arguments.job, contenders)
    seconds = {c.name: s for c in contenders if (s := c.median(lambda run: run.job_s))}
    rows = [
        [
            c.name,
            number(seconds.get(c.name), 2),
            number(total / 2**20 / seconds[c.name] if c.name in seconds else None, 0),
            number(c.median(lambda run: run.cpu_s), 1),
            mib(max((run.peak_bytes for run in c.runs), default=None)),
            str(sum(run.kernel_kills for run in c.runs)),
            outcome(c),
        ]
        for c in contenders
    ]
    report.say("\n" + table(["", "s", "MiB/s", "CPU s", "peak memory", "kernel kills", ""], rows) + "\n")
    report.say("Peers without imports and cluster start, Partita with everything.")
    peers = {name: s for name, s in seconds.items() if name in PEERS}
    if "partita" in seconds and peers:
        best = min(peers, key=lambda name: peers[name])
        report.say(f"\n**{peers[best] / seconds['partita']:.2f} times {best}, the fastest survivor.**")
    if "partita" in seconds and "moving" in seconds:
        report.say(f"\n**{seconds['partita'] / seconds['moving']:.2f} of the time that moving the bytes takes.**")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
