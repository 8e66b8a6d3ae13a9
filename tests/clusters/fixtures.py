"""The clusters as pytest fixtures: one of each kind serves the whole session, made when the first test asks for it."""

from __future__ import annotations

import importlib.util

import pytest

from .cluster import Cluster
from .dask_cluster import DaskCluster
from .hosts import Unsupported
from .ray_cluster import RayCluster


def _session_cluster(kind: type[Cluster], package: str):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed")
    try:
        cluster = kind()
    except Unsupported as reason:
        pytest.skip(f"no cluster can be made here: {reason}")
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def whole_ray_cluster():
    yield from _session_cluster(RayCluster, "ray")


@pytest.fixture(scope="session")
def whole_dask_cluster():
    yield from _session_cluster(DaskCluster, "distributed")


@pytest.fixture
def ray_cluster(whole_ray_cluster) -> RayCluster:
    """A Ray cluster of two whole nodes, whatever the test before did to it."""
    whole_ray_cluster.repair()
    return whole_ray_cluster


@pytest.fixture
def dask_cluster(whole_dask_cluster) -> DaskCluster:
    """A Dask cluster of two whole nodes, whatever the test before did to it."""
    whole_dask_cluster.repair()
    return whole_dask_cluster


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
