"""The clusters as pytest fixtures: one of each kind serves the whole session, made when the first test asks for it."""

from __future__ import annotations

import importlib.util

import pytest

from .cluster import Cluster
from .dask_cluster import DaskCluster
from .hosts import Unsupported
from .ray_cluster import RayCluster

_PACKAGES = {"ray": "ray", "dask": "distributed"}
# What each kind came to: a cluster, or why there is none.
_made: dict[str, Cluster | Exception] = {}


def _cluster(kind: type[Cluster]) -> Cluster:
    """A cluster of two whole nodes, whatever the test before did to it."""
    if importlib.util.find_spec(_PACKAGES[kind.kind]) is None:
        pytest.skip(f"the package {_PACKAGES[kind.kind]} is not installed")
    if kind.kind not in _made:
        try:
            _made[kind.kind] = kind()
        except Exception as problem:  # not once more for each test
            _made[kind.kind] = problem
    found = _made[kind.kind]
    if isinstance(found, Unsupported):
        pytest.skip(f"no cluster can be made here: {found}")
    if isinstance(found, Exception):
        raise found
    found.repair()
    return found


@pytest.fixture
def ray_cluster() -> RayCluster:
    return _cluster(RayCluster)  # type: ignore[return-value]


@pytest.fixture
def dask_cluster() -> DaskCluster:
    return _cluster(DaskCluster)  # type: ignore[return-value]


def pytest_sessionfinish():
    """Of each process that shares the tests."""
    for made in _made.values():
        if isinstance(made, Cluster):
            made.close()
    _made.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test of a cluster says what the cluster's programs said."""
    report = yield
    if report.when == "call" and report.failed:
        for value in getattr(item, "funcargs", {}).values():
            cluster = value if isinstance(value, Cluster) else getattr(value, "cluster", None)
            if isinstance(cluster, Cluster):
                report.sections.append((f"{cluster.kind} cluster", cluster.logs()))
                break
    return report
