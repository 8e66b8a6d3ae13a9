"""Rows on the workers of a Dask cluster: taken as a dataset, and made of one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask
import distributed
import pandas as pd
import pyarrow as pa
from distributed import Client, Future

from .._graph import Node
from ..errors import UserError
from .blocks import RemoteRows, common_schema, conformed

if TYPE_CHECKING:
    import dask.dataframe

FETCH_SECONDS = 60.0  # for a block that was lost to be made again; then the task is


class Rows(RemoteRows):
    """Futures of tables, by key. The program that made them holds the futures."""

    kind = "dask"

    def __init__(self, schema: pa.Schema, blocks: Sequence[tuple[int, int]], where: Any, held: Any = None) -> None:
        super().__init__(schema, blocks, where)
        self.held = held

    def names(self) -> Sequence[str]:
        return [str(key) for key in self.where["keys"]]

    def fetch(self, block: int) -> pa.Table:
        if self.held is not None:
            return conformed(self.held[block].result(), self.schema)
        client, key = _client_of(self.where["scheduler"]), self.where["keys"][block]
        future = Future(key, client=client, state="memory")
        # So that the scheduler tells when what a worker has lost is there again.
        client._send_to_scheduler({"op": "client-desires-keys", "keys": [key]})
        return conformed(future.result(timeout=FETCH_SECONDS), self.schema)


class LocalRows(RemoteRows):
    """Partitions that this process computes when they are read: there is no cluster."""

    kind = "dask"

    def names(self) -> Sequence[str]:
        return [str(part.key) for part in self.where]

    def fetch(self, block: int) -> pa.Table:
        return conformed(_as_table(self.where[block].compute()), self.schema)


def node_of(frame: Any, name: str | None) -> Node:
    """The step that reads the rows of a Dask DataFrame; its partitions stay where they are computed."""
    if not hasattr(frame, "to_delayed") or not hasattr(frame, "columns"):
        raise UserError(f"from_dask takes a Dask DataFrame, not {type(frame).__name__}")
    parts = frame.to_delayed()
    client = _default_client()
    if client is None:
        described = dask.compute(*[dask.delayed(_describe_frame)(part) for part in parts])
        return LocalRows(_schema_of(described), _sizes_of(described), parts).node(name)
    frames = client.compute(list(parts))  # in the cluster; each is freed when its table is made
    tables = client.map(_as_table, frames, pure=False, key="partita-table")
    described = client.gather(client.map(_describe, tables, pure=False, key="partita-describe"))
    where = {"scheduler": client.scheduler.address, "keys": [future.key for future in tables]}
    return Rows(_schema_of(described), _sizes_of(described), where, held=tables).node(name)


def as_dask(parts: Sequence[Any], schema: pa.Schema, dtype_backend: str) -> dask.dataframe.DataFrame:
    """A Dask DataFrame of futures, or delayed values, of tables."""
    import dask.dataframe

    convert = functools.partial(as_frame, dtype_backend=dtype_backend)
    meta = as_frame(schema.empty_table(), dtype_backend)
    client = _default_client()
    frames: list[Any]
    if client is not None and all(isinstance(part, Future) for part in parts):
        frames = client.map(convert, list(parts), pure=False, key="partita-frame")
    else:
        frames = [dask.delayed(convert)(part) for part in parts]
    return dask.dataframe.from_delayed(frames or [dask.delayed(meta)], meta=meta, verify_meta=False)


def as_frame(table: pa.Table, dtype_backend: str) -> pd.DataFrame:
    return table.to_pandas(types_mapper=pd.ArrowDtype if dtype_backend == "pyarrow" else None)


def has_client() -> bool:
    return _default_client() is not None


def put(table: pa.Table) -> pa.Table:
    """What this process computed, it holds."""
    return table


def _default_client() -> Any:
    try:
        return distributed.default_client()
    except ValueError:
        return None


_clients: dict[str, Any] = {}
_connecting = threading.Lock()


def _client_of(scheduler: str) -> Any:
    """Of this process, which is a worker: one serves all threads and runs."""
    with _connecting:
        client = _clients.get(scheduler)
        if client is None or client.status != "running":
            client = _clients[scheduler] = Client(
                scheduler, set_as_default=False, direct_to_workers=True, name="partita-rows"
            )
        return client


def _as_table(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    return pa.Table.from_pandas(frame, preserve_index=frame.index.name is not None).replace_schema_metadata(None)


def _describe(table: pa.Table) -> tuple[int, int, bytes]:
    return table.num_rows, table.nbytes, table.schema.serialize().to_pybytes()


def _describe_frame(frame: Any) -> tuple[int, int, bytes]:
    return _describe(_as_table(frame))


def _schema_of(described: Sequence[tuple[int, int, bytes]]) -> pa.Schema:
    return common_schema([pa.ipc.read_schema(pa.py_buffer(text)) for _, _, text in described])


def _sizes_of(described: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, int]]:
    return [(rows, size) for rows, size, _ in described]
