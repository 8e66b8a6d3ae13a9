"""What does a coordinator cost that drives a million tasks on a thousand nodes? No peers: the cluster is simulated."""

from __future__ import annotations

import argparse

import paths
from harness import Contender, play
from results import Report, mib, number, outcome, table

QUESTION = "A million tasks on a thousand simulated nodes: decisions a second, memory, bytes a task, time to resume?"
REPETITIONS = 3
# Tasks, nodes. The last rows change one thing at a time.
SIZES = ((10_000, 1_000), (100_000, 1_000), (1_000_000, 1_000), (1_000_000, 100), (1_000_000, 10_000))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=int, default=8, help="tasks that a node runs at once [%(default)s]")


def main(arguments: argparse.Namespace) -> int:
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "scale")
    report = Report("scale", QUESTION, {"slots a node": arguments.slots, "rounds": arguments.repeat})
    contenders = []
    for tasks, nodes in SIZES:
        count = max(1000, round(tasks * arguments.scale))
        command = [str(paths.program("partita_bench_scale")), str(count), str(nodes), str(arguments.slots)]
        contenders.append(Contender(f"{count:,} tasks, {nodes:,} nodes", command, is_ours=True, timeout_s=600))
    for contender in contenders:
        contender.check = lambda run: check(run.report)
    play(contenders, arguments.repeat, work)
    report.add_runs("scale", contenders)

    def figure(contender: Contender, key: str, digits: int = 0) -> str:
        return number(contender.median(lambda run: run.report.get(key)), digits)

    rows = [
        [
            c.name,
            figure(c, "decisions_a_second"),
            figure(c, "scheduler_bytes_a_task", 1),
            figure(c, "log_memory_bytes_a_task"),
            figure(c, "log_file_bytes_a_task"),
            figure(c, "commits_a_second"),
            figure(c, "resume_seconds", 2),
            mib(c.median(lambda run: run.report.get("peak_bytes"))),
            outcome(c),
        ]
        for c in contenders
    ]
    header = [
        "",
        "decisions/s",
        "scheduler B/task",
        "log B/task in memory",
        "log B/task on disk",
        "commits/s",
        "resume s",
    ]
    report.say("\n" + table([*header, "peak memory", ""], rows) + "\n")
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def check(figures: dict) -> None:
    assert figures["tasks_run"] == figures["tasks"], "tasks are missing"
    assert figures["resumed_to_the_end"], "the resumed run had something left to do"
