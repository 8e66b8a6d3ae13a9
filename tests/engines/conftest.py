"""The engines of the conformance suite as fixtures. PARTITA_TEST_ENGINES names those to test, default all."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from under_test import ENGINES, BatchEngine, DaskEngine, Engine, ProcessEngine, RayEngine

CLUSTERS = ["ray", "dask"]
TESTED = [name for name in os.environ.get("PARTITA_TEST_ENGINES", ",".join(ENGINES)).split(",") if name]


def engine_named(name: str, request: pytest.FixtureRequest) -> Engine:
    if name in CLUSTERS:
        kind = {"ray": RayEngine, "dask": DaskEngine}[name]
        return kind(request.getfixturevalue(f"{name}_cluster"))
    return {"local": Engine, "batch": BatchEngine, "processes": ProcessEngine}[name]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`engine`: each; `driven`: those with a coordinator and workers; `clustered`: their workers are elsewhere."""
    for fixture, names in {
        "engine": ENGINES,
        "driven": ["processes", *CLUSTERS],
        "clustered": CLUSTERS,
    }.items():
        if fixture in metafunc.fixturenames:
            # Grouped by engine: one golden run of each serves many tests.
            metafunc.parametrize(fixture, [n for n in names if n in TESTED], indirect=True, scope="function")


@pytest.fixture
def engine(request) -> Engine:
    return engine_named(request.param, request)


@pytest.fixture
def driven(request) -> Engine:
    return engine_named(request.param, request)


@pytest.fixture
def clustered(request) -> Engine:
    return engine_named(request.param, request)
