"""Law 1: output bytes depend on plan and snapshot; never on threads, budget, block boundaries or time."""

import shutil

import pytest
from photos import write_inputs
from pipelines import PIPELINES

SETTINGS = [
    {"threads": 1, "memory": "64MiB"},
    {"threads": 1, "memory": "8GiB"},
    {"threads": 2, "memory": "64MiB"},
    {"threads": 2, "memory": "300MiB"},
    {"threads": 8, "memory": "64MiB"},
    {"threads": 8, "memory": "8GiB"},
]


@pytest.mark.parametrize("name", PIPELINES)
def test_bytes_are_the_same_for_all_threads_and_budgets(workspace, name):
    write_inputs(workspace)
    workspace.write("p.yaml", PIPELINES[name])
    expected = None
    for setting in SETTINGS:
        workspace.run_ok("p.yaml", **setting)
        found = workspace.digests("out")
        assert found
        if expected is None:
            expected = found
        assert found == expected, setting
        shutil.rmtree(workspace.path / "out")


def test_a_plan_of_another_shape_gives_the_same_rows(workspace):
    """Partitions are the user's cut: files differ, rows and their order do not."""
    write_inputs(workspace)
    seen = []
    for rows in (50, 999, 100000):
        workspace.write(
            "p.yaml",
            f"""
steps:
  - read_parquet: {{path: in/parquet, rows_per_partition: {rows}}}
  - filter: width > 1000
  - limit: 2000
  - write_parquet: out/{rows}
""",
        )
        workspace.run_ok("p.yaml")
        seen.append(workspace.dataset(f"out/{rows}").rows())
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 2000
