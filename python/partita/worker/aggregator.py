"""Aggregates that a user writes: states of the groups in each batch, and what becomes of all states of a group."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from . import formats
from .errors import WrongReturnError

STATE = "__state"


class Partial:
    """Of a batch, one row a group: its keys and the state of its rows."""

    def __init__(self, aggregator: Any, keys: Sequence[str], batch_format: str) -> None:
        self._aggregator = aggregator() if isinstance(aggregator, type) else aggregator
        self._keys = list(keys)
        self._format = batch_format

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        keys = pa.Table.from_batches([batch.select(self._keys)])
        rows = keys.append_column(STATE, pa.array(range(len(batch)), pa.int64()))
        groups = rows.group_by(self._keys, use_threads=False).aggregate([(STATE, "list")])
        states, firsts = [], []
        for places in groups[f"{STATE}_list"].to_pylist():
            group, _ = formats.given(batch.take(pa.array(places)), self._format, formats.Region(None))
            states.append(pickle.dumps(self._aggregator.add(self._aggregator.start(), group)))
            firsts.append(places[0])
        found = batch.select(self._keys).take(pa.array(firsts, pa.int64()))
        return found.append_column(STATE, pa.array(states, pa.binary()))


class Whole:
    """Of all states of a group, in the order of the dataset, one row: its keys and what becomes of them."""

    def __init__(self, aggregator: Any, keys: Sequence[str]) -> None:
        self._aggregator = aggregator() if isinstance(aggregator, type) else aggregator
        self._keys = list(keys)

    def __call__(self, group: pa.RecordBatch) -> dict[str, Any]:
        states = [pickle.loads(state) for state in group[STATE].to_pylist()]
        state = states[0]
        for other in states[1:]:
            state = self._aggregator.merge(state, other)
        found = self._aggregator.finish(state)
        if not isinstance(found, Mapping):
            raise WrongReturnError(f"finish must return a dict of values, not {type(found).__name__}")
        keys = {key: group[key].slice(0, 1) for key in self._keys}
        return {**keys, **{name: [value] for name, value in found.items()}}
