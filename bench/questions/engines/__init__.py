"""What clusters of real hosts on one machine show: jobs beside peers, the price of a task, a slow node, the same bytes."""

from __future__ import annotations

import argparse

from . import jobs, limits, same_bytes, slow, tasks

FIGURES = {"jobs": jobs, "tasks": tasks, "slow": slow, "bytes": same_bytes, "limits": limits}
QUESTION = jobs.QUESTION
REPETITIONS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--figure",
        choices=list(FIGURES),
        default="jobs",
        help="; ".join(f"{name}: {module.QUESTION}" for name, module in FIGURES.items()).replace("%", "%%"),
    )
    parser.add_argument("--jobs", default=",".join(jobs.JOBS), help="of the figure jobs [%(default)s]")
    parser.add_argument("--clusters", default="ray,dask,daft", help="[%(default)s]")
    parser.add_argument("--memory", default="1GiB", help="Partita's budget on each node [%(default)s]")
    parser.add_argument("--timeout", type=float, default=120, help="seconds of a job of one program [%(default)s]")
    parser.add_argument(
        "--within", type=float, default=900, help="seconds of all; what is left is not run [%(default)s]"
    )


def main(arguments: argparse.Namespace) -> int:
    return FIGURES[arguments.figure].main(arguments)
