"""From nodes to the pipeline that the engine takes, and calls of the engine with options, progress and an observer.

Both stand together, since a function whose columns nobody told is asked on a few rows, which a call must bring.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from . import _functions, batches
from ._graph import Node, name_nodes, walk
from ._native import native, session, step_specs, to_json
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
    progress = Progress(observer, "events" if mode == "auto" and not show else mode)
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


@dataclass(frozen=True)
class BuiltPipeline:
    """The engine's pipeline, with the name of each node's step."""

    native: native.Pipeline
    names: dict[int, str]
    # The nodes: their rows stay known to the session while this lives.
    nodes: tuple[Node, ...]

    def name_of(self, node: Node) -> str:
        return self.names[id(node)]


def build(
    ends: Iterable[Node],
    *,
    pipeline_name: str = "pipeline",
    options: dict[str, Any] | None = None,
    on_error: str | None = None,
) -> BuiltPipeline:
    """The pipeline of `ends` and all they come from. `on_error` is the policy of steps that name none."""
    nodes = tuple(walk(ends))
    names = name_nodes(nodes)
    if any(node.op in _functions.OPS for node in nodes):
        _functions.set_runtime()
    steps = [
        {
            "name": names[id(node)],
            "op": node.op,
            "args": _told(node),
            "inputs": [names[id(child)] for child in node.inputs],
            "on_error": node.on_error or (None if _moves_rows(node) else on_error) or "fail",
        }
        for node in nodes
    ]
    text = to_json({"name": pipeline_name, "steps": steps, "options": options or {}})
    return BuiltPipeline(native.Pipeline.from_json(text), names, nodes)


def _told(node: Node) -> dict[str, Any]:
    """A step's arguments, with the columns that its function returns: a plan must know them."""
    if node.op not in _functions.OPS or node.op == "filter_rows" or node.args.get("schema"):
        return node.args
    if node.args.get("steps"):
        return node.args  # native ones, of groups
    function = node.keep if isinstance(node.keep, _functions.Function) else None
    if function is not None and function.schema is not None:
        return {**node.args, "schema": function.schema}
    before = node.inputs[0]
    if node.op == "map_groups" and before.op == "repartition":
        before = before.inputs[0]  # the same rows, before they are moved
    size = node.args.get("batch_size", _functions.SAMPLE_ROWS)
    rows = min(_functions.SAMPLE_ROWS, size) if isinstance(size, int) else _functions.SAMPLE_ROWS
    with call({}, show=False) as running:
        stream = open_stream(before, rows, running, {})
        columns = pa.schema(stream)
        table = pa.Table.from_batches(list(batches.read_batches(stream)), columns)
    sample = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=columns)
    schema = _functions.infer_schema(
        node.op, node.args, function, sample, keeps_going=node.on_error in ("skip", "quarantine")
    )
    if function is not None:
        function.schema = schema
    return {**node.args, "schema": schema}


def _moves_rows(node: Node) -> bool:
    """Whether a step finds no row bad, since it only puts rows elsewhere: it takes no policy for bad rows."""
    spec = step_specs().get(node.op)
    return spec is not None and spec.get("exchange", False)


def built(node: Node, given: Mapping[str, Any]) -> tuple[BuiltPipeline, str]:
    """The pipeline that ends in `node`, and the name of its step."""
    pipeline = build([node], options=plan_options(given, {}), on_error=on_error_policy(given, {}))
    return pipeline, pipeline.name_of(node)


def open_stream(node: Node, limit: int, running: Call, given: Mapping[str, Any]) -> native.RowStream:
    pipeline, step = built(node, given)
    poll = running.progress.poll if running.progress.tells else None
    return session.stream(pipeline.native, step, limit, running.pairs, running.observer, poll)
