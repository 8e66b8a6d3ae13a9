"""Runs a command in a memory and a cpuacct cgroup of its own and says what it cost.

Wall: from just before exec to the exit of the command. CPU: of the whole tree, from cpuacct. Memory: the highest anonymous + shared memory
of the tree, sampled every 10 ms (page cache is not a program's memory); the kernel's own high-water mark, which includes page cache, stands
beside it. Kernel kills: how often the limit made the kernel kill a process of the tree.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import signal
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Callable

import paths

CGROUPS = pathlib.Path("/sys/fs/cgroup")
SAMPLE_S = 0.01
_serial = itertools.count()

interrupted = False  # whether a question was ended before all its rounds


@dataclasses.dataclass
class Run:
    """One run of one program."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0  # anonymous + shared memory
    peak_with_cache_bytes: int = 0
    kernel_kills: int = 0
    exit_code: int = 0
    timed_out: bool = False
    leftover_processes: int = 0  # still there after the command had ended
    report: dict = dataclasses.field(default_factory=dict)  # what the program said: {"seconds": ..., "rows": ...}
    note: str = ""  # why it failed, or what is to know
    checked: bool = False  # the result was right

    @property
    def ok(self) -> bool:
        return self.checked and not self.timed_out

    @property
    def job_s(self) -> float:
        """The job alone where the program timed itself (peers: without imports and without starting a cluster), else all of it."""
        return float(self.report.get("seconds", self.wall_s))


class Cgroup:
    """A memory and a cpuacct group (cgroup v1), below the group that this process is in."""

    def __init__(self, limit_bytes: int | None):
        own = {}
        for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                own[controller] = path.lstrip("/")
        name = f"partita-bench-{os.getpid()}-{next(_serial)}"
        self.memory = CGROUPS / "memory" / own["memory"] / name
        self.cpuacct = CGROUPS / "cpuacct" / own["cpuacct"] / name
        for folder in (self.memory, self.cpuacct):
            folder.mkdir()
        with contextlib.suppress(OSError):
            (self.memory / "memory.use_hierarchy").write_text("1")
        if limit_bytes:
            (self.memory / "memory.limit_in_bytes").write_text(str(limit_bytes))
            with contextlib.suppress(OSError):  # a kernel without swap accounting
                (self.memory / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))

    def join(self) -> None:
        for folder in (self.memory, self.cpuacct):
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def used_bytes(self) -> int:
        used = 0
        for line in (self.memory / "memory.stat").read_text().splitlines():
            key, value = line.split()
            if key in ("rss", "shmem"):  # rss is anonymous memory only, huge pages included
                used += int(value)
        return used

    def cpu_s(self) -> float:
        return int((self.cpuacct / "cpuacct.usage").read_text()) / 1e9

    def peak_with_cache_bytes(self) -> int:
        return int((self.memory / "memory.max_usage_in_bytes").read_text())

    def kernel_kills(self) -> int:
        for line in (self.memory / "memory.oom_control").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def processes(self) -> list[int]:
        return [int(pid) for pid in (self.memory / "cgroup.procs").read_text().split()]

    def kill_all(self) -> int:
        """Ends what is left in the group; returns how many processes that were."""
        found: set[int] = set()
        for _ in range(200):
            alive = self.processes()
            if not alive:
                break
            found.update(alive)
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        return len(found)

    def remove(self) -> None:
        for folder in (self.memory, self.cpuacct):
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)


def can_measure() -> str:
    """Empty, or why this machine cannot run the benchmarks."""
    try:
        group = Cgroup(None)
    except (OSError, KeyError) as error:
        return f"a memory and a cpuacct cgroup (v1) that this user may make are needed: {error}"
    group.remove()
    return ""


def peer_environment(home: pathlib.Path, **more: str) -> dict[str, str]:
    """The environment of every program that is timed: byte code may be used and kept, one BLAS thread a worker, nothing phones home."""
    dropped = {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "OPENBLAS_CORETYPE",
        "OPENBLAS_L2_SIZE",
        "PYTHONPATH",
        "VIRTUAL_ENV",
    }
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in dropped and not key.startswith(("PARTITA_", "RAY_", "DAFT_", "DASK_", "POLARS_"))
    }
    environment.update(
        HOME=str(home),
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        DO_NOT_TRACK="1",
        DAFT_ANALYTICS_ENABLED="0",
        RAY_USAGE_STATS_ENABLED="0",
        RAY_AUTH_MODE="disabled",
        RAY_DEDUP_LOGS="0",
        WANDB_MODE="disabled",
        NO_ALBUMENTATIONS_UPDATE="1",
    )
    environment.update(more)
    return environment


def make(script: str, *words: object) -> None:
    """Makes inputs with a script of the peers."""
    subprocess.run(_peer_script(script, words), check=True, env=peer_environment(paths.DATA))


def judge(script: str, *words: object) -> None:
    """Raises an AssertionError with the last line of a script of the peers that checks an output and finds it wrong."""
    done = subprocess.run(
        _peer_script(script, words), capture_output=True, text=True, check=False, env=peer_environment(paths.DATA)
    )
    assert done.returncode == 0, (done.stderr.strip().splitlines() or ["the check failed"])[-1]


def _peer_script(script: str, words: tuple[object, ...]) -> list[str]:
    return [str(paths.python_of("peers")), str(paths.PEERS / script), *map(str, words)]


def drop_page_cache() -> None:
    """Inputs come from the disk for all alike: a warm cache would be charged to whoever read first."""
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")


