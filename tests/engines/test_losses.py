"""What clusters do to runs: workers and nodes die, are cut off, are slow, come; clusters are wrong or gone."""

import re
import shutil

import pytest
from binary import Workspace
from clusters.cluster import package_folder
from clusters.hosts import MIB, wait_for
from photos import write_inputs
from test_ends import check_whole
from test_kill import LONG
from under_test import ClusterEngine, Driver, Engine, wait_for_commits

# Long enough for a cluster to notice. The function tells where it ran; on the head it waits while `hold` is there.
SLOW = """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 150}
  - map_batches: {fn: "slowly:work", batch_size: 50, schema: "id: int64, n: int64"}
  - random_shuffle: {seed: 3, partitions: 4}
  - write_parquet: {path: out, rows_per_file: 500}
"""
SLOWLY = """
import os, socket, time


def work(batch):
    host = socket.gethostname()
    open("hosts/" + host, "w").close()
    while host == "head" and os.path.exists("hold"):
        time.sleep(0.02)
    time.sleep(0.05)
    return {"id": batch["id"], "n": batch["id"] * 2}
"""


@pytest.fixture
def slow(workspace):
    """A run of forty tasks and a shuffle that takes some seconds wherever it runs, and what it writes."""
    write_inputs(workspace, 6000)
    workspace.write("slowly.py", SLOWLY)
    (workspace.path / "hosts").mkdir()
    workspace.write("p.yaml", SLOW)
    Engine().run_ok(workspace, threads=8)
    expected = workspace.digests("out")
    tasks = len(workspace.dataset("out").commit_lines())
    shutil.rmtree(workspace.path / "out")
    return workspace, expected, tasks


def ends_whole(driver: Driver, slow: tuple[Workspace, dict[str, str], int]) -> str:
    finished = driver.finish()
    assert finished.exit_code == 0, str(finished)
    workspace, expected, tasks = slow
    assert workspace.digests("out") == expected
    assert workspace.dataset("out").leftovers() == []
    assert len(workspace.dataset("out").commit_lines()) == tasks, "a task was committed twice, or none"
    return finished.stderr


def test_a_worker_is_killed(clustered, slow):
    driver = clustered.start(slow[0])
    wait_for_commits(slow[0], "out", 4, driver)
    assert clustered.kill_workers(clustered.cluster.others[0]) > 0
    ends_whole(driver, slow)


def test_a_worker_of_the_drivers_host_is_killed(clustered, slow):
    driver = clustered.start(slow[0])
    wait_for_commits(slow[0], "out", 4, driver)
    assert clustered.kill_workers(clustered.cluster.head) > 0
    ends_whole(driver, slow)


@pytest.mark.parametrize("when", ["map", "merge"])
def test_a_node_dies(clustered, slow, when):
    """Raylet or worker and nanny, and what they ran: in the first stage, and when its rows are merged."""
    workspace, _, tasks = slow
    driver = clustered.start(workspace)
    wait_for_commits(workspace, "out", 4 if when == "map" else tasks - 3, driver)
    clustered.cluster.kill_node(clustered.cluster.others[0])
    ends_whole(driver, slow)


def test_a_node_is_cut_off_and_comes_back(clustered, slow):
    """Packets are lost: what it does meanwhile, and says when it is back, is not counted twice."""
    driver = clustered.start(slow[0])
    wait_for_commits(slow[0], "out", 4, driver)
    node = clustered.cluster.others[0]
    node.cut_off()
    try:
        wait_for_commits(slow[0], "out", 20, driver)
    finally:
        node.heal()
    ends_whole(driver, slow)
    clustered.cluster.kill_node(node)  # who knows what the cluster thinks of it


def test_a_node_is_slow(clustered, slow):
    node = clustered.cluster.others[0]
    if node.limits:
        pytest.skip(node.limits)
    node.slow(0.1)
    try:
        driver = clustered.start(slow[0])
        ends_whole(driver, slow)
    finally:
        node.slow(0)


def test_a_node_joins_and_works(clustered, slow):
    """The cluster is shrunk to its head, which is held up; it grows while the run is under way."""
    workspace, cluster = slow[0], clustered.cluster
    cluster.remove_node(cluster.others[0])
    (workspace.path / "hold").touch()
    driver = clustered.start(workspace)
    wait_for_work(driver, workspace, "head")
    node = cluster.add_node()
    wait_for_work(driver, workspace, node.name)
    (workspace.path / "hold").unlink()
    ends_whole(driver, slow)


