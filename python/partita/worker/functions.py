"""A user's function, made ready to be called on batches."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from . import component, formats
from .component import Manifest
from .errors import BadRowsError, WrongReturnError
from .version import python_version

_OWN = "partita_worker."
_OWN_ELSEWHERE = "partita.worker."
_AT_ONCE = 64  # rows of an async function of rows


@dataclass
class Rows:
    """What a call made: rows, and which input row each of them came of, where that is known."""

    batch: pa.RecordBatch | None
    origins: list[int] | None = None


# Of a batch, the memory that it lies in (None: not to be written to), and how many rows each of its groups has.
Function = Callable[[pa.RecordBatch, memoryview | None, Sequence[int]], Rows]


@dataclass(frozen=True)
class Call:
    """What the user gave: a function or class, with its arguments. Pickled as the payload of a plan."""

    fn: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    constructor_args: tuple[Any, ...] = ()
    constructor_kwargs: dict[str, Any] | None = None

    def made(self) -> tuple[Callable[[Any], Any], Manifest | None]:
        """A callable of one batch or row, and its manifest if it is a component; a class is constructed now."""
        fn = self.fn
        if inspect.isclass(fn):
            fn = fn(*self.constructor_args, **(self.constructor_kwargs or {}))
        if not callable(fn):
            raise WrongReturnError(f"{type(fn).__name__} cannot be called: give its class a method __call__")
        args, kwargs = self.args, self.kwargs or {}
        return lambda value: fn(value, *args, **kwargs), component.manifest_of(fn)


def load(setup: dict[str, Any], payload: bytes, schema: pa.Schema | None) -> Function:
    """The function that a step names, ready."""
    formats.prepare(setup["batch_format"])
    if payload:
        head, _, payload = payload.partition(b"\n")
        mine = python_version()
        made_by = b" ".join(head.split(b" ")[:2])
        if made_by != mine:
            raise WrongReturnError(
                f"the function was made by {made_by.decode(errors='replace')}, and this is {mine.decode()}: "
                "functions that are not in a module run in the Python that made them"
            )
        try:
            fn, args, kwargs, constructor_args, constructor_kwargs = _Unpickler(io.BytesIO(payload)).load()
        except ImportError as error:
            with_versions = b" ".join(head.split(b" ")[2:]).decode(errors="replace")
            raise WrongReturnError(
                f"this Python lacks what the function needs: {error}"
                + (f"; it was made with {with_versions}" if with_versions else "")
            ) from None
        call = Call(fn, args, kwargs, constructor_args, constructor_kwargs)
    else:
        call = Call(
            named(setup["fn"]),
            tuple(setup["fn_args"]),
            setup["fn_kwargs"],
            tuple(setup["fn_constructor_args"]),
            setup["fn_constructor_kwargs"],
        )
    fn, manifest = call.made()
    if manifest is not None and setup["kind"] == "map_batches":
        return _of_component(manifest, fn, setup["batch_format"], schema)
    return ready(setup["kind"], fn, setup["batch_format"], schema, gathers=setup["keeps_going"])


class _Unpickler(pickle.Unpickler):
    """Finds what this package has here, without loading the package around it."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_OWN_ELSEWHERE):
            return getattr(importlib.import_module("." + module.removeprefix(_OWN_ELSEWHERE), __package__), name)
        return super().find_class(module, name)


def named(name: str) -> Any:
    module, _, path = name.partition(":")
    if module.startswith(_OWN):  # in the driver this package has another name
        found: Any = importlib.import_module("." + module.removeprefix(_OWN), __package__)
    else:
        found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def ready(
    kind: str, fn: Callable[[Any], Any], batch_format: str, schema: pa.Schema | None, *, gathers: bool
) -> Function:
    """`gathers`: bad rows are skipped, so that all of a batch are looked for at once."""
    if kind == "map_batches":
        return lambda batch, view, _: Rows(_of_batch(fn, batch, formats.Region(view), batch_format, schema))
    if kind == "map_groups":
        return lambda batch, view, groups: _map_groups(
            fn, batch, formats.Region(view), groups, batch_format, schema, gathers=gathers
        )

    def of_rows(batch: pa.RecordBatch, _: memoryview | None, __: Sequence[int]) -> Rows:
        results = _each(fn, batch.to_pylist(), gathers=gathers, whole=list if kind == "flat_map" else None)
        if kind == "filter_rows":
            return Rows(None, [row for row, keep in enumerate(results) if keep])
        if kind == "map":
            return Rows(formats.rows_taken(results, schema))
        rows = [(origin, row) for origin, made in enumerate(results) for row in made]
        return Rows(formats.rows_taken([row for _, row in rows], schema), [origin for origin, _ in rows])

    return of_rows


# -- Batches ----


