"""Where rows between stages lie, exchange by exchange: what is chosen and why, what users may say, equal bytes."""

import json

import pyarrow as pa
import pytest
from test_nodes import blocks_left, commits, expect, scratch
from under_test import Engine

# A small sort that may be made again, a shuffle of what a Python function made, a join of two others.
STEPS = """
pipeline: places
steps:
  - read_parquet: {path: in, rows_per_partition: 100}
    name: given
  - sort: {by: k, descending: true, partitions: 3}
    name: by_k
  - map_batches: {fn: "functions:double", schema: "id: int64, k: int64"}
    name: doubled
  - random_shuffle: {seed: 3, partitions: 4}
    name: mixed
  - write_parquet: out
"""
FUNCTIONS = """
def double(batch):
    return {"id": batch["id"] * 2, "k": batch["k"]}
"""


@pytest.fixture
def places(workspace):
    for f in range(3):
        ids = list(range(f * 300, f * 300 + 300))
        workspace.write_table(f"in/{f}.parquet", pa.table({"id": ids, "k": [i * 7919 % 50 for i in ids]}))
    workspace.write("functions.py", FUNCTIONS)
    workspace.write("p.yaml", STEPS)
    return workspace


def explained(workspace, **options):
    """(step, on the nodes, why) of each exchange."""
    found = json.loads(workspace.run_ok("p.yaml", verb="explain", json=True, **options).stdout)
    return [(exchange["step"], exchange["on_nodes"], exchange["why"]) for exchange in found["exchanges"]], found["plan"]


def test_each_exchange_is_placed_by_itself(places):
    (sorted_, mixed), _ = explained(places)
    assert sorted_[:2] == ("by_k", True)
    assert "reading" in sorted_[2]
    assert mixed[:2] == ("mixed", False)
    assert "'doubled'" in mixed[2], "the function that would be called again"
    text = places.run_ok("p.yaml", verb="explain").stdout
    assert "exchange 0 (by_k): on a cluster on the nodes: reading" in text
    assert "exchange 1 (mixed): on a cluster on the storage of the run: " in text


def test_what_reads_much_goes_to_the_storage(places):
    """A gigabyte and more is not read again."""
    with open(places.path / "in/big.bin", "wb") as file:
        file.truncate(2 << 30)  # sparse
    places.write("p.yaml", "steps:\n  - read_files: {path: in/big.bin}\n  - sort: {by: path}\n  - write_parquet: out\n")
    ((step, on_nodes, why),), _ = explained(places)
    assert (step, on_nodes) == ("sort", False)
    assert "GiB" in why


def test_a_step_is_told_where_its_rows_lie(places):
    """On the command line or in the file; the plan stays the same."""
    (_, _), plan = explained(places)
    for options, expected in [
        ({"exchange": "disk"}, [False, False]),
        ({"exchange": "nodes"}, [True, True]),
        ({"exchange": "nodes,by_k=disk"}, [False, True]),
        ({"exchange": "mixed=nodes"}, [True, True]),
        ({"exchange": '{"*": "disk", "mixed": "nodes"}'}, [False, True]),
    ]:
        found, hashed = explained(places, **options)
        assert [on_nodes for _, on_nodes, _ in found] == expected, options
        assert hashed == plan, "how a plan is run is not in it"
    places.write("p.yaml", "options: {exchange: {by_k: disk}}\n" + STEPS)
    found, hashed = explained(places)
    assert [on_nodes for _, on_nodes, _ in found] == [False, False]
    assert hashed == plan


@pytest.mark.parametrize(("where", "said"), [("by_q=disk", "by_k"), ("by_k=store", "auto, memory, disk or nodes")])
def test_a_wrong_word(places, where, said):
    finished = places.run("p.yaml", exchange=where)
    assert finished.exit_code == 2
    assert said in finished.stderr
    assert not (places.path / "out").exists()


def test_rows_lie_where_they_were_told_to(driven, places):
    """The same bytes, and files of exchanges on the storage for the one, none for the other."""
    expected = expect(places)
    for where, stored in [("auto", {1}), ("nodes,by_k=disk", {0}), ("disk", {0, 1}), ("nodes", set())]:
        driven.run_ok(places, exchange=where, spill_dir=scratch(driven, places), fresh=True)
        assert places.digests("out") == expected, where
        named = {line["s"] for line in commits(places) for output in line["out"] if output["d"] < 0 and output["f"]}
        assert named == stored, where
        assert blocks_left(driven, places) == []
    placed = places.dataset("out").records()[-1]["exchanges"]
    assert [(one["step"], one["on_nodes"]) for one in placed] == [("by_k", True), ("mixed", True)], "the record tells"


def test_the_local_engine_follows_too(places):
    """Rows of a step that were told to be on disk are in files; the others stay in memory."""
    Engine().run_ok(places, exchange="by_k=disk")
    named = {line["s"] for line in commits(places) for output in line["out"] if output["d"] < 0 and output["f"]}
    assert named == {0}
