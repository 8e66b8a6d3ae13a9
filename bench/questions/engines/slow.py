"""How long a run takes when one of two nodes has a tenth of a processor, beside a run without that node."""

from __future__ import annotations

import argparse
import contextlib
import pathlib

import paths
from harness import Contender, Run
from results import Report, number, outcome, table

from .cluster import make_cluster, run_program

QUESTION = "One of two nodes is slowed down to a tenth: at most 1.5 times a run without that node?"
CPUS = 0.5  # of a node: both together leave room for what else the machine does
SLOWED = CPUS / 10
JOBS = {"a map": "tasks:{count}:100", "a map and a shuffle": "stages:{count}:100"}
TASKS = 160  # of 100 ms: 32 s of one node


def main(arguments: argparse.Namespace) -> int:
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "engines")
    count = max(40, round(TASKS * arguments.scale))
    parameters = {
        "tasks": f"{count} of 100 ms of CPU",
        "nodes": "2 of half a processor each",
        "rounds": arguments.repeat,
    }
    report = Report("engines-slow", QUESTION, parameters)
    for kind in (kind for kind in arguments.clusters.split(",") if kind != "daft"):
        for job, words in JOBS.items():
            with contextlib.closing(make_cluster(kind, cpus=CPUS)) as cluster:
                contenders = play(cluster, words.format(count=count), count, work, arguments)
            report.add_runs(f"{kind}: {job}", contenders)
            alone = contenders[-1].median(lambda run: run.job_s)
            rows = [
                [
                    c.name,
                    number(s := c.median(lambda run: run.job_s), 2),
                    number(s / alone if s and alone else None, 2),
                    number(c.median(lambda run: run.cpu_s), 2),
                    outcome(c),
                ]
                for c in contenders
            ]
            header = ["", "job s", "of the run without it", "CPU s of all nodes", ""]
            report.say(f"\n## {kind.capitalize()}: {job}\n\n" + table(header, rows) + "\n")
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def play(cluster, job: str, count: int, work: pathlib.Path, arguments) -> list[Contender]:
    node = cluster.others[0]
    out = work / "out"

    def slow_down() -> None:
        """Once a third of the map is done."""
        books = list(out.glob("_partita/commits.log"))
        if books and books[0].read_bytes().count(b"\n") > count // 3:
            node.slow(SLOWED)

    healthy, meanwhile, before, alone = (
        Contender(name, [], is_ours=True)
        for name in ("both well", "slow after a third", "slow from the start", "without the node")
    )
    for _ in range(arguments.repeat):
        healthy.runs.append(run(cluster, job, out, arguments))
        meanwhile.runs.append(run(cluster, job, out, arguments, slow_down))
        node.slow(SLOWED)
        before.runs.append(run(cluster, job, out, arguments))
        node.slow(CPUS)
    cluster.remove_node(node)
    for _ in range(arguments.repeat):
        alone.runs.append(run(cluster, job, out, arguments))
    return [healthy, meanwhile, before, alone]


def run(cluster, job: str, out: pathlib.Path, arguments, meanwhile=lambda: None) -> Run:
    paths.empty(out).rmdir()
    words = [job, "partita", cluster.address, out.parent, out]
    env = {"PARTITA_MEMORY": arguments.memory}
    found = run_program(cluster, words, out, timeout_s=max(180, arguments.timeout), env=env, meanwhile=meanwhile)
    found.checked = found.exit_code == 0 and (out / "_manifest.json").exists()
    for host in cluster.others:
        host.slow(CPUS)
    print(f"  {job:<16} {found.job_s:7.2f} s  {found.cpu_s:7.2f} CPU s  {found.note}", flush=True)
    return found
