"""The loop that every engine shares: asks the coordinator what to do next, and has the engine do it.

Small tasks go in batches, so that an engine's cost of a submission stays small beside the work. A submission that takes
far longer than its like gets a copy on another worker where slots are free; the first report of a task counts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import secrets
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .._native import native, session
from ..errors import PartitaError, ResourceError, RunEnvironmentError, UserError
from . import open_engine
from .blocks import form_of
from .contract import PROTOCOL, Ended, Engine, Event, Lost, Setup, Submission, TaskId, build, first_line
from .missing import ENVIRONMENT, blamed

WAIT_SECONDS = 0.05  # between looks at the clock, at signals and at the progress
BATCH_SECONDS = 1.0  # of work in a submission of small tasks
BATCH_MOST = 64
SUBMISSIONS_A_SECOND = 200  # on clusters of many slots batches grow, so that the engine is not asked for more
UNDER_WAY_MOST = 1_000_000  # tasks; what is known of each is in this process's memory
COPY_AFTER_SECONDS = 2.0  # no copy of what is younger
COPY_AFTER_MEDIANS = 3.0
COPY_KNOWN = 3  # … once so many of its stage have ended
NO_WORKER_SECONDS = 120.0  # without any worker the run fails
SHOW_SECONDS = 1.0  # between looks at what running tasks have done
TABLE_MOST_BYTES = 256 << 20


@dataclass
class _Stage:
    name: str
    reads: tuple[int, ...]
    hands_over: tuple[tuple[int, int], ...]  # (output, input of the sink)
    waiting: deque[TaskId] = field(default_factory=deque)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=64))  # a task, of those that ended last

    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None


@dataclass
class _Running:
    submission: Submission
    began: float
    cancelled: bool = False
    copied: bool = False


def setup_for(plan: native.CompiledPlan, pairs: list[tuple[str, str]], engine: str) -> Setup:
    """What a worker of this process's run needs to know."""
    names = list(dict.fromkeys(native.tables_of(plan)))
    remote = {name: form for name in names if (form := form_of(name, engine)) is not None}
    tables = [native.table_bytes(session, name) for name in names if name not in remote]
    if sum(map(len, tables)) > TABLE_MOST_BYTES:
        raise ResourceError(
            "the pipeline reads more rows from this process's memory than are sent to workers",
            hint="write them to storage first, and read them from there",
        )
    text = plan.to_text()
    return {
        "protocol": PROTOCOL,
        "build": build(),
        "plan": text,
        "plan_hash": plan.plan_hash,
        "options": [pair for pair in pairs if pair[0] not in ("engine", "fresh")],
        "tables": tables,
        "remote": list(remote.values()),
        "gpus": _gpus_of(json.loads(text)["plan"]),
        "folder": "",
        "cwd": os.getcwd(),
        "token": secrets.token_hex(16),
    }


def _placed(
    plan: native.CompiledPlan, pairs: list[tuple[str, str]], folder: str | None = None
) -> list[tuple[str, str]]:
    """With the place of exchanged rows as it holds here: workers have another environment.

    Who names a folder for rows that are handed over wants them there, unless he says otherwise.
    """
    where = native.exchange_of(plan, pairs)
    if where == "auto" and folder is not None:
        where = "disk"
    return [*(pair for pair in pairs if pair[0] != "exchange"), ("exchange", where)]


def _gpus_of(plan: dict[str, Any]) -> list[tuple[float, int]]:
    given = [node["args"] for stage in plan["stages"] for node in stage["nodes"] if node["args"].get("num_gpus")]
    return [(float(args["num_gpus"]), int(args.get("concurrency") or 0)) for args in given]


def run(
    plan: native.CompiledPlan,
    pairs: list[tuple[str, str]],
    observer: native.Observer,
    poll: Callable[[], None] | None,
    engine: str | Engine,
) -> native.Finished:
    """Runs a plan on an engine."""
    pairs = _placed(plan, pairs)
    setup = setup_for(plan, pairs, engine.partition(":")[0] if isinstance(engine, str) else engine.name)
    driven = native.open_run(session, plan, pairs, observer)
    if isinstance(engine, str):
        try:
            engine = open_engine(engine)
        except PartitaError as error:
            driven.finish(status_text(error))
            raise
    return _Driver(driven, engine, setup, poll).run()


def hand_over(
    plan: native.CompiledPlan,
    pairs: list[tuple[str, str]],
    observer: native.Observer,
    poll: Callable[[], None] | None,
    engine: Engine,
    folder: str | None,
) -> list[Any]:
    """Runs a plan whose rows are handed over: what the engine calls those of each partition, in order.

    `folder`: on storage that all workers see, for rows that change partition. Nothing is left there.
    """
    pairs = _placed(plan, pairs, folder)
    setup = setup_for(plan, pairs, engine.name)
    kept = [pair for pair in pairs if pair[0] != "spill-dir"]
    driven = native.open_run(session, plan, kept if folder is None else [*kept, ("spill-dir", folder)], observer)
    setup["folder"] = driven.folder()
    if setup["folder"] and folder is None:
        error = UserError(
            "some rows that change partition on their way cannot stay on the nodes, and there is no folder for them",
            hint="name one on storage that all nodes mount: folder='/shared/scratch'",
        )
        driven.finish(status_text(error))
        raise error
    run = _Driver(driven, engine, setup, poll)
    run.run()
    return [rows for _, rows in sorted(run.handed.items(), key=lambda item: item[0])]


