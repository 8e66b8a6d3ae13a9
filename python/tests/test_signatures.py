"""The Python methods take the arguments that the registry declares, with the same defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from partita._native import step_specs

import partita as pt

OWN = {"self", "name", "on_error", "options"}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(pt, name) for name, spec in step_specs().items() if spec["kind"] == "source" and not spec["internal"]
} | {
    name: getattr(pt.Dataset, name.replace("write_", prefix))
    for name, spec in step_specs().items()
    if spec["kind"] == "sink" and not spec["internal"]
    for prefix in ("write_",)
}
SINKS = [name for name, spec in step_specs().items() if spec["kind"] == "sink" and not spec["internal"]]


@pytest.mark.parametrize("op", FUNCTIONS)
def test_arguments_are_those_of_the_registry(op: str) -> None:
    parameters = {k: p for k, p in inspect.signature(FUNCTIONS[op]).parameters.items() if k not in OWN}
    declared = {arg["name"]: arg for arg in step_specs()[op]["args"]}
    assert parameters.keys() == declared.keys()
    for name, parameter in parameters.items():
        if parameter.default not in (None, inspect.Parameter.empty):
            assert parameter.default == declared[name]["default"], name


@pytest.mark.parametrize("op", SINKS)
def test_sink_and_write_agree(op: str) -> None:
    write = inspect.signature(getattr(pt.Dataset, op)).parameters
    sink = inspect.signature(getattr(pt.Dataset, op.replace("write_", "sink_"))).parameters
    assert [str(p) for k, p in write.items() if k not in OWN] == [str(p) for k, p in sink.items() if k not in OWN]


def test_every_transform_is_a_method_or_a_component() -> None:
    for name, spec in step_specs().items():
        if spec["kind"] == "transform" and not spec["internal"] and not hasattr(pt.Dataset, name):
            assert name in pt.components()


def test_run_options_are_those_of_the_engine() -> None:
    specs = {name.replace("-", "_") for name in pt.options._specs}
    assert set(pt.RunOptions.__annotations__) == specs | {"progress"}
