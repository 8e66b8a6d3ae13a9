"""A Dask cluster: a scheduler and a worker with its nanny on the head, a worker with its nanny on each other host."""

from __future__ import annotations

from collections.abc import Mapping

from .cluster import Cluster
from .hosts import Host

_PORT = 8786
_START_SECONDS = 60


class DaskCluster(Cluster):
    kind = "dask"
    memory_limit = "2GB"

    @property
    def scheduler(self) -> str:
        return f"tcp://{self.head.address}:{_PORT}"

    @property
    def address(self) -> str:  # type: ignore[override]
        return f"dask://{self.head.address}:{_PORT}"

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            **super().variables,
            # A worker that says nothing for so long is lost: 300 s by default, and a test would wait for it.
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "15s",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
            "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "5s",
        }

    def _start_head(self, host: Host) -> None:
        scheduler = [self.program("dask"), "scheduler", "--host", host.address, "--port", str(_PORT), "--no-dashboard"]
        self._daemon(host, "scheduler", scheduler, "Scheduler at:", _START_SECONDS)
        self._start_node(host)

    def _start_node(self, host: Host) -> None:
        worker = [
            self.program("dask"), "worker", self.scheduler, "--host", host.address, "--nworkers", "1",
            "--nthreads", str(self.cpus), "--memory-limit", self.memory_limit, "--local-directory", str(host.disk),
            "--name", host.name, "--no-dashboard",
        ]  # fmt: skip
        self._daemon(host, "worker", worker, "Registered to:", _START_SECONDS)

    def _head_is_well(self) -> bool:
        return bool(self.head.is_up and self.head.processes("dask scheduler") and self.head.processes("dask worker"))
