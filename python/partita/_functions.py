"""Python functions as steps: what travels to the workers, and which columns a function returns."""

from __future__ import annotations

import atexit
import base64
import importlib.machinery
import json
import logging
import os
import pathlib
import pickletools
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypedDict

import pyarrow as pa

from ._native import native
from .errors import UserError
from .expressions import TypeLike, type_text
from .worker.component import Manifest
from .worker.version import python_version

OPS = ("map_batches", "map", "flat_map", "filter_rows", "map_groups")
SchemaLike: TypeAlias = "pa.Schema | Mapping[str, TypeLike | type] | str"

SAMPLE_ROWS = 16
_WORKER = pathlib.Path(__file__).resolve().parent / "worker" / "__main__.py"
_LARGE_PAYLOAD_BYTES = 8 << 20
_PROGRAM = "partita_worker.program:Program"


@dataclass(frozen=True)
class Actors:
    """Worker processes that stay, for a class whose making is dear: at least `min`, at most `max`.

    More are started while batches wait, and idle ones end after some seconds, down to `min`.

    Args:
        min: Processes that stay though nothing waits for them.
        max: Processes at most; None: as many as `min`, at least one.

    Example:
        >>> pt.Actors(1, 4)
        Actors(min=1, max=4)
    """

    min: int = 1
    max: int | None = None


class Aggregator(Protocol):
    """What `GroupBy.aggregate` takes: any object or class with these methods; none need be inherited.

    A state is anything that pickle takes. States of batches are merged in the order of the dataset.

    Example:
        >>> class Product:
        ...     def start(self):
        ...         return 1
        ...     def add(self, state, rows):
        ...         return state * int(rows["v"].prod())
        ...     def merge(self, state, other):
        ...         return state * other
        ...     def finish(self, state):
        ...         return {"product": state}
        >>> groups = pt.from_pydict({"k": ["a", "b", "a"], "v": [2, 3, 5]}).group_by("k")
        >>> groups.aggregate(Product).sort("k").take(2)
        [{'k': 'a', 'product': 10}, {'k': 'b', 'product': 3}]
    """

    def start(self) -> Any:
        """The state of no rows."""

    def add(self, state: Any, rows: Any) -> Any:
        """The state with the rows of a batch that are of one group.

        Args:
            state: Of rows before.
            rows: In `batch_format`.
        """

    def merge(self, state: Any, other: Any) -> Any:
        """The state of the rows of both.

        Args:
            state: Of rows before those of `other`.
            other: Of later rows.
        """

    def finish(self, state: Any) -> Mapping[str, Any]:
        """The values of a group, by the name of their column.

        Args:
            state: Of all its rows.
        """


@dataclass(frozen=True)
class Program:
    """A program as the function of `map_batches` or `map_groups`: it speaks Arrow IPC on its standard streams.

    For each batch it gets one Arrow IPC stream on standard input and answers with one on standard output; then it reads
    the next, or ends and is started again for it. What it says on standard error is shown with the step's name.

    Args:
        command: The program and its arguments.
        once: Whether it is started for each batch, and its input ends behind the stream.
        manifest: Set by `pt.component`.

    Example:
        >>> cat = pt.Program(["cat"], once=True)
        >>> pt.range(3).map_batches(cat, schema={"id": "int64"}).take(2)
        [{'id': 0}, {'id': 1}]
    """

    command: Sequence[str]
    once: bool = False
    manifest: Manifest | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Threads:
    """At most `n` threads of this process, for functions that let go of the interpreter's lock; None: as many as the
    run has threads. A class is made once in each.

    Args:
        n: Threads at most.

    Example:
        >>> pt.range(3).map_batches(lambda batch: {"x": batch["id"] * 2}, compute=pt.Threads(2)).take(2)
        [{'x': 0}, {'x': 2}]
    """

    n: int | None = None


@dataclass(frozen=True)
class Inline:
    """One thread of this process, where debuggers see the function: `breakpoint()` and `pdb` work.

    Example:
        >>> pt.range(3).map_batches(lambda batch: {"x": batch["id"] * 2}, compute=pt.Inline()).take(2)
        [{'x': 0}, {'x': 2}]
    """