def _of_batch(
    fn: Callable[[Any], Any],
    batch: pa.RecordBatch,
    region: formats.Region,
    batch_format: str,
    schema: pa.Schema | None,
) -> pa.RecordBatch | None:
    value, converted = formats.given(batch, batch_format, region)
    result = _waited(fn(value))
    if isinstance(result, Iterator):
        return formats.joined([formats.taken(part, schema, converted) for part in result], schema)
    return formats.taken(result, schema, converted)


def _of_component(
    manifest: Manifest, fn: Callable[[Any], Any], batch_format: str, schema: pa.Schema | None
) -> Function:
    """What it produces stands beside all columns of its rows."""
    wanted = None if schema is None else pa.schema([schema.field(name) for name in manifest.produces])

    def of_batch(batch: pa.RecordBatch, view: memoryview | None, _: Sequence[int]) -> Rows:
        given = batch.select(list(manifest.consumes))
        made = _of_batch(fn, given, formats.Region(view), batch_format, wanted)
        rows = 0 if made is None else made.num_rows
        if made is None or rows != batch.num_rows:
            raise WrongReturnError(f"a component makes a row of each row, and this one made {rows} of {batch.num_rows}")
        if set(made.schema.names) != set(manifest.produces):
            raise WrongReturnError(
                f"the component returned the columns {made.schema.names}, and says that it produces "
                f"{list(manifest.produces)}"
            )
        columns: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
        columns.update({name: made.column(name) for name in manifest.produces})
        if schema is None:
            return Rows(pa.RecordBatch.from_pydict(columns))
        return Rows(pa.RecordBatch.from_arrays([columns[field.name] for field in schema], schema=schema))

    return of_batch


def _map_groups(
    fn: Callable[[Any], Any],
    batch: pa.RecordBatch,
    region: formats.Region,
    groups: Sequence[int],
    batch_format: str,
    schema: pa.Schema | None,
    *,
    gathers: bool,
) -> Rows:
    """Rows come of the first row of their group; a bad "row" is a whole group."""
    parts: list[pa.RecordBatch] = []
    origins: list[int] = []
    bad: list[tuple[int, BaseException]] = []
    start = 0
    for place, rows in enumerate(groups):
        try:
            made = _of_batch(fn, batch.slice(start, rows), region, batch_format, schema)
        except MemoryError:
            raise
        except Exception as error:
            bad.append((place, error))
            if not gathers:
                break
        else:
            if made is not None:
                parts.append(made)
                origins += [start] * made.num_rows
        start += rows
    if bad:
        raise BadRowsError(bad)
    return Rows(formats.joined(parts, schema), origins)


# -- Rows ----


def _each(fn: Callable[[Any], Any], rows: list[Any], *, gathers: bool, whole: Callable[[Any], Any] | None) -> list[Any]:
    bad: list[tuple[int, BaseException]] = []
    results: list[Any] = []
    waiting: list[Any] = []
    for place, row in enumerate(rows):
        try:
            result = fn(row)
            if inspect.isasyncgen(result):
                result = _collected(result)
            if inspect.isawaitable(result):
                waiting.append(result)
            elif whole is not None:
                result = whole(_iterable(result))
            results.append(result)
        except MemoryError:
            raise
        except Exception as error:
            bad.append((place, error))
            if not gathers:
                break
    if waiting and not bad:
        results = _run(_gathered(results))
        for place, result in enumerate(results):
            if isinstance(result, Exception):
                bad.append((place, result))
            elif whole is not None:
                results[place] = whole(_iterable(result))
    else:
        for left in waiting:
            if inspect.iscoroutine(left):
                left.close()  # nobody will wait for it
    if bad:
        raise BadRowsError(bad)
    return results


def _iterable(result: Any) -> Iterable[Any]:
    if isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
        return result
    raise WrongReturnError(f"the function must return rows as a list or yield them, not {type(result).__name__}")


async def _gathered(results: list[Any]) -> list[Any]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(result: Any) -> Any:
        if not inspect.isawaitable(result):
            return result
        async with limit:
            return await result

    return await asyncio.gather(*(one(result) for result in results), return_exceptions=True)


# -- Coroutines ----

_own = threading.local()


def _run(coroutine: Any) -> Any:
    """On the worker's one event loop: what a class opened in one call is there in the next."""
    if not hasattr(_own, "loop"):
        _own.loop = asyncio.new_event_loop()
    return _own.loop.run_until_complete(coroutine)


async def _collected(generator: Any) -> list[Any]:
    return [item async for item in generator]


async def _awaited(result: Any) -> Any:
    return await result


def _waited(result: Any) -> Any:
    if inspect.isasyncgen(result):
        return iter(_run(_collected(result)))
    if inspect.isawaitable(result):
        return _run(_awaited(result))
    return result
