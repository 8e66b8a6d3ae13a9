"""The clusters of these figures, and programs that run on their heads."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import harness
import paths
from harness import Run

NODE_BYTES, DISK_BYTES, SHM_BYTES = 5 << 30, 2 << 30, 1200 << 20
CPUS = 1.0  # of a node
IMAGE_PORT = 8765


def use_tests() -> None:
    """The tests' clusters and engines can be imported, and run the build that is measured."""
    for folder in (paths.ROOT / "tests" / "engines", paths.ROOT / "tests"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    os.environ["PARTITA_BIN"] = str(paths.program("partita"))


def make_cluster(kind: str, prefix: pathlib.Path | None = None, cpus: float = CPUS, **limits: int):
    """Of the tests' hosts: each with a network, processes, memory and CPU limits of its own."""
    use_tests()
    from clusters.dask_cluster import DaskCluster
    from clusters.ray_cluster import RayCluster

    made = {"ray": RayCluster, "dask": DaskCluster, "daft": RayCluster}[kind]
    made.object_store_bytes = 1 << 30
    made.memory_limit = "4GB"
    given = {"memory_bytes": NODE_BYTES, "disk_bytes": DISK_BYTES, "shm_bytes": SHM_BYTES, **limits}
    cluster = made(prefix=prefix or paths.VENVS / ("daft" if kind == "daft" else "peers"), **given)
    for host in hosts_of(cluster):
        host.slow(cpus)
    return cluster


def hosts_of(cluster) -> tuple:
    return (cluster.head, *cluster.others)


def run_program(
    cluster,
    words: list[object],
    out: pathlib.Path,
    *,
    timeout_s: float,
    env: dict[str, str],
    meanwhile: Callable[[], None] = lambda: None,
) -> Run:
    """A program of peers/cluster_jobs.py on the head; what all nodes used meanwhile, above what the idle cluster holds.

    `meanwhile` is called about every 50 ms, from another thread. Ctrl-C and SIGTERM end it, and nothing more is run.
    """
    if harness.interrupted:
        return Run(exit_code=-1, note="not run: interrupted")
    hosts = hosts_of(cluster)
    idle_bytes, cpu_before = sum(h.memory_bytes for h in hosts), sum(h.cpu_s for h in hosts)
    result, stop = Run(), threading.Event()

    def sample() -> None:
        while not stop.wait(0.05) and all(host.is_up for host in hosts):
            result.peak_bytes = max(result.peak_bytes, sum(h.memory_bytes for h in hosts) - idle_bytes)
            meanwhile()

    began = time.monotonic()
    driver = cluster.start(
        [cluster.python, paths.PEERS / "cluster_jobs.py", *words],
        cwd=out.parent,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        output = driver.communicate(timeout=timeout_s)[0]
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as ended:
        harness.interrupted = isinstance(ended, KeyboardInterrupt)
        cluster.head.signal(driver, signal.SIGKILL)
        output = driver.communicate()[0]
        result.timed_out = not harness.interrupted
        result.note = "interrupted" if harness.interrupted else f"timed out after {timeout_s:.0f} s"
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


@contextlib.contextmanager
def image_servers(cluster, folder: pathlib.Path) -> Iterator[None]:
    """One on each host, or on this machine, under the same URL: the network between hosts is not what is measured."""
    command = [str(paths.program("partita_image_server")), "--folder", str(folder), "--port", str(IMAGE_PORT)]
    starts = [subprocess.Popen] if cluster is None else [host.start for host in hosts_of(cluster)]
    started = [start(command, stdout=subprocess.PIPE) for start in starts]
    try:
        for server in started:
            assert server.stdout.readline().startswith(b"listening on "), "the image server did not start"
        yield
    finally:
        for number, server in enumerate(started):
            if cluster is None:
                server.terminate()
            elif (host := hosts_of(cluster)[number]).is_up:
                host.signal(server, signal.SIGTERM)
            server.wait()
            server.stdout.close()
