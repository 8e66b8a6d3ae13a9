"""What the engines themselves cost a task, and where that ends: 10 to 10,000 nodes, 1 TB to 10 PB, computed from it."""

from __future__ import annotations

import argparse
import contextlib
import math
import time

import paths
from results import Report, number, table

from .cluster import make_cluster, run_program

QUESTION = "What does an engine's own call, task and reference cost, and where does it end between 10 and 10,000 nodes, 1 TB and 10 PB?"
CALLS, HELD = 5_000, 10_000

# Of the model. What the driver costs is of bench/engine_driver.py, the log of bench/run.py scale (docs/scale.md).
SLOTS_A_NODE = 16
SLOT_BYTES_S = 100e6  # of one task at work
PARTITION_BYTES = 128 << 20
DRIVER_S, DRIVER_BYTES, LOG_BYTES = 19e-6, 540, 339  # a task
MOST_TASKS = 24_000_000  # that a commit log can hold
FAN_IN = 512  # of a merge
NODES = (10, 100, 1_000, 10_000)
DATA = {"1 TB": 1e12, "10 TB": 1e13, "100 TB": 1e14, "1 PB": 1e15, "10 PB": 1e16}


def main(arguments: argparse.Namespace) -> int:
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "engines")
    calls, held = max(1000, round(CALLS * arguments.scale)), max(1000, round(HELD * arguments.scale))
    parameters = {"calls": calls, "references held": held, "nodes": "2 of one processor each"}
    report = Report("engines-limits", QUESTION, parameters)
    found: dict[str, dict[str, float]] = {}
    for kind in (kind for kind in arguments.clusters.split(",") if kind != "daft"):
        with contextlib.closing(make_cluster(kind, cpus=0)) as cluster:
            time.sleep(2)
            words = [f"limits:{calls}:{held}", {"ray": "ray_data", "dask": "dask_dataframe"}[kind], cluster.address]
            run = run_program(cluster, [*words, work, work / "out"], work / "out", timeout_s=600, env={})
        assert run.report, run.note
        found[kind] = run.report
    report.data["measured"] = found
    for figures in found.values():  # a busy machine slows the clock, not the work
        figures["most_s"] = 1e6 / max(figures["driver_us"], figures["scheduler_us"])
    rows = [
        [kind.capitalize(), number(f["most_s"], 0), number(f["driver_us"], 0), number(f["scheduler_us"], 0),
         number(f["driver_bytes"], 0), number(f["scheduler_bytes"], 0)]
        for kind, f in found.items()
    ]  # fmt: skip
    header = [
        "",
        "calls/s at most",
        "CPU of the driver, µs a call",
        "of the scheduler",
        "driver, bytes a reference",
        "scheduler",
    ]
    report.say("\n" + table(header, rows) + "\n")
    lowest = min(figures["most_s"] for figures in found.values())
    report.say(
        f"\n## A sort of so many bytes on so many nodes, with {lowest:,.0f} submissions a second\n\n"
        + model(lowest)
        + "\n"
    )
    report.say(
        f"Each node runs {SLOTS_A_NODE} tasks at once, each of which moves {SLOT_BYTES_S / 1e6:.0f} MB/s; a task is one partition of the "
        "size told, at least 128 MiB and large enough that a run has at most 24 million tasks. Tasks/s: that the nodes ask for. "
        "Batch: tasks a submission, so that the engine keeps up (half of what its busiest process could do). Driver: share of one processor, and its memory with the commit log."
    )
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def model(calls_s: float) -> str:
    """The table: what the engine is asked for, what the driver needs."""
    lines = []
    for name, data_bytes in DATA.items():
        for nodes in NODES:
            partition = max(PARTITION_BYTES, 2 ** math.ceil(math.log2(2 * data_bytes / MOST_TASKS)))
            writers = data_bytes / partition
            tasks = 2 * writers
            slots = nodes * SLOTS_A_NODE
            seconds = partition / SLOT_BYTES_S
            wanted = min(slots, writers) / seconds
            batch = max(1, math.ceil(wanted / (0.5 * calls_s)))  # half of what the engine can
            passes = max(1, math.ceil(math.log(max(2, writers), FAN_IN)))
            hours = tasks * seconds / min(slots, writers) / 3600
            lines.append(
                [
                    name,
                    f"{nodes:,}",
                    f"{partition >> 20:,} MiB",
                    f"{tasks:,.0f}",
                    f"{wanted:,.0f}",
                    str(batch),
                    f"{100 * wanted * DRIVER_S:,.1f} %",
                    f"{tasks * (DRIVER_BYTES + LOG_BYTES) / 2**30:,.1f} GiB",
                    str(passes),
                    f"{hours:,.2f} h",
                ]
            )
    header = [
        "data",
        "nodes",
        "partition",
        "tasks",
        "tasks/s",
        "batch",
        "driver",
        "its memory",
        "merge passes",
        "least time",
    ]
    return table(header, lines)
