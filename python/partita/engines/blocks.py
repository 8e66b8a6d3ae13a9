"""Rows that lie in a cluster, in blocks: each is a partition, and is got by the worker that runs its task.

A dataset of such rows names them by what the cluster calls its blocks, with their rows and bytes: a program that has
the same blocks goes on where another stopped; one that makes them anew has others.
"""

from __future__ import annotations

import hashlib
import importlib
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar, TypedDict

import pyarrow as pa

from .._graph import Node, make_node
from .._native import native, session
from ..errors import UserError

# How a worker makes rows of a kind again, and the engines whose workers can.
_MODULES = {"ray": "ray_rows", "dask": "dask_rows"}
ENGINES = {"ray": ("ray",), "dask": ("dask",)}


class RemoteForm(TypedDict):
    """Remote rows on their way to a worker: plain values, and references as the cluster sends them."""

    kind: str
    id: str
    schema: bytes
    blocks: list[tuple[int, int]]  # rows and bytes of each
    where: Any


class RemoteRows:
    """Blocks of one cluster. `fetch` may be called from any thread, also twice."""

    kind: ClassVar[str]
    fetch_copies: ClassVar[bool] = True  # into this process's memory; not: they are read where they lie

    def __init__(self, schema: pa.Schema, blocks: Sequence[tuple[int, int]], where: Any) -> None:
        self.schema = schema
        self.blocks = list(blocks)
        self.where = where

    def names(self) -> Sequence[str]:
        """What the cluster calls the blocks."""
        raise NotImplementedError

    def fetch(self, block: int) -> pa.Table:
        """The rows of a block, with columns of the schema."""
        raise NotImplementedError

    def keep(self, name: str) -> native.Blocks:
        """Makes them known to this process's session, for as long as the result lives."""
        kept = native.add_blocks(session, name, self.schema, self.blocks, self.fetch, self.fetch_copies)
        _known[kept.id] = self
        return kept

    def node(self, name: str | None) -> Node:
        """The step that reads them."""
        digest = hashlib.sha256(repr([self.kind, *self.names(), self.blocks, str(self.schema)]).encode())
        kept = self.keep(f"blocks-{digest.hexdigest()[:32]}")
        return make_node("from_memory", {"id": kept.id}, name=name, keep=kept)


_known: weakref.WeakValueDictionary[str, RemoteRows] = weakref.WeakValueDictionary()


def form_of(name: str, engine: str) -> RemoteForm | None:
    """What a worker of the engine is told of remote rows; None: rows of that name lie in this process's memory."""
    rows = _known.get(name)
    if rows is None:
        return None
    if engine not in ENGINES[rows.kind]:
        raise UserError(
            f"workers of the engine {engine} cannot read rows that lie in a {rows.kind.capitalize()} cluster",
            hint=f"use the engine {' or '.join(ENGINES[rows.kind])}, or local",
        )
    schema = rows.schema.serialize().to_pybytes()
    return {"kind": rows.kind, "id": name, "schema": schema, "blocks": rows.blocks, "where": rows.where}


def opened(form: RemoteForm) -> native.Blocks:
    """The rows in a worker."""
    kind: type[RemoteRows] = importlib.import_module("." + _MODULES[form["kind"]], __package__).Rows
    schema = pa.ipc.read_schema(pa.py_buffer(form["schema"]))
    return kind(schema, form["blocks"], form["where"]).keep(form["id"])


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Of all blocks: a column that is all null in one block has the type that it has in others.

    Metadata is left out: it is pandas' or the cluster's own.
    """
    if not schemas:
        raise UserError("there is no block, so that nothing says which columns there are")
    plain = {schema.remove_metadata(): None for schema in schemas}
    try:
        return pa.unify_schemas([pa.schema([(f.name, f.type) for f in s]) for s in plain], promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(f"the blocks have different columns: {error}") from None


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table if table.schema.equals(schema) else table.select(schema.names).cast(schema)
