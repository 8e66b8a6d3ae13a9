"""Runs that write: several outputs as one pipeline, and what they give."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _execute
from ._graph import Node
from ._native import native, session
from .errors import UserError
from .stats import RunStats, format_bytes, format_count

if TYPE_CHECKING:
    from typing import Unpack

    from .options import RunOptions


@dataclass(frozen=True, eq=False)
class Sink:
    """A declared output of a dataset: made by `Dataset.sink_parquet` and its like, run by `pt.run`.

    Example:
        >>> sink = pt.range(10).sink_csv("ten")
        >>> isinstance(sink, pt.Sink)
        True
        >>> pt.run(sink).rows
        10
    """

    _node: Node
    _text: str

    def __repr__(self) -> str:
        return f"Sink({self._text})"


@dataclass(frozen=True)
class WrittenFile:
    """One file of a written dataset.

    Attributes:
        path: Relative to the dataset's folder.
        rows: Its rows.
        bytes: Its size on storage.

    Example:
        >>> pt.range(3).write_jsonl("three").datasets[0].files[0]
        WrittenFile(path='part-00000-000.jsonl', rows=3, bytes=27)
    """

    path: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class WrittenDataset:
    """One output of a run.

    Attributes:
        step: The sink's name.
        path: The folder.
        format: `"parquet"`, `"webdataset"`, …
        rows: All rows.
        files: The files, in row order.

    Example:
        >>> written = pt.range(3).write_jsonl("three").datasets[0]
        >>> written.format, written.rows, written.bytes, len(written.files)
        ('jsonl', 3, 27, 1)
    """

    step: str
    path: str
    format: str
    rows: int
    files: tuple[WrittenFile, ...]

    @property
    def bytes(self) -> int:
        """Size on storage."""
        return sum(file.bytes for file in self.files)

    def __repr__(self) -> str:
        files = f"{format_count(len(self.files))} file" + ("" if len(self.files) == 1 else "s")
        return f"{self.step}: {format_count(self.rows)} rows, {format_bytes(self.bytes)} in {files} -> {self.path}"


@dataclass(frozen=True)
class RunResult:
    """What a run wrote.

    Attributes:
        datasets: One entry an output, in the order of the sinks.
        quarantine: The dataset of bad rows, or None where there are none.
        stats: Counters of the run.
        was_complete: Whether an earlier run had done everything.
        record_path: The run record, a JSON file.
        plan_hash, snapshot_hash: What was run on what.

    Example:
        >>> result = pt.range(3).write_jsonl("three")
        >>> result.rows, result.path, result.was_complete
        (3, 'three', False)
        >>> pt.range(3).write_jsonl("three").was_complete
        True
    """

    datasets: tuple[WrittenDataset, ...]
    quarantine: WrittenDataset | None
    stats: RunStats
    was_complete: bool
    record_path: str
    plan_hash: str
    snapshot_hash: str

    @property
    def rows(self) -> int:
        """Rows written, over all outputs but the quarantine."""
        return sum(dataset.rows for dataset in self.datasets)

    @property
    def path(self) -> str:
        """The folder of the first output."""
        return self.datasets[0].path

    def __repr__(self) -> str:
        lines = ["RunResult (was complete already)" if self.was_complete else "RunResult"]
        lines.extend(f"  {dataset!r}" for dataset in self.datasets)
        if self.quarantine is not None:
            lines.append(f"  {self.quarantine!r}")
        return "\n".join(lines)


def run(
    *sinks: Sink | Iterable[Sink],
    retry_quarantine: bool = False,
    _owner: object = None,
    _pipeline_name: str = "pipeline",
    _file_options: Mapping[str, Any] | None = None,
    **options: Unpack[RunOptions],
) -> RunResult:
    """Runs several outputs as one pipeline. What their datasets have in common is executed once.

    Args:
        sinks: What `Dataset.sink_parquet` and its like return.
        retry_quarantine: Run only the rows that an earlier run of the same pipeline put in quarantine.
        options: Run options (`memory="2GiB"`, `threads=4`, `fresh=True`, …), see `pt.options`.

    Raises:
        UserError: No sink is given, or an output folder holds something else.
        PartitaError: As for `Dataset.write_parquet`.

    Example:
        >>> ds = pt.range(10)
        >>> even, odd = ds.filter("id % 2 = 0"), ds.filter("id % 2 = 1")
        >>> pt.run(even.sink_parquet("even"), odd.sink_jsonl("odd")).rows
        10
    """
    ends = [sink._node for sink in _flat(sinks)]
    if not ends:
        raise UserError("there is nothing to write", hint="give sinks: pt.run(ds.sink_parquet(…), …)")
    file_options = dict(_file_options or {})
    pipeline = _execute.build(
        ends,
        pipeline_name=_pipeline_name,
        options=_execute.plan_options(options, file_options),
        on_error=_execute.on_error_policy(options, file_options),
    )
    with _execute.call(options, show=True) as running:
        if _owner is not None:
            _owner._observer = running.observer  # type: ignore[attr-defined]
        plan = session.compile(pipeline.native)
        poll = running.progress.poll if running.progress.tells else None
        engine = native.engine_of(plan, running.pairs)
        if engine == "local" or retry_quarantine:  # bad rows are few: no cluster is asked
            text = session.run(plan, running.pairs, running.observer, poll, retry_quarantine)
        else:
            from .engines import driver

            text = driver.run(plan, running.pairs, running.observer, poll, engine).to_json()
    form = json.loads(text)
    return RunResult(
        tuple(_written(dataset) for dataset in form["datasets"]),
        _written(form["quarantine"]) if form["quarantine"] is not None else None,
        running.stats(),
        form["was_complete"],
        form["record_path"],
        plan.plan_hash,
        plan.snapshot_hash,
    )


def _flat(sinks: Iterable[Any]) -> list[Sink]:
    found: list[Sink] = []
    for sink in sinks:
        if isinstance(sink, Sink):
            found.append(sink)
        elif isinstance(sink, Iterable) and not isinstance(sink, str | bytes | dict):
            found.extend(_flat(sink))
        else:
            raise UserError(f"run takes sinks, not {type(sink).__name__}", hint="declare one: ds.sink_parquet(path)")
    return found


def _written(form: dict[str, Any]) -> WrittenDataset:
    files = tuple(WrittenFile(file["path"], file["rows"], file["bytes"]) for file in form["files"])
    return WrittenDataset(form["step"], form["path"], form["format"], form["rows"], files)
