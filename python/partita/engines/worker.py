"""The worker's side of every engine: executes tasks of one plan in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
from collections.abc import Iterable, Sequence

import pyarrow as pa

from .._native import native, session
from ..errors import RunEnvironmentError
from .blocks import opened
from .contract import Setup, TaskId, check_build
from .missing import with_node


class _Stream:
    """A capsule on its way to pyarrow."""

    def __init__(self, capsule: object) -> None:
        self._capsule = capsule

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._capsule


class Worker:
    """Holds the plan, a budget and threads. All methods may be called from any thread."""

    def __init__(self, setup: Setup, host: str = "") -> None:
        """`host`: the address by which the other workers reach this one's machine.

        There it serves the exchanged rows that it made and keeps (`--exchange nodes`); without it they go to the run's
        storage.
        """
        check_build(setup)
        with contextlib.suppress(OSError):
            os.chdir(setup["cwd"])
        self._tables = [session.add_table(pa.ipc.open_stream(io.BytesIO(rows)).read_all()) for rows in setup["tables"]]
        self._remote = [opened(form) for form in setup["remote"]]
        plan = native.CompiledPlan.from_text(setup["plan"])
        if plan.plan_hash != setup["plan_hash"]:
            raise RunEnvironmentError(f"the worker on {platform.node()} reads another plan than the driver sent")
        self._held: native.Worker | None = native.open_worker(
            session, plan, setup["options"], setup["folder"], host, setup["token"]
        )

    def close(self, tasks: Iterable[TaskId]) -> None:
        """Cancels these and takes no more: what lies here is gone once the last has ended.

        Whoever still refers to this object (the frames of an error that is kept somewhere) holds nothing up.
        """
        self.cancel(tasks)
        self._held = None

    @property
    def _native(self) -> native.Worker:
        held = self._held
        if held is None:
            raise RunEnvironmentError("the run has ended")
        return held

    @property
    def slots(self) -> int:
        """Submissions that may run here at once."""
        return self._native.slots

    @property
    def memory_bytes(self) -> int:
        return self._native.memory_bytes

    def add_exchange(self, number: int, description: bytes) -> None:
        """What `Engine.share` was given. In any order: the last of an exchange counts."""
        self._native.add_exchange(json.loads(description)["exchange"], description)

    def run(self, tasks: Sequence[TaskId]) -> list[bytes]:
        """Runs them in turn; their reports. An error of a task is in its report."""
        return [with_node(self._native.run(stage, partition)) for stage, partition in tasks]

    def take(self, task: TaskId, output: int) -> pa.Table:
        """The rows that a task handed over at an output, out of the budget; once. Of one that failed: none."""
        return pa.table(_Stream(self._native.take(*task, output)))

    def under_way(self) -> str:
        """What tasks that run have done so far, for `Engine.under_way`."""
        held = self._held
        return "[]" if held is None else held.under_way()

    def cancel(self, tasks: Iterable[TaskId]) -> None:
        for stage, partition in tasks:
            self._native.cancel(stage, partition)
