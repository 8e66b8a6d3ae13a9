"""Starts the engine for a dataset or a pipeline, with options, progress and an observer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._graph import BuiltPipeline, Node, build
from ._native import native, session
from .options import options
from .progress import Progress
from .stats import RunStats


@dataclass(frozen=True)
class Call:
    """One call of the engine: its options and what watches it."""

    pairs: list[tuple[str, str]]
    observer: native.Observer
    progress: Progress

    def stats(self) -> RunStats:
        return RunStats.from_json(self.observer.snapshot())


@contextlib.contextmanager
def call(given: Mapping[str, Any], *, show: bool) -> Iterator[Call]:
    """`show`: whether progress is shown when the user left that to us ("auto")."""
    found = options.effective(given)
    mode = found["progress"]
    observer = native.Observer()
    progress = Progress(observer, "never" if mode == "auto" and not show else mode)
    try:
        yield Call(options.pairs(given), observer, progress)
    finally:
        progress.close()


def on_error_policy(given: Mapping[str, Any], file_options: Mapping[str, Any]) -> str | None:
    """The policy of steps that name none: of the call, of `partita.options`, of the file, of the environment."""
    found = options.effective(given)
    for policy in (found["on_error"], file_options.get("on_error"), file_options.get("on-error")):
        if policy:
            return str(policy)
    return os.environ.get("PARTITA_ON_ERROR") or None


def plan_options(given: Mapping[str, Any], file_options: Mapping[str, Any]) -> dict[str, Any]:
    """The file's options with the place of the quarantine that the call, `partita.options` or the environment names."""
    folder = options.effective(given).get("quarantine")
    if folder is None and "quarantine" not in file_options:
        folder = os.environ.get("PARTITA_QUARANTINE") or None
    return dict(file_options) if folder is None else {**file_options, "quarantine": os.fspath(folder)}


def built(node: Node, given: Mapping[str, Any]) -> tuple[BuiltPipeline, str]:
    """The pipeline that ends in `node`, and the name of its step."""
    pipeline = build([node], options=plan_options(given, {}), on_error=on_error_policy(given, {}))
    return pipeline, pipeline.name_of(node)


def open_stream(node: Node, limit: int, running: Call, given: Mapping[str, Any]) -> native.RowStream:
    pipeline, step = built(node, given)
    poll = running.progress.poll if running.progress.enabled else None
    return session.stream(pipeline.native, step, limit, running.pairs, running.observer, poll)
