"""Every example of every docstring runs, and every public name has a docstring that names its arguments."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import partita

MODULES = [
    importlib.import_module(f"partita.{module.name}")
    for module in pkgutil.iter_modules(partita.__path__)
    if module.name != "_partita"
]
EXAMPLES = [
    example
    for module in MODULES
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs={"pt": partita})
    if example.examples
]
PUBLIC = [(name, getattr(partita, name)) for name in partita.__all__ if callable(getattr(partita, name))]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: doctest.DocTest, capsys: pytest.CaptureFixture[str]) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    result = runner.run(example)
    assert result.failed == 0, capsys.readouterr().out


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 50


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_has_an_example(name: str, thing: object) -> None:
    documents = [inspect.getdoc(thing)]
    if inspect.isclass(thing):
        documents += [inspect.getdoc(method) for method in vars(thing).values() if callable(method)]
    assert any(">>>" in (document or "") for document in documents), f"{name} has no example"


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_documented(name: str, thing: object) -> None:
    assert inspect.getdoc(thing)
    functions = [(name, thing)]
    if inspect.isclass(thing):
        functions = [
            (f"{name}.{key}", value)
            for key, value in vars(thing).items()
            if inspect.isfunction(value) and not key.startswith("_")
        ]
    for where, function in functions:
        doc = inspect.getdoc(function)
        assert doc, where
        if "Args:" not in doc:
            continue
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name.startswith("_") or parameter.name == "self":
                continue
            assert f"{parameter.name}:" in doc, f"{where} does not tell about {parameter.name}"
