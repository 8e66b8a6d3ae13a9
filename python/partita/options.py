"""Run options: how a pipeline is computed, never what it gives."""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from ._native import native
from .errors import UserError

PROGRESS = ("auto", "always", "never")
_NONE: Mapping[str, Any] = MappingProxyType({})


class RunOptions(TypedDict, total=False):
    """The keywords of everything that runs. `partita.options` sets them for all runs and tells their meaning.

    Example:
        >>> quick: pt.RunOptions = {"memory": "256MiB", "threads": 1}
        >>> pt.range(10).count(**quick)
        10
    """

    memory: int | str
    threads: int
    spill_dir: str | os.PathLike[str]
    work_dir: str | os.PathLike[str]
    storage_options: str | Mapping[str, Any]
    resources: str | Mapping[str, float]
    engine: str
    exchange: str | Mapping[str, str]
    on_error: str
    quarantine: str | os.PathLike[str]
    max_attempts: int
    fresh: bool
    progress: str


class Options:
    """Run options of this process: `partita.options`.

    An attribute set here holds for all later runs; keywords of a call win over it; it wins over the pipeline file's
    `options:` and over the environment's `PARTITA_MEMORY`, `PARTITA_THREADS`, … Reading gives what a run would use now.

    `print(pt.options)` lists all options with their meaning, unit and default.

    Example:
        >>> pt.options.memory = "1GiB"
        >>> pt.options.memory
        1073741824
        >>> pt.options.reset()
    """

    def __init__(self) -> None:
        specs = json.loads(native.option_specs())
        object.__setattr__(self, "_specs", {spec["name"].replace("-", "_"): spec for spec in specs})
        object.__setattr__(self, "_set", {})
        overrides: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("partita_options", default=_NONE)
        object.__setattr__(self, "_overrides", overrides)

    _specs: dict[str, dict[str, str]]
    _set: dict[str, Any]
    _overrides: contextvars.ContextVar[Mapping[str, Any]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "progress":
            return self.effective({})["progress"]
        if name not in self._specs:
            raise AttributeError(self._unknown(name).message)
        values = dict(native.resolve_options(self.pairs({})))
        return self._typed(name, values[self._specs[name]["name"]])

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an option for all later runs, or forgets it (None). Raises a UserError where name or value is wrong."""
        self._check(name, value)
        if value is None:
            self._set.pop(name, None)
        else:
            self._set[name] = value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._specs, "progress"]

    @contextlib.contextmanager
    def override(self, **options: Any) -> Iterator[Options]:
        """Other options inside a `with` block, in this thread or task alone.

        Example:
            >>> with pt.options.override(memory="64MiB", threads=1):
            ...     pt.range(10).count()
            10
        """
        for name, value in options.items():
            self._check(name, value)
        token = self._overrides.set({**self._overrides.get(), **options})
        try:
            yield self
        finally:
            self._overrides.reset(token)

    def reset(self) -> None:
        """Forgets what was set here.

        Example:
            >>> pt.options.threads = 7
            >>> pt.options.reset()
            >>> pt.options.threads == 7
            False
        """
        self._set.clear()

    def __repr__(self) -> str:
        lines = ["partita.options"]
        values = {**self._set, **self._overrides.get()}
        for name, spec in self._specs.items():
            shown = f"{values[name]!r}" if values.get(name) is not None else f"default: {spec['default']}"
            lines.append(f"  {name:<14}{spec['doc']} ({shown})")
        shown = repr(values["progress"]) if values.get("progress") else "default: auto"
        lines.append(f"  {'progress':<14}auto, always or never: shows a run's progress on stderr ({shown})")
        return "\n".join(lines)

    # -- For the rest of the package ----

    def effective(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is set, overridden and given, checked; `progress` and `on_error` always have a key.

        Args:
            given: Keywords of a call. They win; None is no value.

        Raises:
            UserError: A name or a value is wrong.

        Example:
            >>> with pt.options.override(memory="1GiB", progress="never"):
            ...     pt.options.effective({"threads": 2})
            {'memory': '1GiB', 'progress': 'never', 'threads': 2, 'on_error': None}
        """
        for name, value in given.items():
            self._check(name, value)
        found = {**self._set, **self._overrides.get()}
        found.update({name: value for name, value in given.items() if value is not None})
        found.setdefault("progress", os.environ.get("PARTITA_PROGRESS", "auto"))
        if found["progress"] not in PROGRESS:
            raise UserError(f"option progress: {found['progress']!r} is no choice", hint="choose auto, always or never")
        found.setdefault("on_error", None)
        return found

    def pairs(self, given: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The same as the engine takes it.

        Args:
            given: As for `effective`.

        Example:
            >>> pt.options.pairs({"memory": 1 << 30})
            [('memory', '1073741824')]
        """
        found = self.effective(given)
        return [(name, _text(value)) for name, value in found.items() if name in self._specs and value is not None]

    def _check(self, name: str, value: Any) -> None:
        if name == "progress":
            if value is not None and value not in PROGRESS:
                raise UserError(f"option progress: {value!r} is no choice", hint="choose auto, always or never")
            return
        if name not in self._specs:
            raise self._unknown(name)
        if value is not None:
            native.check_option(self._specs[name]["name"], _text(value))

    def _unknown(self, name: str) -> UserError:
        known = [*self._specs, "progress"]
        nearest = native.nearest_name(name, known)
        return UserError(
            f"unknown option '{name}'",
            hint=f"did you mean '{nearest}'?" if nearest else "the options are " + ", ".join(known),
        )

    def _typed(self, name: str, text: str) -> Any:
        kind = self._specs[name]["value"]
        if kind in ("BYTES", "N"):
            return int(text) if text else None
        if kind == "":
            return text == "true"
        return text or None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    return str(value)


options = Options()