@dataclass(frozen=True)
class Tasks:
    """At most `n` worker processes; None: as many as the run has threads.

    Example:
        >>> pt.Tasks(2)
        Tasks(n=2)
    """

    n: int | None = None


class FunctionOptions(TypedDict, total=False):
    """How and where a step runs its function: arguments that all steps with functions take.

    Args:
        fn_args: Further arguments of every call.
        fn_kwargs: Keyword arguments of every call.
        fn_constructor_args: Arguments of the class.
        fn_constructor_kwargs: Keyword arguments of the class.
        compute: `pt.Actors(min, max)` or `pt.Tasks(n)`: how many worker processes. `pt.Threads(n)`: threads of this
            process. `pt.Inline()`: one of them, for debuggers.
        concurrency: The same as a number, or as (least, most).
        memory: Bytes (`"512MiB"`) that a worker may allocate beside what it has after its start: claimed from the
            budget, and more is an error. None: what it turns out to need is claimed from time to time, and more than
            the whole budget is an error.
        num_cpus: Processor cores that a worker keeps busy; 1 by default. Without `concurrency` there are as many
            workers as fit in the run's threads, one at least.
        num_gpus: GPUs of a worker, or a share of one like 0.5: `CUDA_VISIBLE_DEVICES` names them in its process. There
            are no more workers at once than they are enough for.
        resources: What a worker holds while it lives, and how many of it: `{"licence": 1}`. The run's option
            `resources` says how many there are; there are no more workers at once than they are enough for.
        timeout: Seconds of one batch, after which its worker is ended.
        retries: More attempts at a batch whose worker ended; 1 by default.
        deterministic: Whether the same batch gives the same rows; True by default.
        on_error: What becomes of rows on which the function fails: `"fail"` (the run), `"skip"` or `"quarantine"`. In
            batches they are found by halving; the batch then runs again without them.
        name: The step's name in progress, stats and errors.

    Example:
        >>> options: pt.FunctionOptions = {"concurrency": 2, "on_error": "skip"}
        >>> pt.range(3).map(lambda row: {"x": 6 // row["id"]}, schema={"x": "int64"}, **options).take(3)
        [{'x': 6}, {'x': 3}]
    """

    fn_args: Sequence[Any] | None
    fn_kwargs: Mapping[str, Any] | None
    fn_constructor_args: Sequence[Any] | None
    fn_constructor_kwargs: Mapping[str, Any] | None
    compute: Actors | Tasks | Threads | Inline | None
    concurrency: int | tuple[int, int] | None
    memory: int | str | None
    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float] | None
    timeout: float | str | None
    retries: int
    deterministic: bool
    on_error: str | None
    name: str | None


class Function:
    """What a step runs, held by its node: the name of its payload, and the columns it returns once they are known."""

    def __init__(self, name: str, payload: bytes | None) -> None:
        self.name = name
        self.payload = payload
        self.schema: str | None = None
        if payload is not None:
            native.add_payload(payload)

    def __reduce__(self) -> tuple[object, ...]:
        return (Function, (self.name, self.payload))  # the process that loads it knows the payload then


def set_runtime() -> None:
    """Tells the engine which Python runs functions, and what it can import."""
    native.set_python_runtime(sys.executable, str(_WORKER), _sys_path(), logging.getLogger().level)
    native.set_local_host(_start_local)


def _start_local(jobs: native.LocalJobs) -> None:
    from .worker import local  # NumPy is loaded when it is needed

    atexit.unregister(native.end_local)  # once
    atexit.register(native.end_local)
    local.start(jobs)


def _sys_path() -> list[str]:
    return [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path]


