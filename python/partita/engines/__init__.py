"""Runs a plan where the team's machines are: the driver that every engine shares, and the engines.

An engine gets submissions and tells what became of them (`contract.py`); the driver asks the coordinator what to do
next, batches, speculates and retries (`driver.py`); a worker executes tasks (`worker.py`). `docs/engines.md` tells
more, and how to add an engine.
"""

from __future__ import annotations

import importlib

from ..errors import RunEnvironmentError, UserError
from .contract import Engine

__all__ = ["Engine", "open_engine"]

# The engine's module here, and what must be installed for it.
_ENGINES = {"processes": ("processes", ""), "ray": ("ray", "ray"), "dask": ("dask", "distributed")}


def open_engine(name: str) -> Engine:
    """The engine that `name` means: `processes`, `processes:4`, `ray`, `ray://host:10001`, `ray:host:6379`, …

    Nothing is connected yet.
    """
    scheme, _, address = name.partition(":")
    if scheme not in _ENGINES:
        raise UserError(f"unknown engine '{name}'", hint="use one of: local, " + ", ".join(_ENGINES))
    module, needs = _ENGINES[scheme]
    try:
        engine: Engine = importlib.import_module("." + module, __name__).make(name, address)
    except ModuleNotFoundError as missing:
        raise RunEnvironmentError(
            f"the engine '{scheme}' needs a package that is not installed here: {missing.name}",
            hint=f"pip install {needs}" if needs else None,
        ) from None
    return engine
