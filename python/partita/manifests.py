"""Components of the user's own: classes, functions and programs with a manifest, applied as ready steps are."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pyarrow as pa

from ._functions import FunctionOptions, Program, schema_text
from ._native import native
from .errors import UserError
from .expressions import TypeLike, type_text
from .worker.component import Manifest
from .worker.component import manifest_of as known_manifest

C = TypeVar("C")
_CHECKED = (bool, int, float, str, bytes, list, dict)


def component(
    *,
    consumes: Mapping[str, TypeLike | type],
    produces: Mapping[str, TypeLike | type],
    name: str | None = None,
    version: str = "1",
    batch_size: int | str = 1024,
    batch_format: str = "numpy",
) -> Callable[[C], C]:
    """Makes a component of a class, a function or a `pt.Program`: a step with a manifest, for `Dataset.apply`.

    It is given the columns that it consumes, and returns those that it produces, a row for each row; all other columns
    of the rows stay as they are, beside the produced ones or replaced by them. Arguments of the class's constructor
    (or of the function, behind the batch) are the component's arguments.

    Args:
        consumes: Columns and their types, `{"text": "string"}`. Rows without them are refused when the step is made.
        produces: Columns and their types.
        name: What `pt.describe` and errors call it; None: the name of the class or function, like `text_length` of
            `TextLength`.
        version: For people; `pt.describe` tells it.
        batch_size: As for `map_batches`.
        batch_format: As for `map_batches`. A program always gets Arrow.

    Example:
        >>> @pt.component(consumes={"text": "string"}, produces={"length": "int64"})
        ... class TextLength:
        ...     'Counts the letters of texts.'
        ...     def __init__(self, most: int = 100):
        ...         self.most = most
        ...     def __call__(self, batch):
        ...         return {"length": [min(self.most, len(text)) for text in batch["text"]]}
        >>> pt.from_pydict({"id": [1, 2], "text": ["a", "four"]}).apply(TextLength, most=3).take(2)
        [{'id': 1, 'text': 'a', 'length': 1}, {'id': 2, 'text': 'four', 'length': 3}]
        >>> print(pt.describe(TextLength))
        text_length 1: Counts the letters of texts.
          consumes text: string
          produces length: int64
          most  int = 100
    """
    if not consumes or not produces:
        raise UserError("a component consumes a column and produces one, at least")
    columns = [{key: native.canonical_type(type_text(t)) for key, t in of.items()} for of in (consumes, produces)]

    def made(of: C) -> C:
        told = of.command[0] if isinstance(of, Program) else getattr(of, "__name__", type(of).__name__)
        manifest = Manifest(
            name if name is not None else _snake(told),
            version,
            "" if isinstance(of, Program) else (inspect.getdoc(of) or "").partition("\n")[0],
            columns[0],
            columns[1],
            batch_size,
            "arrow" if isinstance(of, Program) else batch_format,
        )
        if isinstance(of, Program):
            return dataclasses.replace(of, manifest=manifest)
        if not callable(of):
            raise UserError(f"{told} is no class, function or pt.Program")
        of.manifest = manifest  # type: ignore[attr-defined]
        return of

    return made


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition("/")[2]).lower()


def manifest_of(of: object) -> Manifest:
    found = known_manifest(of)
    if found is None:
        told = getattr(of, "__name__", type(of).__name__)
        raise UserError(
            f"{told} is no component", hint="make it one with @pt.component(…), or give it to ds.map_batches"
        )
    return found


def _parameters(of: Any) -> dict[str, inspect.Parameter]:
    """The arguments of a component, by name."""
    if isinstance(of, Program):
        return {}
    parameters = list(inspect.signature(of).parameters.values())
    return {parameter.name: parameter for parameter in (parameters if isinstance(of, type) else parameters[1:])}


def describe_own(of: Any) -> str:
    manifest = manifest_of(of)
    lines = [f"{manifest.name} {manifest.version}" + (f": {manifest.summary}" if manifest.summary else "")]
    for word, columns in (("consumes", manifest.consumes), ("produces", manifest.produces)):
        lines.append(f"  {word} " + (", ".join(f"{key}: {dtype}" for key, dtype in columns.items()) or "nothing"))
    for parameter in _parameters(of).values():
        kind = "any" if parameter.annotation is parameter.empty else parameter.annotation
        text = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
        rest = ", required" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"  {parameter.name}  {text}{rest}")
    return "\n".join(lines)


def apply_own(ds: Any, of: Any, args: Mapping[str, Any], options: FunctionOptions) -> Any:
    """The rows behind a step of the component."""
    manifest = manifest_of(of)
    _check_arguments(of, manifest, args)
    schema = ds.schema()
    _check_columns(manifest, schema)
    given: FunctionOptions = {**options}
    if args:
        given["fn_constructor_kwargs" if isinstance(of, type) else "fn_kwargs"] = args
    return ds.map_batches(
        of,
        batch_size=manifest.batch_size,
        batch_format=manifest.batch_format,
        schema=_schema_behind(manifest, schema),
        per_row=True,
        **given,
    )


def _check_arguments(of: Any, manifest: Manifest, args: Mapping[str, Any]) -> None:
    parameters = _parameters(of)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in args:
        if key not in parameters and not takes_any:
            nearest = native.nearest_name(key, sorted(parameters))
            raise UserError(
                f"{manifest.name} has no argument {key!r}" + (f"; did you mean {nearest!r}?" if nearest else ""),
                hint=f"it takes {', '.join(parameters) or 'none'}",
            )
    for key, parameter in parameters.items():
        named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if named and parameter.default is parameter.empty and key not in args:
            raise UserError(f"{manifest.name} needs the argument {key!r}")
    hints = {} if isinstance(of, Program) else _hints(of)
    for key, value in args.items():
        kind = hints.get(key)
        if kind not in _CHECKED:
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{manifest.name}: {key} must be {kind.__name__}, not {value!r}")


def _hints(of: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(of.__init__ if inspect.isclass(of) else of)
    except Exception:  # names that are known to type checkers alone
        return {}


def _check_columns(manifest: Manifest, schema: pa.Schema) -> None:
    for key, dtype in manifest.consumes.items():
        there = [native.type_text(field.type) for field in schema if field.name == key]
        if there == [dtype]:
            continue
        has = f"a column {key!r} of {there[0]}" if there else "the columns " + (", ".join(schema.names) or "none")
        raise UserError(
            f"{manifest.name} consumes a column {key!r} of {dtype}, and the rows have {has}",
            hint=f"cast or compute it before: ds.cast({key}={dtype!r})" if there else "rename or compute it before",
        )


def _schema_behind(manifest: Manifest, schema: pa.Schema) -> str:
    """Columns in the order of the rows, then those that are new."""
    columns = {field.name: native.type_text(field.type) for field in schema}
    return schema_text({**columns, **manifest.produces}) or ""