def wait_for_work(driver: Driver, workspace: Workspace, host: str) -> None:
    def works() -> bool:
        assert driver.process.poll() is None, f"it ended before\n{driver.finish()}"
        return (workspace.path / "hosts" / host).exists()

    wait_for(f"work on {host}", works, 60)


def test_a_cluster_of_one_node(clustered, slow):
    clustered.cluster.remove_node(clustered.cluster.others[0])
    ends_whole(clustered.start(slow[0]), slow)


def test_no_cluster_at_the_address(clustered, workspace):
    workspace.write("p.yaml", "steps:\n  - range: 10\n  - write_jsonl: out\n")
    scheme = clustered.address.split(":")[0]
    wrong = type(clustered)(clustered.cluster)
    wrong.address = f"{scheme}://{clustered.cluster.head.address}:4"
    finished = wrong.run_bad(workspace)
    assert finished.stderr.startswith("environment error")
    assert f"{clustered.cluster.head.address}:4" in finished.stderr
    assert "try:" in finished.stderr
    assert not workspace.dataset("out").is_finished


def test_a_worker_without_the_package(clustered, workspace):
    """A node that joined with another environment: one clear error, before anything is read."""
    workspace.write("p.yaml", "steps:\n  - range: 10\n  - write_jsonl: out\n")
    stranger(clustered, "")
    finished = clustered.run_bad(workspace)
    assert finished.stderr.startswith("environment error")
    assert "partita" in finished.stderr
    assert "install" in finished.stderr
    assert workspace.dataset("out").commit_lines() == []


def test_a_worker_of_another_version(clustered, workspace):
    workspace.write("p.yaml", "steps:\n  - range: 10\n  - write_jsonl: out\n")
    workspace.write("shim/sitecustomize.py", OTHER_VERSION)
    stranger(clustered, f"{workspace.path / 'shim'}:{package_folder()}")
    finished = clustered.run_bad(workspace)
    assert finished.stderr.startswith("environment error")
    assert "9.9.9" in finished.stderr, "says what the worker has"
    assert workspace.dataset("out").commit_lines() == []


def test_a_package_that_functions_import_is_missing_on_a_node(clustered, slow):
    """It is on the head's own disk, and the driver finds it: the node that does not is named, no function blamed."""
    workspace, cluster = slow[0], clustered.cluster
    site = cluster.head.disk / "site"
    cluster.head.run(["sh", "-c", f"mkdir -p {site} && echo 'FACTOR = 2' > {site}/shiny.py"])
    workspace.write("slowly.py", "import shiny\n" + SLOWLY)
    (workspace.path / "hold").touch()  # what the head does, it never ends
    finished = clustered.run_bad(workspace, env={"PYTHONPATH": f"{site}:{package_folder() or ''}"})
    cluster.head.run(["rm", "-r", str(site)])
    assert finished.stderr.startswith("environment error in step 'map_batches'")
    # Ray's workers have paths of their own: there the head lacks it too.
    named = re.search(r"the node (\w+) has no package shiny", finished.stderr)
    assert named is not None, finished.stderr
    assert named[1] in ("head", cluster.others[0].name)
    assert "install shiny" in finished.stderr


# A package of the same code that says to be another build.
OTHER_VERSION = """
import importlib.abc, importlib.util, sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "partita.engines.contract":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            module.build = lambda: {"partita": "9.9.9"}

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


def stranger(clustered: ClusterEngine, path: str) -> None:
    """Replaces the second node by one with another PYTHONPATH, until the test ends."""
    clustered.cluster.remove_node(clustered.cluster.others[0])
    clustered.cluster.add_node("stranger", env={"PYTHONPATH": path})


def test_rows_that_spill_find_the_disk_full(clustered, workspace):
    """A node with 4 MiB of scratch disk and little memory: the run ends right elsewhere, or names the resource."""
    write_inputs(workspace, 6000)
    workspace.write("p.yaml", LONG)
    Engine().run_ok(workspace)
    expected = workspace.digests("out")
    tasks = len(workspace.dataset("out/parquet").commit_lines())
    shutil.rmtree(workspace.path / "out")
    cluster = clustered.cluster
    cluster.remove_node(cluster.others[0])
    cluster.add_node("small", disk_bytes=4 * MIB)
    finished = clustered.run(workspace, spill_dir=str(cluster.head.disk))
    if finished.exit_code == 0:
        check_whole(workspace, expected, tasks)
    else:
        assert finished.stderr.startswith(("resource error", "environment error")), str(finished)
        assert not workspace.dataset("out/parquet").is_finished