class _Driver:
    def __init__(self, driven: native.Driver, engine: Engine, setup: Setup, poll: Callable[[], None] | None) -> None:
        self._driven = driven
        self._engine = engine
        self._setup = setup
        self._poll = poll
        self._stages = [
            _Stage(" > ".join(stage["steps"]), tuple(stage["reads"]), tuple(map(tuple, stage["hands_over"])))
            for stage in json.loads(driven.stages())
        ]
        self.handed: dict[tuple[int, int], Any] = {}  # rows that count, by input of the sink and partition
        self._running: dict[int, _Running] = {}
        self._copies: dict[TaskId, set[int]] = {}  # submissions that a task is in
        self._shared: dict[tuple[int, int], int] = {}  # exchanges and editions of their descriptions, by number
        self._next_key = 0
        self._capacity = 1
        self._ended = False
        self._alive = time.monotonic()  # when there was a worker last
        self._shown = 0.0

    def run(self) -> native.Finished:
        failure: BaseException | None = None
        try:
            self._carry(self._driven.start(self._capacity))
            if not self._ended:  # else all was done before, and no engine is needed
                try:
                    self._engine.open(self._setup)
                    self._alive = time.monotonic()
                    self._loop()
                finally:
                    self._engine.close()
        except BaseException as error:
            failure = error
        if failure is None:
            return self._driven.finish()
        if isinstance(failure, PartitaError):
            self._driven.finish(status_text(failure))
        elif isinstance(failure, Exception):
            failure = RunEnvironmentError(
                f"the engine {self._engine.name} failed: {type(failure).__name__}: {first_line(failure)}"
            )
            self._driven.finish(status_text(failure))
        else:  # Ctrl-C
            self._driven.cancel()
            with contextlib.suppress(PartitaError):
                self._driven.finish()
        raise failure

    def _loop(self) -> None:
        while not self._ended:
            self._fit()
            self._submit()
            self._speculate()
            for event in self._engine.wait(WAIT_SECONDS):
                self._take(event)
            self._carry(self._driven.tick())
            self._show()
            if self._poll is not None:
                self._poll()

    def _show(self) -> None:
        """Rows of tasks that run: progress and stats are looked at meanwhile."""
        if (now := time.monotonic()) > self._shown + SHOW_SECONDS:
            self._shown = now
            self._driven.show(f"[{','.join(self._engine.under_way())}]")

    # -- what the coordinator says ----

    def _carry(self, instructions: str) -> None:
        for instruction in json.loads(instructions):
            action = instruction["do"]
            if action in ("finish", "fail"):
                self._ended = True
                return
            task = (instruction["stage"], instruction["partition"])
            waiting = self._stages[task[0]].waiting
            if action == "start":
                waiting.append(task)
            elif action == "cancel":
                self._cancel(task)
            elif task in waiting:  # to be recalled
                waiting.remove(task)
                self._carry(self._driven.recalled(*task))

    def _cancel(self, task: TaskId) -> None:
        waiting = self._stages[task[0]].waiting
        if task in waiting:
            waiting.remove(task)
            self._lose(task, _not_needed())
            return
        for key in self._copies.get(task, ()):
            running = self._running[key]
            if not running.cancelled and not any(
                self._needed(other) for other in running.submission.tasks if other != task
            ):
                running.cancelled = True
                self._engine.cancel(key)

    def _needed(self, task: TaskId) -> bool:
        return self._driven.is_needed(*task)

    def _lose(self, task: TaskId, error: str) -> None:
        self._carry(self._driven.lost(*task, error))

    # -- what the engine does ----

    def _fit(self) -> None:
        """As many tasks are asked for as fill every slot with a batch, again and again."""
        slots = self._engine.slots()
        now = time.monotonic()
        if slots > 0:
            self._alive = now
        elif now - self._alive > NO_WORKER_SECONDS:
            raise RunEnvironmentError(
                f"the engine {self._engine.name} has had no worker for {NO_WORKER_SECONDS:.0f} seconds",
                hint="look at the cluster; the same command resumes",
            )
        batch = max((self._batch(stage, slots) for stage in self._stages if stage.seconds), default=1)
        # Thrice: what runs and twice as much that waits, so that `_submit` may cut full batches of it.
        capacity = max(1, slots, min(3 * slots * batch, UNDER_WAY_MOST))
        if capacity != self._capacity:
            self._capacity = capacity
            self._carry(self._driven.capacity(capacity))

    @staticmethod
    def _batch(stage: _Stage, slots: int) -> int:
        seconds = stage.median()
        if seconds is None:
            return 1
        longer = max(1.0, slots / SUBMISSIONS_A_SECOND)  # all slots ask for a submission in a batch's time
        return max(1, min(int(BATCH_MOST * longer), int(BATCH_SECONDS * longer / max(seconds, 1e-4))))

    def _submit(self) -> None:
        slots = self._engine.slots()
        free = slots - len(self._running)
        for stage in reversed(self._stages):  # later stages drain what earlier ones made
            while free > 0 and stage.waiting:
                # Ever smaller shares of what is left, so that all end together.
                count = min(self._batch(stage, slots), math.ceil(len(stage.waiting) / (2 * slots)))
                tasks = tuple(stage.waiting.popleft() for _ in range(count))
                self._start(stage, tasks)
                free -= 1

    def _start(self, stage: _Stage, tasks: tuple[TaskId, ...], copy_of: int | None = None) -> None:
        numbers = tuple(self._share(exchange) for exchange in stage.reads)
        outputs = tuple(output for output, _ in stage.hands_over)
        submission = Submission(self._next_key, tasks, numbers, stage.name, copy_of, outputs)
        self._next_key += 1
        self._running[submission.key] = _Running(submission, time.monotonic())
        for task in tasks:
            self._copies.setdefault(task, set()).add(submission.key)
        self._engine.submit(submission)

    def _share(self, exchange: int) -> int:
        edition = (exchange, self._driven.edition_of(exchange))
        if edition not in self._shared:
            self._shared[edition] = len(self._shared)
            self._engine.share(self._shared[edition], self._driven.describe(exchange))
        return self._shared[edition]

    def _speculate(self) -> None:
        """Copies of what takes far longer than its like, where slots would be idle."""
        free = self._engine.slots() - len(self._running)
        if free <= 0 or any(stage.waiting for stage in self._stages):
            return
        now = time.monotonic()
        for key, running in list(self._running.items()):
            submission = running.submission
            stage = self._stages[submission.tasks[0][0]]
            median = stage.median()
            if free <= 0 or running.copied or running.cancelled or median is None or len(stage.seconds) < COPY_KNOWN:
                continue
            usual = median * len(submission.tasks)
            if now - running.began < max(COPY_AFTER_SECONDS, COPY_AFTER_MEDIANS * usual):
                continue
            if not self._driven.is_ready(submission.tasks[0][0]):
                continue  # some of what they read was lost
            tasks = tuple(task for task in submission.tasks if self._needed(task))
            if tasks:
                running.copied = True
                self._start(stage, tasks, copy_of=key)
                self._running[self._next_key - 1].copied = True
                free -= 1

    def _take(self, event: Event) -> None:
        running = self._running.pop(event.key, None)
        if running is None:
            return
        tasks = running.submission.tasks
        for task in tasks:
            self._copies[task].discard(event.key)
        if isinstance(event, Ended):
            seconds = (time.monotonic() - running.began) / len(tasks)
            if not running.cancelled:
                self._stages[tasks[0][0]].seconds.extend([seconds] * len(tasks))
            for task, report, rows in itertools.zip_longest(tasks, event.reports, event.rows):
                if report is None:
                    break
                if rows and self._needed(task):  # of an attempt that failed: what the next one gives replaces it
                    for (_, sink_input), found in zip(self._stages[task[0]].hands_over, rows, strict=True):
                        self.handed[sink_input, task[1]] = found
                self._carry(self._driven.report(blamed(report)))
            tasks = tasks[len(event.reports) :]
        for task in tasks:
            self._abandoned(task, event)
        self._cancel_copies(running.submission.tasks)

    def _abandoned(self, task: TaskId, event: Event) -> None:
        if self._copies[task]:  # the other copy goes on
            return
        if isinstance(event, Lost):
            message, retriable = event.message, event.retriable
        else:
            message, retriable = "the worker did not report this task", True
        where = f"stage {task[0]} ({self._stages[task[0]].name}), partition {task[1]}"
        error = RunEnvironmentError(f"{where}: {message}", hint="the same command resumes")
        error.retriable = retriable
        self._lose(task, status_text(error))

    def _cancel_copies(self, tasks: Iterable[TaskId]) -> None:
        """Of tasks that have ended, in submissions that have nothing else to do."""
        for key in {key for task in tasks for key in self._copies.get(task, ())}:
            running = self._running[key]
            if not running.cancelled and not any(self._needed(task) for task in running.submission.tasks):
                running.cancelled = True
                self._engine.cancel(key)
        for task in tasks:
            if not self._copies[task]:
                del self._copies[task]


def _not_needed() -> str:
    return json.dumps({"code": 8, "message": "not needed any more"})


_CODES = {"user": 4, "data": 4, "resource": 1, "environment": ENVIRONMENT, "bug": 9}  # arrow::StatusCode


def status_text(error: PartitaError) -> str:
    """The error as the native module takes it."""
    if error.kind == "cancelled":
        return json.dumps({"code": 8, "message": error.message})
    form: dict[str, Any] = {
        "code": _CODES[error.kind],
        "message": error.message,
        "kind": error.kind,
        "retriable": bool(error.retriable),
        "hint": error.hint or "",
    }
    for name in ("step", "partition", "file", "row"):
        value = getattr(error, name)
        if value is not None:
            form[name] = value
    return json.dumps(form)
