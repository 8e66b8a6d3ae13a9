"""What an engine is: it runs submissions on its workers and tells what became of them.

The driver (`driver.py`) calls an engine from one thread. An engine need not order, retry, batch or de-duplicate
anything; it must tell exactly one end of each submission, or lose it with its worker and say so.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict

import pyarrow as pa

from .._native import native
from ..errors import RunEnvironmentError

if TYPE_CHECKING:
    from .blocks import RemoteForm

PROTOCOL = 3

TaskId: TypeAlias = tuple[int, int]  # stage, partition


class Setup(TypedDict):
    """What a worker needs to begin: plain values, so that a worker of another version can still read them."""

    protocol: int
    build: dict[str, str]
    plan: str  # the compiled plan: plan, snapshot, code by digest
    plan_hash: str
    options: list[tuple[str, str]]
    tables: list[bytes]  # rows that the driver's process holds, as Arrow IPC streams
    remote: list[RemoteForm]  # rows that lie in the cluster
    gpus: list[tuple[float, int]]  # that functions ask for: GPUs or a share of one, by how many workers (0: any)
    folder: str  # of a run that hands over its rows, where some change partition; else ""
    cwd: str  # relative paths of the plan start here
    token: str  # the run's secret, for exchanged rows that stay on nodes: see `Worker`


@dataclass(frozen=True)
class Submission:
    """Tasks that one worker runs, one after the other.

    Attributes:
        key: Its ends are told by this number.
        tasks: Of one stage.
        exchanges: What their worker must have been told of before: the numbers that `Engine.share` was given.
        name: For the engine's dashboard.
        copy_of: Another submission with the same tasks that still runs: to be given to another worker.
        outputs: At which each task hands its rows over: see `Worker.take`. Of `to_ray` and `to_dask` alone.
    """

    key: int
    tasks: tuple[TaskId, ...]
    exchanges: tuple[int, ...]
    name: str
    copy_of: int | None = None
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A worker ran the tasks to their ends; `reports` in their order, as `Worker.run` returned them.

    `rows`: of each task, by output of the submission, a name of the rows that the engine keeps: a reference, a future.
    """

    key: int
    reports: Sequence[bytes]
    rows: Sequence[Sequence[Any]] = ()


def by_task(submission: Submission, rows: Sequence[Any]) -> list[Sequence[Any]]:
    """`Ended.rows` of all in one row."""
    width = len(submission.outputs)
    return [rows[i * width : (i + 1) * width] for i in range(len(submission.tasks))] if width else []


@dataclass(frozen=True)
class Lost:
    """Nothing will come of a submission any more: its worker died, or the engine gave it up."""

    key: int
    message: str
    retriable: bool = True


Event: TypeAlias = Ended | Lost


class Engine(Protocol):
    """Where tasks run. `worker.Worker` is what its workers hold; it does the work."""

    name: str

    def open(self, setup: Setup) -> None:
        """Connects, and starts or finds workers. Raises when no work can start; see `check_build`."""

    def keep_connection(self) -> None:
        """Before `open`, of a run that hands rows over: `close` must leave them reachable. Raises where it cannot."""

    def slots(self) -> int:
        """Submissions that workers can run at once now: the sum over them of `Worker.slots`. May change at any time."""

    def share(self, number: int, description: bytes) -> None:
        """Called once for each number, before the first submission that names it. To be shipped once a worker.

        It describes an exchange. One of which rows were lost and made anew elsewhere gets another number.
        """

    def submit(self, submission: Submission) -> None:
        """Starts it, on any worker. Must not block for long."""

    def cancel(self, key: int) -> None:
        """Is not needed any more. It still ends, in whatever way."""

    def wait(self, seconds: float) -> list[Event]:
        """What happened since; waits for the first news, not longer than `seconds`."""

    def under_way(self) -> Sequence[str]:
        """What `Worker.under_way` said last, of each worker: for the progress. Asked for about once a second.

        It may be some seconds old, and must not be waited for. An engine that cannot tell gives nothing.
        """

    def close(self) -> None:
        """Ends all workers and what they do. Called once, also after an error, also when open failed."""


def patience(first_seconds: float) -> float:
    """How long the others are waited for, once the first worker took so long to begin: half as long again.

    One that is busy or far slower joins later; one that refuses to work says so about as soon as the first begins.
    """
    return min(10.0, max(3.0, first_seconds / 2))


def look_seconds(workers: int) -> float:
    """How often each of so many workers is asked what it does: all together some hundred times a second."""
    return min(3.0, max(1.0, workers / 200))


def first_line(error: BaseException | None) -> str:
    """What an error says, where a stack may follow; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@functools.cache
def build() -> dict[str, str]:
    """What must be the same on driver and workers, for the same bytes and for code that can be read."""
    with open(native.__file__, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return {
        "partita": native.BUILD_VERSION,
        "build": digest,
        "pyarrow": pa.__version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "system": sys.platform,
    }


def check_build(setup: dict[str, Any] | Setup) -> None:
    """On a worker: is it what the driver is? Raises before anything of the plan is read."""
    theirs, ours = setup.get("build", {}), build()
    other = [
        f"{name} {ours[name]} here, {theirs.get(name, 'unknown')} on the driver"
        for name in ours
        if theirs.get(name) != ours[name]
    ]
    if setup.get("protocol") != PROTOCOL:
        other.append(f"protocol {PROTOCOL} here, {setup.get('protocol')} on the driver")
    if other:
        raise RunEnvironmentError(
            f"the worker on {platform.node()} is not of the driver's build: " + "; ".join(other),
            hint="install the same wheels on the driver and on all workers",
        )