def pack(fn: Callable[..., Any] | Program | str, options: FunctionOptions) -> tuple[dict[str, Any], Function]:
    """The arguments of a step that runs `fn`, and what its node keeps."""
    if unknown := sorted(set(options) - set(FunctionOptions.__annotations__)):
        nearest = native.nearest_name(unknown[0], sorted(FunctionOptions.__annotations__))
        raise UserError(
            f"there is no argument {unknown[0]!r}" + (f"; did you mean {nearest!r}?" if nearest else ""),
            hint="see pt.FunctionOptions",
        )
    if isinstance(fn, Program):
        of_program: list[Any] = [list(fn.command), fn.once]
        if fn.manifest is not None:
            of_program += [list(fn.manifest.consumes), list(fn.manifest.produces)]
        given: dict[str, Any] = {
            "fn": _PROGRAM,
            "fn_constructor_args": of_program,
            "batch_format": "arrow",
        }
        return given, Function(fn.command[0], None)
    args, kwargs = list(options.get("fn_args") or ()), dict(options.get("fn_kwargs") or {})
    made_of = list(options.get("fn_constructor_args") or ()), dict(options.get("fn_constructor_kwargs") or {})
    if isinstance(fn, str):
        given = {
            "fn": fn,
            "fn_args": args or None,
            "fn_kwargs": kwargs or None,
            "fn_constructor_args": made_of[0] or None,
            "fn_constructor_kwargs": made_of[1] or None,
        }
        return given, Function(fn, None)
    name = getattr(fn, "__qualname__", type(fn).__qualname__).replace("<locals>.", "")
    if not callable(fn):
        raise UserError(
            f"a function is needed, not {type(fn).__name__}", hint="give a function, a class, or 'package.module:name'"
        )
    if not isinstance(fn, type) and any(made_of):
        raise UserError(f"{name} is no class: it takes no constructor arguments", hint="use fn_args and fn_kwargs")
    call = (fn, tuple(args), kwargs, tuple(made_of[0]), made_of[1])
    pickled = _pickled(call, fn, name)
    payload = b" ".join([python_version(), *_packages(pickled)]) + b"\n" + pickled
    if len(payload) > _LARGE_PAYLOAD_BYTES:
        warnings.warn(
            f"{name} carries {len(payload) / 2**20:.0f} MiB to every worker: what it refers to goes with it; "
            "load large things in the constructor of a class",
            stacklevel=5,
        )
    return {"fn": native.add_payload(payload)}, Function(name, payload)


def _pickled(value: object, fn: object, name: str) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        raise UserError(
            "functions of a script need cloudpickle",
            hint="pip install cloudpickle, or name a function of a module: 'package.module:function'",
        ) from None
    module = sys.modules.get(getattr(fn, "__module__", None) or "")
    by_value = module is not None and module.__name__ != "__main__" and not _importable(module)
    try:
        if by_value:
            cloudpickle.register_pickle_by_value(module)
        pickled: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise UserError(
            f"{name} cannot be sent to a worker process: {error}",
            hint="make what it refers to inside the function, or in the constructor of a class",
        ) from None
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return pickled


def _packages(pickled: bytes) -> list[bytes]:
    """The packages that a pickle names, with their versions: a worker of another Python is told what it lacks."""
    named = {str(arg).partition(".")[0] for _, arg, _ in pickletools.genops(pickled) if isinstance(arg, str)}
    versions = {name: getattr(sys.modules[name], "__version__", None) for name in named if name in sys.modules}
    return [f"{name}={version}".encode() for name, version in sorted(versions.items()) if isinstance(version, str)]


def _importable(module: types.ModuleType) -> bool:
    """Whether another process finds the module, by the same path."""
    top = module.__name__.partition(".")[0]
    if top in sys.builtin_module_names:
        return True
    spec = importlib.machinery.PathFinder.find_spec(top)
    if spec is None:
        return False
    own = getattr(sys.modules.get(top), "__file__", None)
    return own is None or spec.origin is None or os.path.realpath(own) == os.path.realpath(spec.origin)


