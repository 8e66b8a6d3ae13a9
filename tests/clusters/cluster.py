"""What every test cluster can do: nodes come, go, are cut off and become slow; drivers run on its head."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from binary import binary_path

from .hosts import Host, Room, wait_for


def package_folder() -> Path | None:
    """The Python package of the build whose binary is tested."""
    folder = binary_path().parent.parent / "python"
    return folder if (folder / "partita" / "__init__.py").exists() else None


def environment(**more: str) -> dict[str, str]:
    """Of a cluster's processes and of drivers: nothing of the user's own clusters, the build's package found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DASK_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # without byte code each process of a cluster starts seconds later
    package = package_folder()
    if package is not None:
        kept["PYTHONPATH"] = str(package)
    return {**kept, "PARTITA_BIN": str(binary_path()), "PYTHONUNBUFFERED": "1", **more}


class Cluster(ABC):
    """A cluster of `size` nodes: the head, which also works, and others. One thread uses it."""

    kind: str
    address: str  # as --engine takes it, from the head
    cpus = 2  # that a node says it has
    logs_of_hosts: tuple[str, ...] = ("*.log",)  # patterns below a host's folder

    def __init__(self, size: int = 2, prefix: Path = Path(sys.prefix), **limits: int):
        """`prefix`: the Python environment of all its processes; `limits`: of each host, see `Room.add`."""
        self.size = size
        self.prefix = prefix
        self.python = prefix / "bin" / "python"
        self._limits = limits
        self.room = Room()
        self.home = self.room.folder / "home"
        self.home.mkdir()
        self.others: list[Host] = []
        self._guests: list[Host] = []
        self._environment_of: dict[Host, dict[str, str]] = {}
        try:
            self.head = self.room.add("head", **limits)
            self._start_head(self.head)
            self.repair()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _start_head(self, host: Host) -> None: ...

    @abstractmethod
    def _start_node(self, host: Host) -> None:
        """Starts what makes a host a node; returns once the cluster knows it."""

    @abstractmethod
    def _head_is_well(self) -> bool: ...

    def program(self, name: str) -> Path:
        """Of the cluster's environment."""
        return self.prefix / "bin" / name

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables that each process of this kind of cluster needs."""
        return {"HOME": str(self.home)}

    def environment(self, **more: str) -> dict[str, str]:
        return environment(**self.variables, **more)

    def add_node(self, name: str = "", env: Mapping[str, str] | None = None, **limits: int) -> Host:
        """A node until the test ends; the cluster knows it when this returns. `env`: what is other there."""
        host = self.room.add(name, **{**self._limits, **limits})
        self.others.append(host)
        self._guests.append(host)
        self._environment_of[host] = dict(env or {})
        self._start_node(host)
        return host

    def remove_node(self, host: Host) -> None:
        """Stops a node, so that the cluster knows at once."""
        host.kill_processes("")
        time.sleep(0.5)  # for the farewells of its connections
        self.kill_node(host)

    def kill_node(self, host: Host) -> None:
        """Pulls the plug of a node (not of the head): without a farewell, the cluster finds out by its silence."""
        host.kill()
        self.others.remove(host)
        if host in self._guests:
            self._guests.remove(host)

    def repair(self) -> None:
        """Makes it again what it was, between tests; costs nothing when nothing happened."""
        assert self._head_is_well(), f"the head of the {self.kind} cluster died; its logs are in {self.head.folder}"
        for host in list(self._guests):
            self.remove_node(host)
        while len(self.others) < self.size - 1:
            self.add_node()
            self._guests.clear()

    def start(
        self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Starts a driver on the head."""
        return self.head.start(command, cwd=cwd, env=self.environment(**(env or {})), **popen)

    def logs(self) -> str:
        """The end of every log, for the message of a failed test."""
        texts = []
        for path in sorted(path for each in self.logs_of_hosts for path in self.room.folder.glob(f"*/{each}")):
            lines = path.read_text(errors="replace").splitlines()
            texts.append(f"-- {path.relative_to(self.room.folder)}\n" + "\n".join(lines[-15:]))
        return "\n".join(texts)

    def close(self) -> None:
        self.room.close()

    def _daemon(self, host: Host, name: str, command: Sequence[str | Path], started: str, seconds: float) -> None:
        """Starts a program that stays, and waits until its log says `started`."""
        log = host.folder / f"{name}.log"
        with open(log, "wb") as out:
            process = host.start(
                command,
                cwd=self.home,
                env={**self.environment(), **self._environment_of.get(host, {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

        def is_up() -> bool:
            assert process.poll() is None, "it ended"
            return started in log.read_text(errors="replace")

        try:
            wait_for(f"start of {name}", is_up, seconds)
        except AssertionError as error:
            raise AssertionError(f"{host.name}: {name}: {error}\n{log.read_text(errors='replace')[-3000:]}") from None
