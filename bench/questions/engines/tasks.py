"""What a task costs beside the engine's own task with the same arguments and returns, once all is under way."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import time

import paths
from harness import Contender, Run
from results import Report, number, outcome, table

from .cluster import make_cluster, run_program

QUESTION = (
    "Tasks of 0, 5 and 50 ms of CPU on two nodes with one processor each: what does one cost beside the engine's own?"
)
TASKS = {0: 2000, 5: 2000, 50: 1000}  # by milliseconds of each
FEWER = 4  # the same with a fourth of the tasks: the difference is without what a start costs
OWN = {"ray": ("Ray's own tasks", "ray_data"), "dask": ("Dask's own tasks", "dask_dataframe")}


def main(arguments: argparse.Namespace) -> int:
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "engines")
    tasks = {ms: max(40, round(count * arguments.scale)) for ms, count in TASKS.items()}
    parameters = {
        "tasks": ", ".join(f"{count:,} of {ms} ms" for ms, count in tasks.items()),
        "nodes": "2 of one processor each, on one machine",
        "rounds": arguments.repeat,
    }
    report = Report("engines-tasks", QUESTION, parameters)
    ends = time.monotonic() + arguments.within
    for kind in (kind for kind in arguments.clusters.split(",") if kind in OWN):
        with contextlib.closing(make_cluster(kind)) as cluster:
            lines = [
                line
                for ms, count in tasks.items()
                for line in rows_of(kind, cluster, ms, count, work, arguments, report, ends)
            ]
        header = ["", "first to last", "CPU of all nodes", "without start: a task", "CPU", "of the engine's own", ""]
        report.say(f"\n## {kind.capitalize()}\n\n" + table(header, lines) + "\n")
    report.say(
        f"Without start: the difference between all tasks and a {FEWER}th of them, for each task more. The engine's own task "
        "returns 700 bytes and writes nothing; Partita's writes a file of four rows, which is committed."
    )
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def rows_of(
    kind: str, cluster, ms: int, count: int, work: pathlib.Path, arguments, report: Report, ends: float
) -> list:
    own, program = OWN[kind]
    contenders = [Contender(own, []), Contender(f"partita on {kind.capitalize()}", [], is_ours=True)]
    fewer = [Contender(f"{c.name}, fewer", [], is_ours=c.is_ours) for c in contenders]
    for _ in range(arguments.repeat):
        for many in (count // FEWER, count):
            for contender in fewer if many < count else contenders:
                out = paths.empty(work / "out")
                out.rmdir()
                if time.monotonic() > ends:
                    contender.runs.append(Run(exit_code=-1, note="not run: the time was over"))
                    continue
                words = [f"tasks:{many}:{ms}", "partita" if contender.is_ours else program, cluster.address, work, out]
                env = {"PARTITA_MEMORY": arguments.memory}
                run = run_program(cluster, words, out, timeout_s=arguments.timeout + 2 * many * ms / 1e3, env=env)
                run.checked = run.exit_code == 0 and (not contender.is_ours or len(list(out.glob("part-*"))) == many)
                contender.runs.append(run)
                print(
                    f"  {contender.name:<24} {many:6} x {ms:2} ms  {run.job_s:7.2f} s  {run.cpu_s:7.2f} CPU s  {run.note}",
                    flush=True,
                )
    report.add_runs(f"{kind}: {ms} ms", contenders + fewer)
    more = count - count // FEWER
    found = {}
    for contender, less in zip(contenders, fewer, strict=True):
        seconds, cpu = (
            (most - least) / more if (most := contender.median(get)) and (least := less.median(get)) else None
            for get in (lambda run: run.job_s, lambda run: run.cpu_s)
        )
        found[contender.is_ours] = (seconds, cpu)
    return [
        [
            f"{ms} ms: {c.name}",
            number(c.median(lambda run: run.job_s), 2),
            number(c.median(lambda run: run.cpu_s), 2),
            milliseconds(found[c.is_ours][0]),
            milliseconds(found[c.is_ours][1]),
            beside(found, c.is_ours),
            outcome(c),
        ]
        for c in contenders
    ]


def milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.2f} ms"


def beside(found: dict[bool, tuple[float | None, float | None]], is_ours: bool) -> str:
    """Time and CPU of ours as shares of the engine's own."""
    if not is_ours:
        return ""
    shares = [
        f"{mine / theirs:.2f}" if mine and theirs else "–"
        for mine, theirs in zip(found[True], found[False], strict=True)
    ]
    return " and ".join(shares)
