"""Tests of the whole engine through its native binary: PARTITA_BIN, else build/release/bin/partita.

Several processes may share them: `pytest -n 3 --dist loadgroup --no-loadscope-reorder tests`. Each test is in a folder,
and on a cluster, of its process alone.
"""

import signal
import sys
from pathlib import Path

import pytest

# Background jobs start with SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests import what stands beside them, whatever pytest's import mode is.
for _folder in (Path(__file__).parent, Path(__file__).parent / "laws"):
    sys.path.insert(0, str(_folder))

from binary import Workspace, binary_path  # noqa: E402
from clusters.fixtures import *  # noqa: E402, F403

# Files whose tests of a cluster take nodes away from it: half of the time that clusters take.
LOSSES = ("test_losses", "test_losses_cost", "test_nodes", "test_redone")


@pytest.fixture
def workspace(tmp_path):
    if not binary_path().exists():
        pytest.skip(f"{binary_path()} is not built; PARTITA_BIN names another")
    return Workspace(tmp_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Where processes share the tests: those that share something costly stay together, the longest groups first."""
    if not hasattr(config, "workerinput"):
        return
    groups = {item: group_of(item) for item in items}
    order = ["ray-losses", "ray", "dask-losses", "dask"]
    # Stable: each process must see the same order.
    items.sort(key=lambda item: order.index(groups[item]) if groups[item] in order else len(order))
    for item, group in groups.items():
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


def group_of(item):
    """Tests of one cluster, of one golden run of an engine, of one server; empty: a test for itself."""
    if kind := kind_of(item):  # noqa: F405
        return f"{kind}-losses" if item.path.stem in LOSSES else kind
    if item.path.stem == "test_bytes":
        return f"bytes-{item.callspec.params['engine']}"
    return "s3" if "s3_url" in item.fixturenames else ""
