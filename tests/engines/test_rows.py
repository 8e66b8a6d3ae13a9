"""Rows that lie in a cluster, and rows given to it: the same as locally, and not through the driver."""

import re
from pathlib import Path

import pytest
from clusters.hosts import wait_for
from programs import answer_of, start_program

# Both kinds of cluster offer the same few names to the tests' programs.
RAY = """
import ray, ray.data
ray.init(logging_level="error", log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
ENGINE = "ray"

def given(tables):
    return pt.from_ray([ray.put(t) for t in tables])

def handed(ds, **options):
    return pa.concat_tables(ray.get(ds.to_ray(**options).to_arrow_refs()))

def holders(ds):
    refs = ds.to_ray().to_arrow_refs()
    found = ray.experimental.get_object_locations(refs)
    return [found[ref]["node_ids"] for ref in refs]
"""
DASK = """
import dask, dask.dataframe
from distributed import Client, wait
client = Client(SCHEDULER)
ENGINE = "dask"

def given(tables):
    tables = list(tables)
    frames = [dask.delayed(t.to_pandas(types_mapper=pd.ArrowDtype)) for t in tables]
    meta = tables[0].schema.empty_table().to_pandas(types_mapper=pd.ArrowDtype)
    return pt.from_dask(dask.dataframe.from_delayed(frames, meta=meta))

def handed(ds, **options):
    frame = ds.to_dask(**options)
    parts = [pa.Table.from_pandas(part.compute(), preserve_index=False) for part in frame.to_delayed()]
    return pa.concat_tables(parts).replace_schema_metadata(None)

def holders(ds):
    frame = ds.to_dask()  # what holds the rows
    futures = client.compute(frame.to_delayed())
    wait(futures)
    found = client.who_has(futures)
    return [found[str(f.key)] if str(f.key) in found else found[f.key] for f in futures]
"""
COMMON = """
import sys
import numpy as np, pandas as pd, pyarrow as pa
import partita as pt
pt.options.progress = "never"

def tables(sizes):
    first = 0
    for n in sizes:
        ids = np.arange(first, first + n)
        texts = pa.array([f"row {i}" for i in ids], pa.string())
        yield pa.table({"id": ids, "v": ids % 7 * 0.5, "text": texts})
        first += n

"""


class Programs:
    """Runs programs on the head of a cluster."""

    def __init__(self, engine, workspace):
        self.cluster, self.workspace = engine.cluster, workspace
        scheduler = getattr(engine.cluster, "scheduler", "")
        self.before = f"SCHEDULER = {scheduler!r}\n" + COMMON + {"ray": RAY, "dask": DASK}[engine.cluster.kind]

    def start(self, body):
        return start_program(self.cluster, self.workspace, self.before + body)

    def finish(self, driver):
        return answer_of(self.cluster, driver, self.workspace)

    def run(self, body):
        return self.finish(self.start(body))


@pytest.fixture
def programs(clustered, workspace):
    return Programs(clustered, workspace)


TYPES = """
import datetime, decimal
table = pa.table({
    "small": pa.array([1, None, 3], pa.int8()),
    "text": pa.array(["a", None, "ä"]),
    "bytes": pa.array([b"", b"\\\\0\\\\xff", None]),
    "when": pa.array([10**15, None, -1], pa.int64()).cast(pa.timestamp("us")),
    "day": pa.array([datetime.date(2020, 1, 2), None, datetime.date(1950, 1, 1)]),
    "price": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3.50")], pa.decimal128(9, 2)),
    "many": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
    "pair": pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float32(), 2)),
    "both": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    "flag": pa.array([True, None, False]),
})
back = handed(given([table, table.slice(1)]))
expected = pa.concat_tables([table, table.slice(1)])
answer([back.schema.equals(expected.schema), back.to_pylist() == expected.to_pylist(), str(back.schema)])
"""


def test_types_go_there_and_back(programs):
    same_types, same_rows, schema = programs.run(TYPES)
    assert same_types, schema
    assert same_rows


