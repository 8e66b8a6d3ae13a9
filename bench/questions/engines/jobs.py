"""The same jobs on one cluster: Partita, Ray Data, Daft on Ray, Dask DataFrame."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import subprocess
import time

import paths
from harness import Contender, Run, judge, make, peer_environment
from results import Report, mib, number, outcome, table

from questions.image import make_sources

from .cluster import IMAGE_PORT, NODE_BYTES, image_servers, make_cluster, run_program

QUESTION = "Images, a map, sort, shuffle, group-by and join on a cluster of two nodes with one processor each: time, CPU, memory of all nodes?"
ROWS, IMAGES = 2_000_000, 900
JOBS = ("image", "map", "sort", "shuffle", "group_by", "join")
# By kind of cluster: (name, program of peers/cluster_jobs.py).
PROGRAMS = {
    "ray": (("partita on Ray", "partita"), ("Ray Data", "ray_data")),
    "dask": (("partita on Dask", "partita"), ("Dask DataFrame", "dask_dataframe")),
    "daft": (("Daft on Ray", "daft"),),  # a Ray cluster of its environment: it wants another pyarrow
}

ON = {"partita on Ray": {"Ray Data", "Daft on Ray"}, "partita on Dask": {"Dask DataFrame"}}


def make_data(rows: int, images: int) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder of the tables and of the pictures' URLs, and that of the pictures."""
    folder = paths.DATA / f"cluster-{rows}-{images}"
    pictures, _ = make_sources(images, "exact")
    if not (folder / "_expected.json").exists():
        make("cluster_data.py", "make", folder, rows, images, IMAGE_PORT)
    return folder, pictures


def check(job: str, out: pathlib.Path, data: pathlib.Path, pictures: pathlib.Path, images: int) -> None:
    if job != "image":
        return judge("cluster_data.py", "check", job, out, data)
    command = [paths.python_of("img2dataset"), paths.PEERS / "check_images.py", out, images, pictures.resolve(), 10]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=peer_environment(paths.DATA), check=False
    )
    assert done.returncode == 0, (done.stderr.strip().splitlines() or ["the check failed"])[-1]
    return None


def main(arguments: argparse.Namespace) -> int:
    rows, images = max(20_000, round(ROWS * arguments.scale)), max(40, round(IMAGES * arguments.scale))
    data, pictures = make_data(rows, images)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "engines")
    parameters = {
        "rows": rows,
        "images": images,
        "nodes": "2 of one processor each, on one machine",
        "memory of a node": f"{NODE_BYTES >> 20} MiB (Partita's budget {arguments.memory})",
        "rounds": arguments.repeat,
    }
    report = Report("engines", QUESTION, parameters)
    found: dict[str, dict[str, Contender]] = {job: {} for job in arguments.jobs.split(",")}
    ends = time.monotonic() + arguments.within
    for kind in arguments.clusters.split(","):
        if kind == "daft" and not (paths.VENVS / "daft" / "bin" / "ray").exists():
            report.say("\nDaft was not run: its environment has no Ray (bench/setup.sh makes it).\n")
            continue
        with contextlib.closing(make_cluster(kind)) as cluster, image_servers(cluster, pictures):
            play_on(cluster, kind, found, (data, pictures, images), work, arguments, ends)
    for job, contenders in found.items():
        say(report, job, list(contenders.values()))
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def play_on(
    cluster, kind: str, found: dict[str, dict[str, Contender]], inputs, work: pathlib.Path, arguments, ends: float
) -> None:
    data, pictures, images = inputs
    for round_number in range(arguments.repeat):
        for job, contenders in found.items():
            for name, program in PROGRAMS[kind][:: 1 if round_number % 2 == 0 else -1]:
                if arguments.only and not name.lower().startswith(tuple(arguments.only.lower().split(","))):
                    continue
                contender = contenders.setdefault(name, Contender(name, [], is_ours=program == "partita"))
                if any(run.timed_out for run in contender.runs):
                    continue
                if time.monotonic() > ends:
                    contender.runs.append(Run(exit_code=-1, note="not run: the time was over"))
                    continue
                cluster.repair()
                out = paths.empty(work / "out")
                out.rmdir()
                words = [job, program, cluster.address, data, out]
                env = {"PARTITA_MEMORY": arguments.memory}
                run = run_program(cluster, words, out, timeout_s=arguments.timeout, env=env)
                if run.exit_code == 0 and not run.timed_out:
                    try:
                        check(job, out, data, pictures, images)
                        run.checked = True
                    except AssertionError as error:
                        run.note = f"wrong result: {error}"[:300]
                contender.runs.append(run)
                print(
                    f"  round {round_number + 1}  {job:<9} {name:<18} job {run.job_s:8.3f} s  cpu {run.cpu_s:8.2f} s  "
                    f"{run.peak_bytes / 2**20:7.0f} MiB  {'ok' if run.ok else run.note}",
                    flush=True,
                )


def say(report: Report, job: str, contenders: list[Contender]) -> None:
    report.add_runs(job, contenders)
    rows = [
        [
            c.name,
            number(c.median(lambda run: run.job_s), 2),
            number(c.median(lambda run: run.cpu_s), 2),
            mib(c.median(lambda run: run.peak_bytes)),
            outcome(c),
        ]
        for c in contenders
    ]
    report.say(
        f"\n## {job}\n\n" + table(["", "job s", "CPU s of all nodes", "peak memory of all nodes", ""], rows) + "\n"
    )
    for ours in (c for c in contenders if c.is_ours and c.median(lambda run: run.job_s)):
        for which, names in (("on the same engine", ON[ours.name]), ("of all", {c.name for c in contenders})):
            if peers := [
                c for c in contenders if not c.is_ours and c.name in names and c.median(lambda run: run.job_s)
            ]:
                report.say(f"**{ours.name}: {beside(ours, peers)} {which}.**\n")


def beside(ours: Contender, peers: list[Contender]) -> str:
    fastest = min(peers, key=lambda c: c.median(lambda run: run.job_s))
    leanest = min(peers, key=lambda c: c.median(lambda run: run.peak_bytes))
    faster = fastest.median(lambda run: run.job_s) / ours.median(lambda run: run.job_s)
    memory = ours.median(lambda run: run.peak_bytes) / leanest.median(lambda run: run.peak_bytes)
    return f"{faster:.2f} times {fastest.name}, the fastest; {memory:.2f} of the memory of {leanest.name}, the leanest"
