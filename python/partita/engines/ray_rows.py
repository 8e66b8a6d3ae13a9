"""Rows in the object store of a Ray cluster: taken as a dataset, and made of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import ray
from ray.exceptions import RayError

from .._graph import Node
from ..errors import RunEnvironmentError, UserError
from .blocks import RemoteRows, common_schema, conformed
from .contract import first_line

if TYPE_CHECKING:
    import ray.data


class Rows(RemoteRows):
    """Objects, read in the store of the node where they are wanted: Ray brings them there."""

    kind = "ray"
    fetch_copies: ClassVar[bool] = False

    def names(self) -> Sequence[str]:
        return [reference.hex() for reference in self.where]

    def fetch(self, block: int) -> pa.Table:
        return conformed(_as_table(ray.get(self.where[block])), self.schema)


def node_of(data: Any, name: str | None) -> Node:
    """The step that reads the rows of a `ray.data.Dataset`, or of references to tables."""
    if not ray.is_initialized():
        raise UserError("this program has no connection to a Ray cluster", hint="call ray.init first")
    references = data.to_arrow_refs() if hasattr(data, "to_arrow_refs") else list(data)
    if any(not hasattr(reference, "hex") or isinstance(reference, bytes) for reference in references):
        raise UserError("from_ray takes a ray.data.Dataset, or a list of references to Arrow tables")
    described = ray.get([ray.remote(_describe).remote(reference) for reference in references])
    schema = common_schema([pa.ipc.read_schema(pa.py_buffer(text)) for _, _, text in described])
    return Rows(schema, [(rows, size) for rows, size, _ in described], references).node(name)


def as_ray(references: Sequence[Any], schema: pa.Schema) -> ray.data.Dataset:
    import ray.data

    try:
        found: list[Any] = list(references) or [ray.put(schema.empty_table())]
        return ray.data.from_arrow_refs(found)
    except RayError as error:
        raise RunEnvironmentError(
            f"rows that were handed over are lost: {first_line(error)}",
            hint="run it again; write_parquet keeps rows where a node may be lost",
        ) from None


def put(table: pa.Table) -> Any:
    return ray.put(table)


def _describe(block: Any) -> tuple[int, int, bytes]:
    """Runs where the object is."""
    table = _as_table(block)
    return table.num_rows, table.nbytes, table.schema.serialize().to_pybytes()


def _as_table(block: Any) -> pa.Table:
    if isinstance(block, pa.Table):
        return block
    if isinstance(block, pa.RecordBatch):
        return pa.Table.from_batches([block])
    if isinstance(block, bytes):  # as Ray Data takes them
        return pa.ipc.open_stream(block).read_all()
    if type(block).__module__.startswith("pandas"):
        return pa.Table.from_pandas(block, preserve_index=False)
    raise UserError(f"a block of from_ray is an Arrow table or a pandas DataFrame, not {type(block).__name__}")