def test_each_block_is_a_partition_in_order(programs, workspace):
    """An empty block too; the cluster and the local engine read the same rows and write the same bytes."""
    found = programs.run("""
made = list(tables([3, 0, 5, 1]))
ds = given(made)
local = ds.to_arrow().to_pylist() == pa.concat_tables(made).to_pylist()
ds.filter("id != 4").write_parquet("cluster", engine=ENGINE)
ds.filter("id != 4").write_parquet("local", engine="local")
answer([local, ds.count(), ds.take(2), ds.schema().names])
""")
    assert found[0]
    assert found[1] == 9
    assert [row["id"] for row in found[2]] == [0, 1]
    assert found[3] == ["id", "v", "text"]
    assert parts(workspace, "cluster") == parts(workspace, "local")
    assert len(parts(workspace, "cluster")) == 3
    assert [row["id"] for row in workspace.dataset("cluster").rows()] == [0, 1, 2, 3, 5, 6, 7, 8]


def parts(workspace, folder):
    return {name: digest for name, digest in workspace.digests(folder).items() if name.startswith("part-")}


def test_rows_change_partition_on_their_way(programs):
    found = programs.run("""
ds = given(tables([40, 60, 50])).sort("text", descending=True)
same = handed(ds, folder="scratch").equals(ds.to_arrow())
import os
try:
    handed(ds, exchange="disk")
    said = "nothing"
except pt.UserError as error:
    said = str(error)
answer([same, os.listdir("scratch"), said])
""")
    assert found[0], "the order of the sort is kept"
    assert found[1] == [], "nothing is left"
    assert "folder=" in found[2]


def test_rows_change_partition_without_shared_storage(programs):
    """By themselves they stay on the nodes: no folder is needed."""
    assert programs.run("""
ds = given(tables([40, 60, 50])).sort("text", descending=True).random_shuffle(seed=1).sort("id")
answer(handed(ds).equals(ds.to_arrow()))
""")


def test_rows_do_not_pass_through_the_driver(programs):
    """120 MB there and back; the driver grows by far less, and blocks lie on more than one node."""
    grown, rows, places = programs.run("""
import resource
ds = pt.range(60, rows_per_partition=10).with_columns(text=pt.sql("repeat('0123456789', 100000)"))
def grown():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
pt.range(10, rows_per_partition=5).to_ray().count() if ENGINE == "ray" else len(pt.range(10).to_dask())
before = grown()
places = holders(ds)
answer([grown() - before, 60, sorted({str(p) for place in places for p in place})])
""")
    assert grown < 60, f"{grown} MiB"
    assert rows == 60
    assert len(places) > 1


SLOWLY = """
import os, socket, time


def work(batch):
    open("hosts/" + socket.gethostname(), "w").close()
    time.sleep(0.2)
    return {"id": batch["id"]}
"""


def test_a_worker_dies_while_rows_are_handed_over(programs, clustered, workspace):
    """What it had handed over is made again, or was not with it."""
    workspace.write("slowly.py", SLOWLY)
    hosts = workspace.path / "hosts"
    hosts.mkdir()
    driver = programs.start("""
import slowly
ds = pt.range(800, rows_per_partition=10).map_batches(slowly.work, batch_size=10, schema="id: int64")
answer(handed(ds).column("id").to_pylist() == list(range(800)))
""")
    other = clustered.cluster.others[0]
    wait_for("work there", lambda: (hosts / other.name).exists() or driver.poll() is not None, 60)
    assert clustered.kill_workers(other) > 0
    assert programs.finish(driver)


def test_a_run_says_where_it_cannot_read_them(programs):
    said = programs.run("""
try:
    given(tables([5])).write_jsonl("out", engine="processes:2")
except pt.UserError as error:
    answer(str(error))
""")
    assert "processes" in said
    assert "local" in said


def test_no_rows_at_all(programs):
    assert programs.run("""
back = handed(pt.range(0, rows_per_partition=5).with_columns(t=pt.lit("x")))
answer([back.num_rows, back.column_names])
""") == [0, ["id", "t"]]


def test_the_documents_examples(programs):
    """Of docs/engines.md, on a cluster that is there already."""
    text = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()
    kind = programs.cluster.kind
    (example,) = [b for b in re.findall(r"^```python\n(.*?)^```", text, re.S | re.M) if f"pt.from_{kind}(" in b]
    assert programs.run("print = answer\n" + example.replace("client = Client()", "")) == 499.0
