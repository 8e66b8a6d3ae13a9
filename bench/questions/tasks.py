"""Ten thousand partitions of a few rows: how many tasks a second?"""

from __future__ import annotations

import argparse

import paths
from harness import Contender, Run, play
from results import Report, mib, number, outcome, table

QUESTION = "10,000 partitions of a few rows through an identity map: tasks a second?"
REPETITIONS = 5
PARTITIONS, ROWS_PER_PARTITION = 10_000, 4
PEERS = {
    "daft": ("daft", "a Python function"),
    "daft_expression": ("daft", "an expression of its own"),
    "dask": ("peers", "delayed functions, two threads"),
    "dask_sync": ("peers", "delayed functions, one thread"),
    "dask_dataframe": ("peers", "map_partitions"),
    "ray": ("peers", "map_batches"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=300)


def main(arguments: argparse.Namespace) -> int:
    partitions = max(20, round(PARTITIONS * arguments.scale))
    rows = partitions * ROWS_PER_PARTITION
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "tasks")
    report = Report(
        "tasks",
        QUESTION,
        {"partitions": partitions, "rows a partition": ROWS_PER_PARTITION, "rounds": arguments.repeat},
    )

    def check(run: Run) -> None:
        assert run.report.get("rows") == rows, f"{run.report.get('rows')} rows"
        assert run.report.get("sum") == rows * (rows - 1) // 2, "wrong sum"

    ours = [str(paths.program("partita_bench_tasks")), str(rows), str(ROWS_PER_PARTITION), "0", "identity"]
    contenders = [Contender("partita", ours, check=check, is_ours=True, timeout_s=arguments.timeout)]
    for name, (venv, note) in PEERS.items():
        command = [str(paths.python_of(venv)), str(paths.PEERS / "tasks.py"), name, str(rows), str(partitions)]
        contenders.append(Contender(name, command, check=check, note=note, timeout_s=arguments.timeout))
    if arguments.only:
        contenders = [c for c in contenders if c.name.startswith(tuple(arguments.only.split(",")))]
    play(contenders, arguments.repeat, work)
    report.add_runs("tasks", contenders)
    rate = {c.name: partitions / seconds for c in contenders if (seconds := c.median(lambda run: run.job_s))}
    rows_of_table = [
        [
            c.name,
            number(rate.get(c.name), 0),
            number(c.median(lambda run: run.job_s), 3),
            number(c.median(lambda run: run.cpu_s), 2),
            mib(c.median(lambda run: run.peak_bytes)),
            outcome(c),
        ]
        for c in contenders
    ]
    report.say("\n" + table(["", "tasks/s", "job s", "CPU s of all", "peak memory", ""], rows_of_table) + "\n")
    report.say(
        "Job: peers without imports and start of their runtime; Partita from the pipeline's text to the last row."
    )
    peers = {name: value for name, value in rate.items() if name != "partita"}
    if "partita" in rate and peers:
        best = max(peers, key=lambda name: peers[name])
        report.say(f"\n**{rate['partita'] / peers[best]:.2f} times {best}, the fastest peer.**")
    report.write(arguments.tag)
    paths.clean(work)
    return 0
