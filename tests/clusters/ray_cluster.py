"""A Ray cluster: a head with the driver, and nodes, each on a host of its own."""

from __future__ import annotations

from collections.abc import Mapping

from .cluster import Cluster
from .hosts import MIB, Host

_PORT = 6379
_START_SECONDS = 120  # about ten when the machine is idle


class RayCluster(Cluster):
    kind = "ray"
    logs_of_hosts = ("*.log", "session_2*/logs/ray_client_server*")
    object_store_bytes = 160 * MIB
    gpus = 0  # that nodes say they have, beside the head
    dashboard = False  # what jobs are submitted to, at port 8265; needs ray[default]

    @property
    def gcs(self) -> str:
        return f"{self.head.address}:{_PORT}"

    @property
    def address(self) -> str:  # type: ignore[override]
        return f"ray://{self.gcs}"

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            **super().variables,
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": self.gcs,
            # A node that says nothing for so long is lost: 30 s by default, and a test would wait for it.
            "RAY_health_check_initial_delay_ms": "2000",
            "RAY_health_check_period_ms": "1500",
            "RAY_health_check_timeout_ms": "3000",
            "RAY_health_check_failure_threshold": "5",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
            "RAY_raylet_start_wait_time_s": str(_START_SECONDS),  # a busy machine
            # How long Ray Client's server keeps a client's place after its connection failed; who asks again waits for it: 30 s.
            "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "5",
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(_START_SECONDS),
            # The hosts' own groups limit memory; Ray sees the machine's.
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_DEDUP_LOGS": "0",
        }

    def _ray(self, host: Host, *more: str) -> None:
        command = [
            self.program("ray"), "start", "--block", "--disable-usage-stats", f"--node-ip-address={host.address}",
            f"--num-cpus={self.cpus}", f"--object-store-memory={self.object_store_bytes}", f"--temp-dir={host.folder}",
            *more,
        ]  # fmt: skip
        self._daemon(host, "ray", command, "Ray runtime started", _START_SECONDS)

    def _start_head(self, host: Host) -> None:
        self._ray(
            host, "--head", f"--port={_PORT}", f"--include-dashboard={str(self.dashboard).lower()}",
            f"--dashboard-host={host.address}",
        )  # fmt: skip

    def _start_node(self, host: Host) -> None:
        self._ray(host, f"--address={self.gcs}", f"--num-gpus={self.gpus}")

    def _head_is_well(self) -> bool:
        return bool(self.head.is_up and self.head.processes("gcs_server") and self.head.processes("raylet/raylet"))
