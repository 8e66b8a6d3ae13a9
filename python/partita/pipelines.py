"""Whole pipelines: several outputs as one value, to and from pipeline files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TextIO, Unpack

from ._execute import build, on_error_policy
from ._graph import Node, nodes_of, plan_lines, step_text
from ._native import native, session, step_specs
from .dataset import Dataset, yaml_text
from .errors import UserError
from .options import RunOptions, options
from .runs import RunResult, Sink, run
from .stats import Text


class Pipeline:
    """Outputs that run together: what a pipeline file describes.

    Args:
        sinks: Outputs, as `Dataset.sink_parquet` and its like return them.
        name: The pipeline's name.
        options: Run options of the file (`{"memory": "2GiB"}`).

    Attributes:
        name: The pipeline's name.
        sinks: The outputs.
        datasets: The dataset after each step, by the step's name.
        options: Run options of the file.

    Example:
        >>> pipe = pt.Pipeline(pt.range(5).filter("id > 2").sink_parquet("big"), name="numbers")
        >>> print(pipe.to_yaml())
        pipeline: numbers
        steps:
          - range: 5
          - filter: id > 2
          - write_parquet: big
        <BLANKLINE>
        >>> pipe.run().rows
        2
    """

    def __init__(self, *sinks: Sink, name: str = "pipeline", options: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.sinks = tuple(sinks)
        self.options: dict[str, Any] = dict(options or {})
        built = build([sink._node for sink in sinks], pipeline_name=name, options=self.options)
        self.datasets: dict[str, Dataset] = {
            built.name_of(node): Dataset(node) for node in built.nodes if not _is_sink(node)
        }

    def run(self, *, retry_quarantine: bool = False, **options: Unpack[RunOptions]) -> RunResult:
        """Writes all outputs; what they have in common is executed once.

        Args:
            retry_quarantine: Run only the rows that an earlier run put in quarantine.
            options: Run options, stronger than the file's.
        """
        return run(
            self.sinks,
            retry_quarantine=retry_quarantine,
            _pipeline_name=self.name,
            _file_options=self.options,
            **options,
        )

    def explain(self) -> str:
        """The plan as text."""
        return Text(session.explain(self._native(), options.pairs({})))

    def to_yaml(self) -> str:
        """The pipeline file, for `partita run` and `pt.from_yaml`."""
        return yaml_text(self._ends(), self.name, self.options)

    def compile(self) -> str:
        """The frozen plan as JSON text: what `partita compile` writes and `partita run plan.json` runs.

        Example:
            >>> pipe = pt.Pipeline(pt.range(5).sink_parquet("numbers"))
            >>> pipe.compile() == pipe.compile()
            True
        """
        return session.compile(self._native()).to_text()

    def __getitem__(self, step: str) -> Dataset:
        """The dataset after a step."""
        if step not in self.datasets:
            nearest = native.nearest_name(step, list(self.datasets))
            raise UserError(
                f"there is no step '{step}' that gives rows", hint=f"did you mean '{nearest}'?" if nearest else None
            )
        return self.datasets[step]

    def __repr__(self) -> str:
        lines = [f"Pipeline {self.name}"]
        for sink in self.sinks:
            lines.extend(f"  {line}" for node in sink._node.inputs for line in plan_lines(node))
            lines.append(f"  {step_text(sink._node)}")
        return "\n".join(lines)

    def _ends(self) -> list[Node]:
        return [sink._node for sink in self.sinks] or [dataset._node for dataset in self.datasets.values()]

    def _native(self) -> native.Pipeline:
        policy = on_error_policy({}, self.options)
        return build(self._ends(), pipeline_name=self.name, options=self.options, on_error=policy).native


def from_yaml(file: str | os.PathLike[str] | TextIO, /, **parameters: Any) -> Pipeline:
    r"""Reads a pipeline file.

    Args:
        file: Its path, or an open text file.
        parameters: Values of the file's parameters; a list becomes text with commas, as on the command line.

    Raises:
        UserError: The file is wrong; the message has line, column and the nearest right word.

    Example:
        >>> import io
        >>> text = "parameters: {least: 0}\nsteps: [{range: 3}, {filter: 'id > ${least}'}]"
        >>> pipe = pt.from_yaml(io.StringIO(text), least=1)
        >>> pipe["filter"].take(9)
        [{'id': 2}]
    """
    if isinstance(file, str | os.PathLike):
        path = os.fspath(file)
        try:
            with open(path, encoding="utf-8") as opened:
                text = opened.read()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the pipeline file '{path}': {error}") from None
    else:
        path = str(getattr(file, "name", "pipeline.yaml"))
        text = file.read()
    nodes, form = nodes_of(
        native.Pipeline.from_yaml(text, path, {key: _text(value) for key, value in parameters.items()})
    )
    sinks = [Sink(node, step_text(node)) for node in nodes.values() if _is_sink(node)]
    pipeline = Pipeline(*sinks, name=form["name"], options=form["options"])
    pipeline.datasets = {name: Dataset(node) for name, node in nodes.items() if not _is_sink(node)}
    return pipeline


def _is_sink(node: Node) -> bool:
    return bool(step_specs()[node.op]["kind"] == "sink")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(_text(item) for item in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
