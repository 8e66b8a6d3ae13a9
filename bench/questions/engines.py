"""The same jobs on one cluster: Partita, Ray Data, Daft on Ray, Dask DataFrame, and the engines' own empty tasks."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import paths
from harness import Contender, Run, peer_environment
from results import Report, mib, number, outcome, table

QUESTION = "Map, sort, group-by, join and empty tasks on a cluster of two nodes with one processor each: time, CPU, memory of all nodes?"
REPETITIONS = 1
ROWS, TASKS = 2_000_000, 2_000
NODE_BYTES, DISK_BYTES, SHM_BYTES = 5 << 30, 2 << 30, 1200 << 20
JOBS = ("map", "sort", "group_by", "join", "tasks")
# By kind of cluster: (name, program of peers/cluster_jobs.py).
PROGRAMS = {
    "ray": (("partita on Ray", "partita"), ("Ray Data", "ray_data")),
    "dask": (("partita on Dask", "partita"), ("Dask DataFrame", "dask_dataframe")),
    "daft": (("Daft on Ray", "daft"),),  # a Ray cluster of its environment: it wants another pyarrow
}
OWN_TASKS = {"Ray Data": "Ray's own tasks", "Dask DataFrame": "Dask's own tasks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", default=",".join(JOBS), help="[%(default)s]")
    parser.add_argument("--clusters", default="ray,dask,daft", help="[%(default)s]")
    parser.add_argument("--memory", default="1GiB", help="Partita's budget on each node [%(default)s]")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of a job of one program [%(default)s]")
    parser.add_argument(
        "--within", type=float, default=480, help="seconds of all; what is left is not run [%(default)s]"
    )


def make_data(rows: int) -> pathlib.Path:
    folder = paths.DATA / f"cluster-{rows}"
    if not (folder / "_expected.json").exists():
        judge("make", folder, rows)
    return folder


def judge(*words: object) -> None:
    command = [paths.python_of("peers"), paths.PEERS / "cluster_data.py", *words]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=peer_environment(paths.DATA)
    )
    assert done.returncode == 0, (done.stderr.strip().splitlines() or ["the check failed"])[-1]


def make_cluster(kind: str):
    """Of the tests' hosts: each with a network, processes, memory and CPU limits of its own."""
    sys.path.insert(0, str(paths.ROOT / "tests"))
    os.environ["PARTITA_BIN"] = str(paths.program("partita"))
    from clusters.dask_cluster import DaskCluster
    from clusters.ray_cluster import RayCluster

    made = {"ray": RayCluster, "dask": DaskCluster, "daft": RayCluster}[kind]
    made.object_store_bytes = 1 << 30
    made.memory_limit = "4GB"
    prefix = paths.VENVS / ("daft" if kind == "daft" else "peers")
    cluster = made(prefix=prefix, memory_bytes=NODE_BYTES, disk_bytes=DISK_BYTES, shm_bytes=SHM_BYTES)
    for host in (cluster.head, *cluster.others):
        host.slow(1.0)
    return cluster


def run_job(cluster, program: str, job: str, data: pathlib.Path, out: pathlib.Path, options) -> Run:
    """One driver on the head; what all nodes used meanwhile, above what the idle cluster holds."""
    hosts = (cluster.head, *cluster.others)
    idle_bytes, cpu_before = sum(h.memory_bytes for h in hosts), sum(h.cpu_s for h in hosts)
    result, stop = Run(), threading.Event()

    def sample() -> None:
        while not stop.wait(0.05):
            result.peak_bytes = max(result.peak_bytes, sum(h.memory_bytes for h in hosts) - idle_bytes)

    command = [cluster.python, paths.PEERS / "cluster_jobs.py", job, program, cluster.address, data, out]
    began = time.monotonic()
    driver = cluster.start(
        command,
        cwd=out.parent,
        env={"PARTITA_MEMORY": options.memory},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        output = driver.communicate(timeout=options.timeout)[0]
    except subprocess.TimeoutExpired:
        cluster.head.signal(driver, signal.SIGKILL)
        output = driver.communicate()[0]
        result.timed_out = True
        result.note = f"timed out after {options.timeout:.0f} s"
    stop.set()
    sampler.join()
    result.wall_s = time.monotonic() - began
    result.cpu_s = sum(h.cpu_s for h in hosts) - cpu_before
    result.exit_code = driver.returncode
    lines = output.decode(errors="replace").strip().splitlines()
    if result.exit_code == 0 and lines and lines[-1].startswith("{"):
        result.report = json.loads(lines[-1])
    elif not result.note:
        result.note = f"exit code {result.exit_code}: {lines[-1][:200] if lines else 'no output'}"
    return result


def main(arguments: argparse.Namespace) -> int:
    rows, tasks = max(20_000, round(ROWS * arguments.scale)), max(100, round(TASKS * arguments.scale))
    data = make_data(rows)
    work = paths.empty(paths.ROOT / "build" / "bench-work" / "engines")
    parameters = {
        "rows": rows,
        "tasks": tasks,
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
        cluster = make_cluster(kind)
        try:
            play_on(cluster, kind, found, data, work, tasks, arguments, ends)
        finally:
            cluster.close()
    for job, contenders in found.items():
        say(report, job, list(contenders.values()))
    report.write(arguments.tag)
    paths.clean(work)
    return 0


def play_on(
    cluster, kind: str, found, data: pathlib.Path, work: pathlib.Path, tasks: int, arguments, ends: float
) -> None:
    for round_number in range(arguments.repeat):
        for job, contenders in found.items():
            for name, program in PROGRAMS[kind][:: 1 if round_number % 2 == 0 else -1]:
                if program == "daft" and job == "tasks":
                    continue  # it has none of its own
                name = OWN_TASKS.get(name, name) if job == "tasks" else name
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
                words = f"tasks:{tasks}" if job == "tasks" else job
                run = run_job(cluster, program, words, data, out, arguments)
                if run.exit_code == 0 and not run.timed_out:
                    try:
                        if job != "tasks":
                            judge("check", job, out, data)
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
    peers = {c.name: s for c in contenders if not c.is_ours and (s := c.median(lambda run: run.job_s))}
    for ours in (c for c in contenders if c.is_ours):
        seconds = ours.median(lambda run: run.job_s)
        if seconds and peers:
            best = min(peers, key=lambda name: peers[name])
            report.say(f"**{ours.name}: {peers[best] / seconds:.2f} times {best}.**\n")
