"""Partita: declared data pipelines, run inside a memory budget.

    import partita as pt

    ds = pt.read_parquet("urls/").filter(pt.col("width") >= 256)
    ds.write_webdataset("out/", rows_per_shard=10_000)

A dataset is lazy and never changes; `write_…`, `take`, `to_arrow` and their like run it. See `pt.options` for the run
options and `pt.components()` for the ready steps.
"""

from __future__ import annotations

from . import _native  # first: checks pyarrow and loads the native module
from ._functions import Actors, Aggregator, FunctionOptions, Inline, Program, Tasks, Threads, set_runtime
from .aggregates import Aggregate, count
from .catalog import components, describe
from .conditions import when
from .dataset import Dataset
from .errors import (
    BugError,
    CancelledError,
    DataError,
    PartitaError,
    ResourceError,
    RunEnvironmentError,
    UserError,
)
from .expressions import Expr, col, func, lit, sql
from .from_clusters import from_dask, from_ray
from .from_memory import from_arrow, from_items, from_numpy, from_pandas, from_polars, from_pydict
from .group import Group
from .grouping import GroupBy
from .ingest import BatchIterator, Shard
from .manifests import component
from .options import Options, RunOptions, options
from .pipelines import Pipeline, from_yaml
from .runs import RunResult, Sink, WrittenDataset, WrittenFile, run
from .shapes import variable_shape_tensor
from .sources import range_ as range  # noqa: A004  # as Ray Data and Spark have it
from .sources import (
    read_csv,
    read_files,
    read_jsonl,
    read_parquet,
    read_text,
    read_webdataset,
)
from .stats import RunStats, StepStats
from .training import Mixture, mix

set_runtime()  # plans that name functions run in this Python

__version__: str = _native.native.BUILD_VERSION

__all__ = [
    "Actors",
    "Aggregate",
    "Aggregator",
    "BatchIterator",
    "BugError",
    "CancelledError",
    "DataError",
    "Dataset",
    "Expr",
    "FunctionOptions",
    "Group",
    "GroupBy",
    "Inline",
    "Mixture",
    "Options",
    "PartitaError",
    "Pipeline",
    "Program",
    "ResourceError",
    "RunEnvironmentError",
    "RunOptions",
    "RunResult",
    "RunStats",
    "Shard",
    "Sink",
    "StepStats",
    "Tasks",
    "Threads",
    "UserError",
    "WrittenDataset",
    "WrittenFile",
    "__version__",
    "col",
    "component",
    "components",
    "count",
    "describe",
    "from_arrow",
    "from_dask",
    "from_items",
    "from_numpy",
    "from_pandas",
    "from_polars",
    "from_pydict",
    "from_ray",
    "from_yaml",
    "func",
    "lit",
    "mix",
    "options",
    "range",
    "read_csv",
    "read_files",
    "read_jsonl",
    "read_parquet",
    "read_text",
    "read_webdataset",
    "run",
    "sql",
    "variable_shape_tensor",
    "when",
]
