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


def kind_of(item: pytest.Item | None) -> str:
    """Of the cluster that a test is on; empty: none."""
    if item is None:
        return ""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    engines = [parameters.get(name) for name in ("engine", "driven", "clustered")]
    for kind in _PACKAGES:
        if kind in engines or f"{kind}_cluster" in getattr(item, "fixturenames", ()):
            return kind
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Ends clusters after the last test; where several processes share the tests, after each one's last of a kind.

    An idle cluster keeps a part of a processor busy, which the other processes' tests want.
    """
    result = yield
    if nextitem is None or hasattr(item.config, "workerinput"):
        _end(but=kind_of(nextitem))
    return result


def pytest_sessionfinish():
    """Also of tests that were stopped."""
    _end()


def _end(but: str = "") -> None:
    for kind, made in list(_made.items()):
        if isinstance(made, Cluster) and kind != but:
            del _made[kind]
            made.close()


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
