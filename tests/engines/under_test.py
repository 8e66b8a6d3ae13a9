"""Engines as the conformance suite sees them: each runs the same pipeline files and is judged by the same tests.

A new engine joins by one class here and its name in ENGINES.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binary import HANG_SECONDS, Finished, HangError, Workspace
from clusters.cluster import Cluster, environment
from clusters.hosts import wait_for

SUITE = Path(__file__).parent


@dataclass
class Driver:
    """A run under way."""

    command: list[str]
    process: subprocess.Popen[bytes]
    cluster: Cluster | None = None

    def signal(self, number: int) -> None:
        if self.cluster is not None:
            self.cluster.head.signal(self.process, number)
            if number == signal.SIGCONT:  # nsenter stops with what it runs
                self.process.send_signal(number)
        else:
            self.process.send_signal(number)

    def finish(self, seconds: float = HANG_SECONDS) -> Finished:
        began = time.monotonic()
        try:
            stdout, stderr = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            stdout, stderr = self.process.communicate()
            said = stdout.decode(errors="replace") + stderr.decode(errors="replace")
            raise HangError(f"{' '.join(self.command)} did not end\n{said}") from None
        return Finished(
            self.command,
            self.process.returncode,
            stdout.decode(errors="replace"),
            stderr.decode(errors="replace"),
            time.monotonic() - began,
        )


class Engine:
    """An engine of this machine; `address` is what --engine takes."""

    address = "local"
    cluster: Cluster | None = None

    @property
    def is_remote(self) -> bool:
        """Are there workers on other hosts, that can be lost?"""
        return self.cluster is not None

    def start(self, workspace: Workspace, file: str = "p.yaml", env: Mapping[str, str] | None = None, **options: Any):
        command = workspace.command(file, {"engine": self.address, **options})
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        variables = {"PARTITA_PYTHON": sys.executable, **(env or {})}
        if self.cluster is not None:
            process = self.cluster.start(command, cwd=workspace.path, env=variables, **pipes)
        else:
            process = subprocess.Popen(command, cwd=workspace.path, env=environment(**variables), **pipes)
        return Driver(command, process, self.cluster)

    def run(self, workspace: Workspace, file: str = "p.yaml", **options: Any) -> Finished:
        return self.start(workspace, file, **options).finish()

    def run_ok(self, workspace: Workspace, file: str = "p.yaml", **options: Any) -> Finished:
        finished = self.run(workspace, file, **options)
        assert finished.exit_code == 0, str(finished)
        return finished

    def run_bad(self, workspace: Workspace, file: str = "p.yaml", **options: Any) -> Finished:
        """A run that ends with one error message: no success, no signal, nothing of the machinery."""
        finished = self.run(workspace, file, **options)
        assert 0 < finished.exit_code < 128, str(finished)
        # What the cluster itself says may come first.
        error = re.search(r"^(user|data|resource|environment) error", finished.stderr, re.MULTILINE)
        assert error is not None, str(finished)
        finished.stderr = finished.stderr[error.start() :]
        assert "engines/" not in finished.stderr, f"shows the machinery: {finished}"
        return finished

    def run_many(self, folders: list[Path], seconds: float = 300) -> dict[Path, str]:
        """The pipeline.yaml of each folder, by one program that runs them all: "" or the error's text."""
        errors = folders[0].parent / "errors.json"
        command = [sys.executable, str(SUITE / "run_many.py"), self.address, str(errors), *map(str, folders)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        if self.cluster is not None:
            process = self.cluster.start(command, cwd=SUITE, **pipes)
        else:
            process = subprocess.Popen(command, cwd=SUITE, env=environment(), **pipes)
        finished = Driver(command, process, self.cluster).finish(seconds)
        assert finished.exit_code == 0, str(finished)
        found = json.loads(errors.read_text())
        return {folder: found[str(folder)] for folder in folders}

    def left(self) -> dict[int, str]:
        """What still runs of runs that ended, by process."""
        return {}


class BatchEngine(Engine):
    """What a batch system does: N indexed commands, a barrier, the next stage; at last the run that finishes."""

    address = "batch"

    def start(self, workspace: Workspace, file: str = "p.yaml", env: Mapping[str, str] | None = None, **options: Any):
        # A shell script, so that a test may kill it like any driver.
        words = json.dumps([str(workspace.binary), file, workspace.command("", options)[2:]])
        command = [sys.executable, str(SUITE / "batch.py"), words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        variables = environment(PARTITA_PYTHON=sys.executable, **(env or {}))
        return Driver(command, subprocess.Popen(command, cwd=workspace.path, env=variables, **pipes))

    def run_many(self, folders: list[Path], seconds: float = 300) -> dict[Path, str]:
        found = super().run_many(folders, seconds)  # compiles
        for folder in folders:
            if not found[folder]:
                finished = self.run(Workspace(folder), "plan.json")
                found[folder] = finished.stderr if finished.exit_code else ""
        return found


class ProcessEngine(Engine):
    """Worker processes of this machine, driven as a cluster is."""

    address = "processes"


class ClusterEngine(Engine):
    """An engine of a cluster, with its workers' processes."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self.address = cluster.address

    def workers(self, host: Any) -> dict[int, str]:
        """The processes of a host that run tasks."""
        raise NotImplementedError

    def kill_workers(self, host: Any) -> int:
        found = self.workers(host)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)


class RayEngine(ClusterEngine):
    def workers(self, host: Any) -> dict[int, str]:
        # A worker that runs a task has the steps' names as its title.
        daemons = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        return {pid: line for pid, line in host.processes("ray::").items() if not line.startswith(daemons)}

    def left(self) -> dict[int, str]:
        assert self.cluster is not None
        return {
            pid: line for host in (self.cluster.head, *self.cluster.others) for pid, line in self.workers(host).items()
        }


class DaskEngine(ClusterEngine):
    def workers(self, host: Any) -> dict[int, str]:
        # The nanny's child is the worker: multiprocessing's spawn.
        return host.processes("spawn_main")

    def left(self) -> dict[int, str]:
        """Tasks that the scheduler still knows, and runs that workers still hold."""
        assert self.cluster is not None
        code = (
            "import json, sys; from distributed import Client\n"
            "def held(dask_worker):\n"
            "    return [str(p) for n, p in dask_worker.plugins.items() if 'partita' in n.lower()]\n"
            f"client = Client({self.cluster.scheduler!r}, timeout=20)\n"  # type: ignore[attr-defined]
            "tasks = client.run_on_scheduler(lambda dask_scheduler: [str(k) for k in dask_scheduler.tasks])\n"
            "held = [p for found in client.run(held).values() for p in found]\n"
            "print(json.dumps(tasks + held))\n"
        )
        return dict(
            enumerate(json.loads(self.cluster.head.run([sys.executable, "-c", code], env=self.cluster.environment())))
        )


ENGINES = ["local", "batch", "processes", "ray", "dask"]


def wait_for_commits(workspace: Workspace, folder: str, count: int, driver: Driver, seconds: float = 60) -> int:
    """Until so many tasks are committed; how many are."""
    dataset = workspace.dataset(folder)

    def enough() -> int:
        if driver.process.poll() is not None:
            raise AssertionError(f"the run ended before it was disturbed\n{driver.finish()}")
        found = len(dataset.commit_lines())
        return found if found >= count else 0

    return wait_for(f"{count} commits", enough, seconds, poll_s=0.01)