def run(
    command: list[str],
    *,
    cwd: pathlib.Path,
    environment: dict[str, str],
    timeout_s: float,
    limit_bytes: int | None = None,
    log: pathlib.Path,
    watch_memory: bool = True,
) -> Run:
    """Runs one command. What it prints goes to `log`; a line of its output that is a JSON object with `seconds` becomes its report."""
    group = Cgroup(limit_bytes)
    read_end, write_end = os.pipe()

    def enter() -> (
        None
    ):  # in the child, before exec: being moved to a group takes the kernel milliseconds that are nobody's
        group.join()
        os.write(write_end, struct.pack("d", time.monotonic()))

    result = Run()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_S):
            with contextlib.suppress(OSError):
                result.peak_bytes = max(result.peak_bytes, group.used_bytes())

    killer = threading.Timer(timeout_s, lambda: (setattr(result, "timed_out", True), group.kill_all()))
    killer.daemon = True
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=enter,
            )
            sampler = threading.Thread(target=sample, daemon=True)
            if watch_memory:
                sampler.start()
            killer.start()
            process.wait()
            ended = time.monotonic()
            killer.cancel()
            killer.join()
            result.cpu_s = group.cpu_s()
            stop.set()
            if watch_memory:
                sampler.join()
        started = struct.unpack("d", os.read(read_end, 8))[0]
        result.wall_s = ended - started
        result.exit_code = process.returncode
        result.peak_with_cache_bytes = group.peak_with_cache_bytes()
        result.kernel_kills = group.kernel_kills()
        result.leftover_processes = group.kill_all()
    finally:
        os.close(read_end)
        os.close(write_end)
        killer.cancel()
        stop.set()
        group.kill_all()
        group.remove()
    result.report = _report_of(log)
    if result.timed_out:
        result.note = f"timed out after {timeout_s:.0f} s"
    elif result.kernel_kills and result.exit_code:
        result.note = f"killed by the kernel at its limit of {(limit_bytes or 0) >> 20} MiB"
    elif result.exit_code:
        result.note = f"exit code {result.exit_code}: {_last_line(log)}"
    return result


def _report_of(log: pathlib.Path) -> dict:
    for line in reversed(log.read_text(errors="replace").splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and "seconds" in value:
                    return value
    return {}


def _last_line(log: pathlib.Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


@dataclasses.dataclass
class Contender:
    """One program of a question."""

    name: str
    command: list[str]
    prepare: Callable[[], None] = lambda: None  # before the clock: empty its output folder
    check: Callable[[Run], None] = lambda run: None  # after the clock: raises AssertionError when the result is wrong
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    limit_bytes: int | None = None
    timeout_s: float = 600
    watch_memory: bool = True
    is_ours: bool = False
    is_limit: bool = False  # a bound, no peer
    same_work: bool = True  # False: does other work (and why, in note); shown, not compared
    note: str = ""
    home: pathlib.Path | None = None
    log: pathlib.Path | None = None  # of the last run
    runs: list[Run] = dataclasses.field(default_factory=list)

    def median(self, value: Callable[[Run], float]) -> float | None:
        good = [value(run) for run in self.runs if run.ok]
        return statistics.median(good) if good else None


def play(
    contenders: list[Contender], repetitions: int, work: pathlib.Path, warm: Callable[[], None] = lambda: None
) -> None:
    """Runs all of them `repetitions` times; every other round in the opposite order, so that none always runs after the same one.

    Ctrl-C and SIGTERM end it, here and in later calls: what was measured until then is still told.
    """
    global interrupted
    if interrupted:
        return
    try:
        _play(contenders, repetitions, work, warm)
    except KeyboardInterrupt:
        interrupted = True
        print("  interrupted: no more rounds", flush=True)


def _play(contenders: list[Contender], repetitions: int, work: pathlib.Path, warm: Callable[[], None]) -> None:
    for round_number in range(repetitions):
        order = contenders if round_number % 2 == 0 else list(reversed(contenders))
        for contender in order:
            if any(run.timed_out for run in contender.runs):
                continue  # once is enough
            contender.prepare()
            warm()
            home = contender.home or work / "home"
            home.mkdir(parents=True, exist_ok=True)
            contender.log = log = work / "logs" / f"{contender.name.replace(' ', '-')}-{round_number}.log"
            result = run(
                contender.command,
                cwd=work,
                environment=peer_environment(home, **contender.environment),
                timeout_s=contender.timeout_s,
                limit_bytes=contender.limit_bytes,
                log=log,
                watch_memory=contender.watch_memory,
            )
            # A peer that aborts while its interpreter shuts down (Daft does at times) has done the work: its time counts. Not so for us.
            died_late = not contender.is_ours and result.exit_code != 0 and not result.kernel_kills
            if not result.timed_out and (result.exit_code == 0 or died_late):
                try:
                    contender.check(result)
                    result.checked = True
                    if died_late:
                        contender.note = contender.note or f"right result, but exit code {result.exit_code}"
                except Exception as error:  # a wrong or unreadable result is a result
                    result.note = result.note or f"wrong result: {type(error).__name__}: {error}"[:300]
            contender.runs.append(result)
            state = "ok" if result.ok else result.note
            print(
                f"  round {round_number + 1}  {contender.name:<28} {result.wall_s:8.3f} s  job {result.job_s:8.3f} s  "
                f"cpu {result.cpu_s:8.2f} s  {result.peak_bytes / 2**20:7.0f} MiB  {state}",
                flush=True,
            )