def schema_text(schema: SchemaLike | None) -> str | None:
    """Output columns as plans hold them."""
    if schema is None or isinstance(schema, str):
        return schema
    if isinstance(schema, pa.Schema):
        return native.type_text(pa.struct(list(schema)))
    if isinstance(schema, Mapping):
        columns = ", ".join(f"{_quoted(name)}: {type_text(dtype)}" for name, dtype in schema.items())
        return f"struct<{columns}>"
    raise UserError(
        f"schema must be a pyarrow schema, a mapping of column to type, or text, not {type(schema).__name__}"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def physical(options: FunctionOptions) -> dict[str, Any]:
    """The arguments of a step that say how it runs; what is as it is by default is left out."""
    compute = options.get("compute")
    least, most = _workers(compute, options.get("concurrency"))
    retries = options.get("retries", 1)
    return {
        "compute": "inline" if isinstance(compute, Inline) else "threads" if isinstance(compute, Threads) else None,
        "concurrency": most,
        "min_concurrency": least or None,
        "memory": options.get("memory"),
        "num_cpus": options.get("num_cpus"),
        "num_gpus": options.get("num_gpus"),
        "resources": dict(options.get("resources") or {}) or None,
        "timeout": options.get("timeout"),
        "retries": None if retries == 1 else retries,
        "deterministic": options.get("deterministic", True),
    }


def _workers(
    compute: Actors | Tasks | Threads | Inline | None, concurrency: int | tuple[int, int] | None
) -> tuple[int | None, int | None]:
    """(least, most) worker processes."""
    if compute is not None and concurrency is not None:
        raise UserError("compute and concurrency say the same: give one of them")
    if isinstance(compute, Actors):
        return compute.min, compute.max if compute.max is not None else max(compute.min, 1)
    if isinstance(compute, Inline):
        return None, None
    if isinstance(compute, Tasks | Threads):
        return None, compute.n
    if compute is not None:
        raise UserError(
            f"compute must be pt.Actors(min, max), pt.Tasks(n), pt.Threads(n) or pt.Inline(), not {compute!r}",
            hint="or use concurrency=4",
        )
    if isinstance(concurrency, tuple):
        return concurrency
    return None, concurrency


def infer_schema(
    op: str, args: Mapping[str, Any], function: Function | None, sample: pa.RecordBatch, *, keeps_going: bool
) -> str:
    """The columns that a function returns, by calling it on the first rows in a process of its own."""
    payload = function.payload if function is not None and function.payload is not None else b""
    setup = {
        "kind": op,
        "fn": args["fn"],
        "batch_format": args.get("batch_format") or "numpy",
        "by": args.get("by") or [],
        "keeps_going": keeps_going,
        "payload_bytes": len(payload),
        "sys_path": _sys_path(),
        "fn_args": args.get("fn_args") or [],
        "fn_kwargs": args.get("fn_kwargs") or {},
        "fn_constructor_args": args.get("fn_constructor_args") or [],
        "fn_constructor_kwargs": args.get("fn_constructor_kwargs") or {},
    }
    name = function.name if function is not None else args["fn"]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, sample.schema) as writer:
        writer.write_batch(sample)
    stream = sink.getvalue().to_pybytes()
    if args.get("compute") == "inline":
        from .worker.infer import answered

        answer = answered(setup, payload, stream)  # debuggers see it here, too
    else:
        said, end = native.infer_columns(name, json.dumps(setup).encode() + b"\n" + payload + stream)
        if not said:
            raise UserError(
                f"{name} ended its process ({end}) on the first rows",
                hint="say what it returns with schema, and see what on_error makes of it",
            )
        answer = json.loads(said)
    hint = "say what it returns: schema={'column': 'type', …}"
    if "error" in answer:
        raise UserError(f"{name} failed on the first {sample.num_rows} rows:\n{answer['error']}", hint=hint)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(answer["schema"])))
    unknown = [field.name for field in schema if pa.types.is_null(field.type)]
    if unknown or len(schema) == 0:
        what = f"column '{unknown[0]}'" if unknown else "its columns"
        raise UserError(f"{name} does not show the type of {what} on the first {sample.num_rows} rows", hint=hint)
    return native.type_text(pa.struct(list(schema)))
