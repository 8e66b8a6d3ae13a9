"""Hosts on one machine: each with a network, processes, a host name, shared memory and a scratch disk of its own.

A host is one `unshare` process. What runs on it is in its process namespace, so that killing that process is pulling
the plug: the kernel ends everything at once. It dies with the program that made it, also when that is killed; no name
of a namespace or an interface is ever seen outside. Only the memory and cpu groups and the room's folder have names:
a watchdog removes them when the program is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MIB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_CPU_PERIOD_US = 100_000


class Unsupported(Exception):  # noqa: N818  (what a test is skipped for, no error)
    """Hosts cannot be made here, and why."""


def wait_for(what: str, condition: Any, seconds: float, poll_s: float = 0.05) -> Any:
    """The first true value of `condition()`; an AssertionError that names `what` when it takes longer."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(poll_s)


class _Cgroup:
    """Memory, cpu and cpuacct groups of version 1; with none to be had they limit nothing, and say so."""

    def __init__(self, name: str):
        self.folders = {kind: CGROUPS / kind / name for kind in ("memory", "cpu", "cpuacct")}
        try:
            for kind, folder in self.folders.items():
                if not (folder.parent / "cgroup.procs").exists():
                    raise FileNotFoundError(f"no cgroup v1 controller {kind}")
                folder.mkdir()
            self.problem = ""
        except OSError as error:
            self.remove()
            self.folders = {}
            self.problem = str(error)

    def enter(self) -> None:
        for folder in self.folders.values():
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def limit_memory(self, limit_bytes: int) -> None:
        if self.folders:
            (self.folders["memory"] / "memory.limit_in_bytes").write_text(str(limit_bytes))

    def limit_cpus(self, cpus: float) -> None:
        if self.folders:
            (self.folders["cpu"] / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
            quota_us = int(cpus * _CPU_PERIOD_US) if cpus > 0 else -1
            (self.folders["cpu"] / "cpu.cfs_quota_us").write_text(str(quota_us))

    def text(self, kind: str, name: str) -> str:
        return (self.folders[kind] / name).read_text() if self.folders else ""

    def value(self, kind: str, name: str) -> int:
        return int(self.text(kind, name) or 0)

    def processes(self) -> list[int]:
        folder = self.folders.get("memory")
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()] if folder else []

    def remove(self) -> None:
        for folder in self.folders.values():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Host:
    """One host. Commands run on it as if typed there; files outside of /dev/shm and `disk` are shared by all hosts."""

    def __init__(self, room: Room, name: str, number: int, *, memory_bytes: int, shm_bytes: int, disk_bytes: int):
        self.name, self.address = name, f"10.77.0.{number}"
        self.disk = room.folder / "disk"  # the same path on each host, not the same disk
        self.folder = room.folder / name  # logs: seen by all
        self.folder.mkdir(exist_ok=True)
        self._room = room
        self._port = f"port{number}"
        self._started: list[subprocess.Popen[bytes]] = []
        self._cgroup = _Cgroup(f"{room.name}-{name}")
        self._cgroup.limit_memory(memory_bytes)
        room.watch(self._cgroup.folders.values())
        script = (
            f"mount -t tmpfs -o size={shm_bytes} shm /dev/shm && mount -t tmpfs -o size={disk_bytes} disk '{self.disk}'"
            f" && hostname {name} && echo up && exec <&- && sleep infinity & wait"
        )
        self._process = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--uts",
                "--mount",
                "--mount-proc",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                script,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=self._enter_cgroup,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if self._process.stdout.readline() != b"up\n":
            problem = self._process.stderr.read().decode().strip()
            self.kill()
            raise Unsupported(f"no namespaces can be made: {problem}")
        room.switch(
            f"ip link add {self._port} type veth peer name eth0 netns {self._process.pid}",
            f"ip link set {self._port} up",
        )
        self.heal()
        for words in (f"ip addr add {self.address}/24 dev eth0", "ip link set eth0 up", "ip link set lo up"):
            self.run(words.split())

    @property
    def limits(self) -> str:
        """Empty, or why memory and cpu of hosts are not limited here."""
        return self._cgroup.problem

    def _enter_cgroup(self) -> None:
        _die_with_parent()
        self._cgroup.enter()

    @property
    def is_up(self) -> bool:
        return self._process.poll() is None

    def start(self, command: Sequence[str | Path], *, cwd: Path | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Starts a command. The process is nsenter, which waits for it: see `signal`."""
        own = f"/proc/{self._process.pid}/ns"
        enter = [f"--net={own}/net", f"--uts={own}/uts", f"--mount={own}/mnt", f"--pid={own}/pid_for_children"]
        words = ["nsenter", *enter, f"--wdns={cwd or os.getcwd()}", "--", *map(str, command)]
        process = subprocess.Popen(words, preexec_fn=self._enter_cgroup, **popen)
        self._started.append(process)
        return process

    def run(self, command: Sequence[str | Path], *, timeout_s: float = 60, **popen: Any) -> str:
        """Runs a command to its end; its output. An AssertionError with all it said when it fails."""
        process = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen)
        try:
            output = process.communicate(timeout=timeout_s)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.signal(process, signal.SIGKILL)
            output = process.communicate()[0].decode(errors="replace")
            raise AssertionError(f"{self.name}: {' '.join(map(str, command))} did not end\n{output}") from None
        assert process.returncode == 0, (
            f"{self.name}: {' '.join(map(str, command))}: exit {process.returncode}\n{output}"
        )
        return output

    def signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        """To the command that `start` gave (nsenter's child), not to what it has started."""
        for child in _children(process.pid) or [process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def processes(self, text: str = "") -> dict[int, str]:
        """What runs here: command lines by process id (as seen from outside), those with `text` in them."""
        found = {}
        for pid in _descendants(self._process.pid) if not self._cgroup.folders else self._cgroup.processes():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if line and text in line and not line.startswith(("nsenter ", "unshare ", "sh -c mount ", "sleep ")):
                    found[pid] = line
        return found

    def kill_processes(self, text: str) -> int:
        """Kill -9 of all whose command line has `text`; how many."""
        found = self.processes(text)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def cut_off(self) -> None:
        """Packets to and from the host are lost without a word, as when a switch dies."""
        self._room.switch(f"ip link set {self._port} nomaster")

    def heal(self) -> None:
        """Ends `cut_off`."""
        self._room.switch(f"ip link set {self._port} master bridge")

    @property
    def cpu_s(self) -> float:
        """CPU time of all that ran here."""
        return self._cgroup.value("cpuacct", "cpuacct.usage") / 1e9

    @property
    def memory_bytes(self) -> int:
        """Anonymous and shared memory that is held here now, without page cache."""
        text = self._cgroup.text("memory", "memory.stat")
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("rss ", "shmem ")))

    def slow(self, cpus: float) -> None:
        """The host has so much of one CPU; 0: no limit."""
        self._cgroup.limit_cpus(cpus)

    def kill(self) -> None:
        """Pulls the plug."""
        self._process.kill()
        self._process.communicate()
        for process in self._started:
            process.wait(20)
        with contextlib.suppress(AssertionError):
            wait_for(f"the end of {self.name}", lambda: not self._cgroup.processes(), 20)
        self._cgroup.remove()


class Room:
    """A switch and the hosts on it. Use from the thread that made it: hosts die with that thread."""

    def __init__(self) -> None:
        if not shutil.which("ip") or not shutil.which("nsenter"):
            raise Unsupported("the programs ip and nsenter are missing (packages iproute2, util-linux)")
        if os.geteuid() != 0:
            raise Unsupported("namespaces need root")
        # Short: the paths of Unix sockets, which engines make below it, are.
        self.folder = Path(tempfile.mkdtemp(prefix="partita-", dir="/tmp"))
        (self.folder / "disk").mkdir()
        self.name = self.folder.name
        self.hosts: list[Host] = []
        self._made = 0
        self._watchdog = self._start_watchdog()
        self._switch = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo up && exec sleep infinity"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_die_with_parent,
        )
        assert self._switch.stdout is not None
        if self._switch.stdout.readline() != b"up\n":
            assert self._switch.stderr is not None
            problem = self._switch.stderr.read().decode().strip()
            self.close()
            raise Unsupported(f"no namespaces can be made: {problem}")
        try:
            self.switch("ip link add bridge type bridge", "ip link set bridge up")
        except AssertionError as error:
            self.close()
            raise Unsupported(f"no network can be made: {error}") from None

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        # Reads names until its end comes, which is ours, however we die; then the hosts are dying too.
        script = """
          trap '' INT TERM HUP
          groups=
          while read -r name; do groups="$groups $name"; done
          for group in $groups; do
            i=0
            while [ -d "$group" ] && ! rmdir "$group" 2>/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
          done
          rm -rf "$0"
        """
        return subprocess.Popen(
            ["sh", "-c", script, self.folder], stdin=subprocess.PIPE, cwd="/", start_new_session=True
        )

    def watch(self, folders: Any) -> None:
        pipe: IO[bytes] | None = self._watchdog.stdin
        assert pipe is not None
        pipe.write("".join(f"{folder}\n" for folder in folders).encode())
        pipe.flush()

    def switch(self, *commands: str) -> None:
        """Commands at the switch."""
        for command in commands:
            done = subprocess.run(
                ["nsenter", f"--net=/proc/{self._switch.pid}/ns/net", *command.split()], capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}: {done.stderr.strip()}"

    def add(
        self, name: str = "", *, memory_bytes: int = 4096 * MIB, shm_bytes: int = 512 * MIB, disk_bytes: int = 512 * MIB
    ) -> Host:
        """One more host."""
        self._made += 1
        host = Host(
            self,
            name or f"host{self._made}",
            self._made,
            memory_bytes=memory_bytes,
            shm_bytes=shm_bytes,
            disk_bytes=disk_bytes,
        )
        self.hosts.append(host)
        return host

    def close(self) -> None:
        """Everything ends; nothing is left."""
        for host in self.hosts:
            if host.is_up:
                host.kill()
        if hasattr(self, "_switch"):
            self._switch.kill()
            self._switch.communicate()
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()
        self._watchdog.wait(timeout=30)

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parents() -> Mapping[int, int]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                found[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def _children(pid: int) -> list[int]:
    return [child for child, parent in _parents().items() if parent == pid]


def _descendants(pid: int) -> list[int]:
    parents = _parents()
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found.extend(frontier)
    return found
